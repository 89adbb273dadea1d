"""Kill -9, power loss and a full disk, in small; ``benchmarks/store_kill.py`` has the full size."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "store_kill.py"
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or sys.platform != "linux",
    reason="the simulated power loss needs a C compiler (cc) and Linux",
)


@pytest.fixture
def store_kill(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/store_kill.py as a module."""
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    return importlib.import_module("store_kill")


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARK, "kill", "--kills", "4", "--acked", "40", "--folder"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["crashes"] >= 4
    assert found["acked"] >= 40
    assert (found["lost"], found["doubled"], found["damaged"]) == (0, 0, 0)


@needs_compiler
def test_power_loss_loses_nothing(store_kill: ModuleType, tmp_path: Path) -> None:
    found = store_kill.power(tmp_path, 60, votes=120, raters=4, verify_every=20)
    assert found.crashes == 60
    assert found.acked > 50
    assert found.sound, found


@needs_compiler
def test_the_same_test_fails_when_commits_are_not_synced(
    store_kill: ModuleType, tmp_path: Path
) -> None:
    found = store_kill.power(
        tmp_path, 40, votes=120, raters=4, synchronous="NORMAL", verify_every=20
    )
    assert found.lost > 0
    assert not found.sound


@needs_compiler
def test_a_disk_that_runs_full_and_is_cleared(store_kill: ModuleType, tmp_path: Path) -> None:
    """Writes really fail with ENOSPC: clear error, nothing partial, and it goes on by itself."""
    code = """
import pathlib, sys
import sqlalchemy as sa
from accord.store import events
from accord.store.database import open_store, StoreError
store, flag = open_store(sys.argv[1]), pathlib.Path(sys.argv[2])
def note(n):
    store.write(lambda conn: events.append(conn, "p", "note", "me", {"n": n, "x": "x" * 9000}))
note(1)
flag.touch()
for n in (2, 3):
    try:
        note(n)
        print("saved")
    except StoreError as error:
        print(error)
flag.unlink()
note(4)
with store.read() as conn:
    print(conn.execute(sa.text("SELECT max(seq), count(*) FROM events")).one())
print(events.verify(store))
store.close()
"""
    (tmp_path / "disk").mkdir()
    path, flag = tmp_path / "disk" / "studio.db", tmp_path / "full"
    shim = {
        "LD_PRELOAD": str(store_kill.build_shim(tmp_path)),
        "POWER_FOLDER": str(path.parent),
        "POWER_LOG": str(tmp_path / "power.log"),
        "POWER_FULL": str(flag),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, path, flag],
        env={**os.environ, **shim},
        capture_output=True,
        text=True,
    )
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    for line in said[:2]:
        assert "Nothing was saved" in line and "disk is full" in line, said
    assert said[2:] == ["(2, 2)", "[]"]


def test_what_a_crash_may_leave_by_hand(store_kill: ModuleType) -> None:
    """Synced bytes always stand; of the rest whole sectors are there or not."""
    disk, rng = store_kill.Disk(bytearray(b"a" * 1024)), random.Random(0)
    disk.waiting = [(b"W", 0, b"b" * 1024), (b"W", 1024, b"c" * 512), (b"T", 512, b"")]
    assert disk.after_crash(rng, 0.0) == b"a" * 1024
    assert disk.after_crash(rng, 1.0) == b"b" * 512
    seen = {disk.after_crash(rng, 0.5) for _ in range(200)}
    assert b"b" * 512 + b"a" * 512 in seen
    assert b"a" * 1024 + b"c" * 512 in seen
    assert all(set(part) <= set(b"abc") for part in seen)
    sectors = {part[i : i + 512] for part in seen for i in range(0, len(part), 512)}
    assert sectors == {b"a" * 512, b"b" * 512, b"c" * 512}
    disk.sync()
    assert disk.safe == b"b" * 512
    assert disk.after_crash(rng, 0.0) == b"b" * 512


def test_a_name_is_on_the_disk_once_its_folder_is_synced(store_kill: ModuleType) -> None:
    disk: dict[str, object] = {}
    store_kill._step(disk, b"C", "x.db-wal", 0, b"")
    store_kill._step(disk, b"W", "x.db-wal", 3, b"abc")
    store_kill._step(disk, b"S", "x.db-wal", 0, b"")
    rng = random.Random(0)
    assert disk["x.db-wal"].after_crash(rng, 0.0) is None  # type: ignore[attr-defined]
    store_kill._step(disk, b"S", "", 0, b"")
    assert disk["x.db-wal"].after_crash(rng, 0.0) == b"\0\0\0abc"  # type: ignore[attr-defined]
    store_kill._step(disk, b"U", "x.db-wal", 0, b"")
    assert disk == {}
