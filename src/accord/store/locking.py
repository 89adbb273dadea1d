"""A SQLite file belongs to one process at a time."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from accord.store.faults import StoreError


@contextmanager
def hold(path: Path, *, create: bool = True) -> Iterator[None]:
    """Hold a SQLite file for this process, making it (for its owner alone) where it is missing.

    The lock is the system's, on ``PATH.lock``: it goes with the process, however that ends.
    ``PATH.holder`` says who has it, for the message.

    Raises:
        StoreError: another process has it; it is missing and ``create`` is False; its folder
            cannot be written.
    """
    if not create and not path.exists():
        raise StoreError(f"There is no database at {path}. Check the path, or make a new studio.")
    lock, holder = FileLock(f"{path}.lock", timeout=0, mode=0o600), Path(f"{path}.holder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        who = holder.read_text("utf-8") if holder.exists() else "another process"
        raise StoreError(
            f"{path} is in use by {who}. Stop that one first, or connect to it instead; a studio "
            "that needs several processes runs on PostgreSQL."
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error}. Check its folder's owner.") from error
    try:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}")
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error}. Check its owner and permissions, and whether "
                "its disk is full or read-only."
            ) from error
        yield
        holder.unlink(missing_ok=True)
    finally:
        lock.release()
