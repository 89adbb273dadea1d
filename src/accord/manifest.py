"""The manifest of an artifact: what the folder holds, what it was made from, and both hashes.

Two hashes tell two things apart. The *content hash* identifies what lies in the folder; the
*fingerprint* identifies the job that made it, and is known before the job runs. Both are SHA-256
over canonical JSON, so that they are equal on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from accord.errors import ArtifactError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

Metric = float | int | str | bool | None


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_inf_nan="strings",
        use_attribute_docstrings=True,
    )


class FileEntry(_Frozen):
    """One file of an artifact."""

    sha256: str
    """Hex digest of the file's bytes."""
    size: int
    """Length in bytes."""


class Parent(_Frozen):
    """One artifact that another was made from."""

    kind: str
    """The parent's kind, for example ``policy``."""
    hash: str
    """The parent's content hash."""
    path: str
    """Where the parent lay, relative to the child's folder; not part of any hash."""


class Manifest(_Frozen):
    """What ``manifest.json`` holds."""

    schema_version: int
    """Version of this layout; a higher one than ours is refused."""
    kind: str
    """prompts, demonstrations, samples, comparisons, policy, reward_model or report."""
    hash: str
    """Content hash, ``sha256:<hex>``; see :func:`content_hash`."""
    files: dict[str, FileEntry]
    """Every file but the manifest, by its POSIX path inside the folder."""
    parents: dict[str, Parent]
    """What it was made from, by role (``policy``, ``reward_model``, ``prompts``...)."""
    config: dict[str, Any]
    """The resolved settings that determined it."""
    seed: int | None
    """The seed of every random draw behind it; None where nothing was drawn."""
    code_revision: str
    """Git commit of accord's own checkout (``-dirty`` if edited); "" for an installed package."""
    accord_version: str
    """Version of the accord package that wrote it."""
    created_at: str
    """UTC time of writing, ISO 8601."""
    status: Literal["complete"]
    """Always ``complete``: an unfinished artifact has no manifest."""
    metrics: dict[str, Metric]
    """Measurements of the run that made it (may differ between equal runs; not hashed)."""
    extra: dict[str, Any]
    """What a reader of the files needs, such as the chat format (part of the content hash)."""


def canonical(value: object, what: str) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, no NaN.

    Raises:
        ArtifactError: the value does not fit in JSON; ``what`` names it in the message.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"{what} cannot be written as JSON ({error}); use only finite numbers, strings, "
            "booleans, None, lists and dictionaries with string keys"
        ) from error


def digest(value: object, what: str) -> str:
    """``sha256:<hex>`` of the canonical JSON of ``value``."""
    return "sha256:" + hashlib.sha256(canonical(value, what).encode()).hexdigest()


def job_fingerprint(
    kind: str, parent_hashes: Mapping[str, str], config: Mapping[str, Any], seed: int | None
) -> str:
    """Hash of what determines an artifact before it is made: kind, parents, config and seed."""
    job = {"kind": kind, "parents": dict(parent_hashes), "config": dict(config), "seed": seed}
    return digest(job, f"the config of the {kind} artifact")


def content_hash(manifest: Manifest) -> str:
    """Hash of what the artifact is: its files, kind, parents' hashes, config, seed and extra.

    The time, place, metrics and code revision of the run are left out: the same job run twice
    makes the same artifact.
    """
    content = {
        "schema_version": manifest.schema_version,
        "kind": manifest.kind,
        "files": {name: entry.model_dump() for name, entry in manifest.files.items()},
        "parents": {role: parent.hash for role, parent in manifest.parents.items()},
        "config": manifest.config,
        "seed": manifest.seed,
        "extra": manifest.extra,
    }
    return digest(content, f"the manifest of the {manifest.kind} artifact")


def hash_file(path: Path) -> FileEntry:
    """SHA-256 and size of one file."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(sha256=sha256, size=file.tell())


def list_files(folder: Path) -> list[str]:
    """POSIX paths of all files under ``folder`` but its manifest, sorted.

    Raises:
        ArtifactError: something is neither a plain file nor a folder (a link, a socket): what it
            stands for could change without the artifact noticing.
    """
    names: list[str] = []
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArtifactError(f"{path} is not a plain file; copy what it stands for instead")
            if path.is_file() and relative != MANIFEST:
                names.append(relative)
    return sorted(names)


@cache
def code_revision() -> str:
    """Commit of the git checkout this package runs from, with ``-dirty`` when it was edited.

    Returns "" when accord is an installed package rather than a checkout, or git is not there.
    """
    package = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.stdout.strip() if result.returncode == 0 else ""

    try:
        top = git("rev-parse", "--show-toplevel")
        if not top or Path(top, "src", "accord").resolve() != package:
            return ""
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except FileNotFoundError:
        return ""


@cache
def accord_version() -> str:
    """Version of the installed package; "" when it runs from a folder that was never installed."""
    try:
        return version("accord")
    except PackageNotFoundError:
        return ""
