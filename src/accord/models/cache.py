"""The user's cache of built models: found by content, written atomically, repaired when damaged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

STAMP = "complete.json"
"""Written last into a cached folder: the size and sha256 of every other file."""


def root() -> Path:
    """Where built models live: ``$ACCORD_CACHE``, else ``accord`` in the XDG cache folder."""
    if chosen := os.environ.get("ACCORD_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "accord"


def sha256(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """The folder ``root() / name``, built by ``build(folder)`` unless it is there and sound.

    Two processes may build at once: each works in its own temporary folder, the first rename wins
    and the other one's work is dropped. A damaged folder is replaced by a new one.
    """
    target = root() / name
    if sound(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        build(work)
        _stamp(work)
        if not sound(target):
            _replace(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def sound(folder: Path) -> bool:
    """Whether a cached folder was completed and every file still has its size and content."""
    stamp = folder / STAMP
    if not stamp.is_file():
        return False
    try:
        files = json.loads(stamp.read_text("utf-8"))
    except ValueError:
        return False
    return all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == entry["size"]
        and sha256(folder / name) == entry["sha256"]
        for name, entry in files.items()
    )


def _stamp(folder: Path) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        files[path.name] = {"size": path.stat().st_size, "sha256": sha256(path)}
        with path.open("rb") as file:
            os.fsync(file.fileno())
    with (folder / STAMP).open("w", encoding="utf-8") as file:
        json.dump(files, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    folder.chmod(0o755)


def _replace(work: Path, target: Path) -> None:
    damaged = work.with_name(f"{work.name}.damaged")
    try:
        if target.exists():
            target.rename(damaged)
        work.rename(target)
    except OSError:
        if not sound(target):  # else another process renamed its own first, which serves as well
            raise
    finally:
        shutil.rmtree(damaged, ignore_errors=True)
