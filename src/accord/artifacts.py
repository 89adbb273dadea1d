"""Typed artifacts on disk: folders that are either whole, with a manifest, or not there.

An artifact is written beside its final place under a temporary name, fsynced, and renamed; a kill
at any moment leaves nothing or all of it. Once written it is never changed. A stage in full::

    if artifacts.current(out, "policy", parents=parents, config=config, seed=0) is None:
        partial = artifacts.workspace(out, artifacts.fingerprint("policy", parents, config, 0))
        ...                                            # train, with checkpoints in ``partial``
        with artifacts.write(out, "policy", parents=parents, config=config, seed=0) as folder:
            model.save(folder)
        artifacts.finish(partial)
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from accord.errors import ArtifactError
from accord.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Manifest,
    Metric,
    Parent,
    accord_version,
    canonical,
    code_revision,
    content_hash,
    hash_file,
    job_fingerprint,
    list_files,
)
from accord.types import Record, from_dict, to_dict
from accord.workspace import finish, refuse_existing, remove_leftovers, sync, temporary, workspace

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = [
    "KINDS",
    "RECORDS",
    "Artifact",
    "Manifest",
    "current",
    "fingerprint",
    "finish",
    "lineage",
    "read",
    "verify",
    "workspace",
    "write",
    "write_records",
]

RECORDS = "records.jsonl"
KINDS = ("prompts", "demonstrations", "samples", "comparisons", "policy", "reward_model", "report")


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: its folder and what its manifest says."""

    path: Path
    manifest: Manifest

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        return self.manifest.kind

    @property
    def hash(self) -> str:
        """Content hash, ``sha256:<hex>``."""
        return self.manifest.hash

    def records(self, name: str = RECORDS) -> Iterator[Record]:
        """Read the records one by one.

        Raises:
            ArtifactError: the file is missing, or a line is not a record (``file:line: reason``).
        """
        path = self.path / name
        if not path.is_file():
            raise ArtifactError(f"{self.path} ({self.kind}) holds no {name}; is it the right one?")
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield from_dict(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise ArtifactError(
                        f"{path}:{number}: not a record ({error!r}); "
                        f"`accord verify {self.path}` tells whether the file was changed"
                    ) from error


def write_records(folder: Path, records: Iterable[Record], name: str = RECORDS) -> int:
    """Write records as JSON lines into ``folder`` and return how many there were.

    Raises:
        ArtifactError: a record holds a number that is not finite, or a value JSON cannot hold.
    """
    count = 0
    with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            row = to_dict(record)
            try:
                line = json.dumps(row, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ArtifactError(f"{name}: record {count + 1} of {folder}: {error}") from error
            if not line.isascii() and any("\ud800" <= char <= "\udfff" for char in line):
                line = json.dumps(row)  # half a surrogate pair is no UTF-8: escape the whole line
            file.write(line + "\n")
            count += 1
    return count


@contextmanager
def write(
    path: str | Path,
    kind: str,
    *,
    parents: Mapping[str, Artifact] | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    metrics: Mapping[str, Metric] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends it becomes the artifact at ``path``.

    If the block raises, or the process dies, there is no artifact at ``path``. ``metrics`` and
    ``extra`` are read when the block ends, so the block may fill the dictionaries it passed.

    Raises:
        ArtifactError: ``path`` exists, the kind is unknown, or something in config, metrics or
            extra does not fit in JSON.
    """
    if kind not in KINDS:
        raise ArtifactError(f"unknown artifact kind {kind!r}; known: {', '.join(KINDS)}")
    path = Path(path)
    refuse_existing(path)
    config = json.loads(canonical(config or {}, f"config of {path}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    folder = temporary(path)
    folder.mkdir()
    try:
        yield folder
        fields = {
            "kind": kind,
            "parents": {
                role: Parent(
                    kind=parent.kind,
                    hash=parent.hash,
                    path=Path(os.path.relpath(parent.path.resolve(), path.resolve())).as_posix(),
                )
                for role, parent in (parents or {}).items()
            },
            "config": config,
            "seed": seed,
            "metrics": dict(metrics or {}),
            "extra": json.loads(canonical(extra or {}, f"extra of {path}")),
        }
        _seal(folder, path, fields)
        refuse_existing(path)
        folder.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read(path: str | Path, kind: str | tuple[str, ...] | None = None) -> Artifact:
    """Open the artifact at ``path``, checking its manifest and that all files have their size.

    Args:
        path: the artifact's folder.
        kind: the kind, or kinds, that the caller can use; None for any.

    Raises:
        ArtifactError: nothing there, no manifest, an unreadable or newer manifest, another kind,
            or a file that is missing or of another size.
    """
    path = Path(path)
    if not path.is_dir():
        raise ArtifactError(
            f"{path}: no such artifact; check the path, or run the stage that makes it"
        )
    file = path / MANIFEST
    if not file.is_file():
        raise ArtifactError(
            f"{path} has no {MANIFEST}, so it is not a finished accord artifact; "
            "name the folder that a stage wrote"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        schema_version = content["schema_version"]
        if schema_version != SCHEMA_VERSION:
            raise ArtifactError(
                f"{file} has schema version {schema_version}, this accord reads {SCHEMA_VERSION}; "
                "use the accord version named there (accord_version)"
            )
        manifest = Manifest.model_validate(content)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file} is damaged: {error}; make the artifact again") from error
    kinds = (kind,) if isinstance(kind, str) else kind
    if kinds is not None and manifest.kind not in kinds:
        raise ArtifactError(f"{path} is a {manifest.kind} artifact; needed: {' or '.join(kinds)}")
    for name, entry in manifest.files.items():
        if not (path / name).is_file() or (path / name).stat().st_size != entry.size:
            raise ArtifactError(
                f"{path / name} is missing or not {entry.size} bytes long; "
                f"`accord verify {path}` lists what changed"
            )
    return Artifact(path, manifest)


def verify(path: str | Path) -> list[str]:
    """Every problem of an artifact and of all its ancestors, one line each; [] means sound.

    Checked: each file's SHA-256, files that are missing or were added, the manifest's own hash, and
    that each parent is where the manifest says and has the hash it names.
    """
    return _verify(Path(path), seen=set())


def lineage(path: str | Path) -> Tree:
    """A tree for the terminal: the artifact, its parents by role, their parents, and so on.

    Raises:
        ArtifactError: ``path`` itself is no artifact. A missing ancestor is shown as missing.
    """
    from rich.text import Text
    from rich.tree import Tree

    def label(artifact: Artifact, role: str) -> Text:
        manifest = artifact.manifest
        return Text.assemble(
            (f"{role}: " if role else "", "dim"),
            (artifact.kind, "bold"),
            f" {artifact.path} ",
            (artifact.hash[:19], "cyan"),
            (f" seed {manifest.seed} {manifest.created_at}", "dim"),
        )

    def grow(tree: Tree, artifact: Artifact) -> None:
        for role, parent in artifact.manifest.parents.items():
            place = _parent_path(artifact.path, parent)
            try:
                ancestor = read(place)
            except ArtifactError:
                missing = f"{role}: {parent.kind} {place} {parent.hash[:19]} (missing or damaged)"
                tree.add(Text(missing, "red"))
                continue
            node = label(ancestor, role)
            if ancestor.hash != parent.hash:
                node.append(f" (not the parent: that was {parent.hash[:19]})", "red")
            grow(tree.add(node), ancestor)

    root = read(path)
    tree = Tree(label(root, ""))
    grow(tree, root)
    return tree


def fingerprint(
    kind: str, parents: Mapping[str, Artifact], config: Mapping[str, Any], seed: int | None
) -> str:
    """Hash of what determines an artifact before it is made (see :mod:`accord.manifest`)."""
    hashes = {role: parent.hash for role, parent in parents.items()}
    return job_fingerprint(kind, hashes, config, seed)


def current(
    path: str | Path,
    kind: str,
    *,
    parents: Mapping[str, Artifact],
    config: Mapping[str, Any],
    seed: int | None,
) -> Artifact | None:
    """The finished artifact at ``path`` if this very job made it; None if nothing is there.

    Raises:
        ArtifactError: something else is there; the message lists what differs, old -> new.
    """
    path = Path(path)
    if not path.exists():
        return None
    artifact = read(path)
    old = artifact.manifest
    hashes = {role: parent.hash for role, parent in old.parents.items()}
    wanted = fingerprint(kind, parents, config, seed)
    if job_fingerprint(old.kind, hashes, old.config, old.seed) == wanted:
        finish(path.with_name(path.name + ".partial"), wanted)  # killed between write and finish
        return artifact
    new_hashes = {role: parent.hash for role, parent in parents.items()}
    new_config = json.loads(canonical(config, "config"))
    before = _flatten({"kind": old.kind, "parents": hashes, "config": old.config, "seed": old.seed})
    after = _flatten({"kind": kind, "parents": new_hashes, "config": new_config, "seed": seed})
    lines = [
        f"  {key}: {before.get(key, 'not set')} -> {after.get(key, 'not set')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    raise ArtifactError(
        f"{path} was made from something else:\n" + "\n".join(lines) + "\n"
        f"choose another output folder, or delete {path} to make it again"
    )


def _seal(folder: Path, path: Path, fields: dict[str, Any]) -> None:
    """Hash and fsync what lies in ``folder`` and write its manifest, last."""
    if (folder / MANIFEST).exists():
        raise ArtifactError(f"{path}: {MANIFEST} is accord's own file; use another name")
    names = list_files(folder)
    files = {name: hash_file(folder / name) for name in names}
    try:
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            hash="",
            files=files,
            code_revision=code_revision(),
            accord_version=accord_version(),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            status="complete",
            **fields,
        )
    except ValidationError as error:
        raise ArtifactError(f"{path}: metrics or seed do not fit the manifest: {error}") from error
    manifest = manifest.model_copy(update={"hash": content_hash(manifest)})
    for name in names:
        sync(folder / name)
    text = manifest.model_dump_json(indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    sync(folder / MANIFEST)
    for root, _, _ in os.walk(folder):
        sync(Path(root))


def _verify(path: Path, seen: set[Path]) -> list[str]:
    if path.resolve() in seen:
        return []
    seen.add(path.resolve())
    try:
        artifact = read(path)
        present = set(list_files(path))
    except ArtifactError as error:
        return [str(error)]
    manifest = artifact.manifest
    problems = [
        f"{path / name}: content changed (sha256 differs from the manifest)"
        for name, entry in manifest.files.items()
        if hash_file(path / name) != entry
    ]
    for name in sorted(present - manifest.files.keys()):
        problems.append(f"{path / name}: not in the manifest (added later)")
    if content_hash(manifest) != manifest.hash:
        problems.append(f"{path / MANIFEST}: changed (its hash does not fit its content)")
    for role, parent in manifest.parents.items():
        place = _parent_path(path, parent)
        problems += _verify(place, seen)
        try:
            ancestor = read(place)
        except ArtifactError:
            problems.append(f"{path}: parent {role} ({parent.kind}) is not sound at {place}")
            continue
        if ancestor.hash != parent.hash:
            problems.append(
                f"{path}: parent {role} at {place} has hash {ancestor.hash[:19]}, "
                f"the manifest names {parent.hash[:19]}"
            )
    return problems


def _parent_path(path: Path, parent: Parent) -> Path:
    """Where a parent lies, in the form (relative or absolute) in which ``path`` was given."""
    return Path(os.path.normpath(path / parent.path))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted key -> the value as JSON text, hashes shortened."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        elif prefix == "parents.":
            flat[prefix + key] = value[:19]
        else:
            flat[prefix + key] = json.dumps(value)
    return flat
