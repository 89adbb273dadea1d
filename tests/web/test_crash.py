"""Kill -9 of the server over HTTP, in small; ``benchmarks/http_kill.py`` has the full size."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "http_kill.py"
ANOTHER = """
INSERT INTO events (project_id, seq, kind, actor, key, assignment_id, body, at, hash)
SELECT project_id, seq + 9, kind, actor, 'other', assignment_id, body, at, hash
FROM events WHERE kind = 'judgment'
"""


def test_kill_9_under_voting_clients_loses_and_doubles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARK, "--kills", "5", "--acked", "200", "--items", "20"]
    done = subprocess.run([*command, "--folder", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["crashes"] >= 5
    assert found["acked"] >= 200
    assert found["cut"] > 0  # some judgments were under way when a server died
    assert (found["lost"], found["doubled"], found["damaged"], found["faults"]) == (0, 0, 0, [])
    assert found["verified"] > 0


def test_a_judgment_that_is_not_there_or_there_twice_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run relies on, with a database that a careless server could leave."""
    import sqlalchemy as sa

    from accord.store import accounts, assign, judgments
    from accord.store.database import open_store

    monkeypatch.syspath_prepend(BENCHMARK.parent)
    http_kill, serve_accord = (
        importlib.import_module(name) for name in ("http_kill", "peers.serve_accord")
    )
    pairs = [{"id": "p", "prompt": "?", "a": "1", "b": "2"}]
    with open_store(tmp_path / "studio.db") as store:
        made = serve_accord.fill(store, pairs, 1)
        rater = accounts.list_accounts(store)[0].id
        task = assign.next_assignment(store, rater, made["round"])
        assert task is not None
        judgments.submit(store, rater, task.id, {"outcome": "a", "strength": 1}, "key")
    sound, lost = http_kill.Tally(), http_kill.Tally()
    book = http_kill.Book(acked={task.id}, doubt={"never seen"})
    http_kill.look(sound, tmp_path / "studio.db", book, whole=True)
    assert (sound.sound, sound.crashes, sound.cut, sound.cut_but_saved) == (True, 1, 1, 0)
    http_kill.look(lost, tmp_path / "studio.db", http_kill.Book({"gone"}, {task.id}), whole=True)
    assert (lost.lost, lost.cut_but_saved, lost.sound) == (1, 1, False)
    with open_store(tmp_path / "studio.db") as store:
        store.write(lambda conn: conn.execute(sa.text(ANOTHER)).rowcount)
    twice = http_kill.Tally()
    http_kill.look(twice, tmp_path / "studio.db", book, whole=True)
    assert (twice.doubled, twice.lost, twice.damaged, twice.sound) == (1, 0, 1, False)
