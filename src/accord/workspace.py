"""Crash-safe folders: the workspace of an unfinished run, and the steps of an atomic write.

A folder is made under a temporary sibling name and renamed, so its final name never stands for
something half done. The temporary name tells host and process, so that what a killed process left
behind is recognised and removed by the next one.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import uuid
from pathlib import Path

from accord.errors import ArtifactError

FINGERPRINT = "fingerprint.json"


def workspace(path: str | Path, fingerprint: str) -> Path:
    """The folder ``<path>.partial`` for the checkpoints and logs of an unfinished run.

    An earlier run with the same fingerprint finds its files there and can resume. A folder of
    another fingerprint is renamed to ``<path>.partial.stale-<n>`` with a line on stderr.
    """
    path = Path(path)
    folder = path.with_name(path.name + ".partial")
    if folder.exists():
        if _fingerprint(folder) == fingerprint:
            return folder
        number = 1
        while (stale := folder.with_name(f"{folder.name}.stale-{number}")).exists():
            number += 1
        folder.rename(stale)
        print(
            f"accord: {folder} belongs to a run with other settings; kept as {stale}, "
            "starting afresh (delete it if you do not need it)",
            file=sys.stderr,
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    fresh = temporary(folder)
    fresh.mkdir()
    (fresh / FINGERPRINT).write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
    sync(fresh / FINGERPRINT)
    sync(fresh)
    fresh.rename(folder)
    sync(folder.parent)
    return folder


def finish(workspace: str | Path, fingerprint: str | None = None) -> None:
    """Remove a workspace once its artifact is written; does nothing if it is already gone.

    With a ``fingerprint`` only a workspace of that very job is removed.
    """
    workspace = Path(workspace)
    if workspace.parent.is_dir():
        remove_leftovers(workspace)  # of a removal that was killed half-way
    if workspace.exists() and fingerprint in (None, _fingerprint(workspace)):
        doomed = temporary(workspace)
        workspace.rename(doomed)  # a kill during the removal must not leave half a checkpoint
        shutil.rmtree(doomed)


def _fingerprint(folder: Path) -> str | None:
    try:
        found = json.loads((folder / FINGERPRINT).read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def refuse_existing(path: Path) -> None:
    """Raise :class:`ArtifactError` if anything is at ``path``."""
    if path.exists() or path.is_symlink():
        raise ArtifactError(
            f"{path} exists and artifacts are never overwritten; "
            "choose another output folder, or delete it"
        )


def temporary(path: Path) -> Path:
    """A sibling name that no other run uses and that names its host and process."""
    owner = f"{socket.gethostname()}-{os.getpid()}"
    return path.with_name(f".{path.name}.tmp-{owner}-{uuid.uuid4().hex[:8]}")


def remove_leftovers(path: Path) -> None:
    """Remove temporary siblings whose process, on this host, died before it could rename them."""
    prefix = f".{path.name}.tmp-{socket.gethostname()}-"
    for folder in path.parent.iterdir():
        process, _, _ = folder.name.removeprefix(prefix).partition("-")
        if not (folder.name.startswith(prefix) and process.isdigit()):
            continue
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue  # the process lives and belongs to someone else


def sync(path: Path) -> None:
    """Force a file's or folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
