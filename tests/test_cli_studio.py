"""The studio's command line: commands on a database, the watch over a round, people in the loop."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from accord import artifacts, cli_serve, cli_watch, config
from accord.artifacts import Artifact
from accord.cli import app
from accord.config import Recipe
from accord.errors import AccordError, ArtifactError, ConfigError
from accord.stages.collect import collect
from accord.store import accounts, assign, judgments, rounds
from accord.store.columns import new_id
from accord.store.database import Store, open_store
from accord.store.freeze import freeze_round
from accord.store.from_recipe import open_round
from accord.store.records import Round
from accord.types import Comparison, Completion, Message, Prompt, Sample

NUM_PROMPTS = 6


def recipe(tmp_path: Path, *settings: str) -> Recipe:
    usual = ("studio.calibration_share=0", "studio.port=0", "collect.raters=studio")
    return config.load(None, [f"out={tmp_path / 'run'}", *usual, *settings])


def samples(tmp_path: Path) -> Artifact:
    with artifacts.write(tmp_path / "run" / "samples", "samples") as folder:
        rows = [
            Sample(
                Prompt(f"p{n}", (Message("user", f"Question {n}?"),)),
                (Completion("yes", "policy"), Completion("no", "policy")),
            )
            for n in range(NUM_PROMPTS)
        ]
        artifacts.write_records(folder, rows)
    return artifacts.read(tmp_path / "run" / "samples")


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The database of a recipe's open round, which nobody holds."""
    asked = recipe(tmp_path)
    drawn = samples(tmp_path)
    with open_store(cli_serve.database(asked)) as store:
        open_round(asked, store, "system", samples=drawn)
    return cli_serve.database(asked)


def judge(store: Store, found: Round, num: int) -> None:
    known = accounts.list_accounts(store)
    rater = known[0] if known else accounts.create_account(store, "Ada")
    for _ in range(num):
        task = assign.next_assignment(store, rater.id, found.id)
        assert task is not None
        judgments.submit(store, rater.id, task.id, {"outcome": "a", "strength": 1}, new_id())


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["studio", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_commands_work_on_a_database(database: str, tmp_path: Path) -> None:
    assert "round 1: compare, open, 0 of 6 judgments" in run("rounds", "-d", database)
    link = run("invite", "rater", "-d", database, "--address", "https://studio.example").strip()
    assert link.startswith("https://studio.example/invite/")
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"prompt": "2+2?", "chosen": "4", "rejected": "5"}) + "\n")
    assert "1 added" in run("import", "round 1", str(gold), "--role", "gold", "-d", database)
    with open_store(database) as store:
        judge(store, rounds.list_rounds(store)[0], 4)
    assert "sha256:" in run("freeze", "round 1", "-d", database)
    dest = tmp_path / "labels.csv"
    run("export", "round 1", str(dest), "--shape", "hh", "-d", database)
    assert dest.read_text().count("yes") + dest.read_text().count("no") >= 4
    assert "sound" in run("verify", "-d", database)
    backup = run("backup", "-d", database).strip()
    assert "sound" in run("restore", backup, str(tmp_path / "copy.db"), "--verify")
    run("restore", backup, str(tmp_path / "copy.db"))
    assert "frozen" in run("rounds", "-d", str(tmp_path / "copy.db"))


def test_refusals_say_how_to_go_on(database: str, tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        with pytest.raises(AccordError) as caught:
            CliRunner().invoke(app, ["studio", *words], catch_exceptions=False)
        return str(caught.value)

    assert "there are: 'round 1'" in refused("freeze", "round 9", "-d", database)
    assert "no database" in refused("rounds", "-d", str(tmp_path / "none.db"))
    assert "set ACCORD_TOKEN" in refused("rounds", "--url", "http://127.0.0.1:1")
    taken = tmp_path / "taken.csv"
    taken.write_text("")
    assert "exists" in refused("export", "round 1", str(taken), "-d", database)
    with open_store(database):
        assert "in use by process" in refused("rounds", "-d", database)


def test_a_recipe_means_serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(
        cli_serve, "serve", lambda asked, say, until: seen.append((asked.out, asked.studio.port))
    )
    run("--preset", "tiny", "--out", str(tmp_path), "studio.port=1234")
    run("studio.port=99", "--out", str(tmp_path))
    assert seen == [(str(tmp_path), 1234), (str(tmp_path), 99)]


def watch(asked: Recipe, store: Store, found: Round, out: Path) -> tuple[Any, list[str], Any]:
    said: list[str] = []
    server = SimpleNamespace(should_exit=False)
    watching = cli_watch.Watch(asked, store, found.id, out, said.append, server)  # type: ignore[arg-type]
    return watching, said, server


def test_a_round_is_frozen_when_it_is_done_and_quiet(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run" / "comparisons"
    asked = recipe(tmp_path)
    with open_store(database) as store:
        found = rounds.list_rounds(store)[0]
        watching, said, server = watch(asked, store, found, out)
        watching.look()
        judge(store, found, NUM_PROMPTS)
        watching.look()  # the last one may still be taken back
        watching.look()
        assert not out.exists()
        assert len(said) == 1 and "All 6 judgments are here; 20 s" in said[0]
        monkeypatch.setattr(cli_watch, "GRACE_SECONDS", -1.0)
        watching.look()
        assert server.should_exit
        assert "6 labels in" in said[1]
        watching.look()  # once
        assert len(said) == 2
        assert rounds.get_round(store, found.id).state == "frozen"
    assert len(list(artifacts.read(out, "comparisons").records())) == NUM_PROMPTS


def test_what_a_lead_froze_reaches_the_loop_as_they_chose(tmp_path: Path, database: str) -> None:
    out = tmp_path / "run" / "comparisons"
    with open_store(database) as store:
        found = rounds.list_rounds(store)[0]
        judge(store, found, 3)
        rounds.close_round(store, found.id, "system")
        freeze_round(store, found.id, tmp_path / "elsewhere", aggregate="majority")
        watching, _, server = watch(recipe(tmp_path), store, found, out)
        watching.look()
        assert server.should_exit
    assert artifacts.read(out).manifest.config["studio"]["aggregate"] == "majority"
    assert artifacts.read(out).hash == artifacts.read(tmp_path / "elsewhere").hash


def test_the_loop_takes_only_labels_of_its_own_samples(tmp_path: Path, database: str) -> None:
    asked, out = recipe(tmp_path), tmp_path / "run" / "comparisons"
    with open_store(database) as store:
        found = rounds.list_rounds(store)[0]
        judge(store, found, 3)
        rounds.close_round(store, found.id, "system")
        freeze_round(store, found.id, out)
    drawn = artifacts.read(tmp_path / "run" / "samples")
    made = collect(asked, drawn, out, cli_serve.people)
    assert all(isinstance(label, Comparison) for label in made.records())
    other = recipe(tmp_path, "studio.name=round 2")
    with pytest.raises(ArtifactError, match="made from another round"):
        collect(other, drawn, out, cli_serve.people)


def test_people_are_needed_where_people_are_asked(tmp_path: Path) -> None:
    drawn = samples(tmp_path)
    with pytest.raises(ConfigError, match="needs someone who serves it"):
        collect(recipe(tmp_path), drawn, tmp_path / "out")
    chat = recipe(tmp_path, "studio.task=chat")
    with pytest.raises(ConfigError, match="makes no comparisons"):
        collect(chat, drawn, tmp_path / "out", cli_serve.people)


def test_a_stopped_studio_loses_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_serve.subprocess, "run", lambda *args, **kwargs: None)
    with pytest.raises(ArtifactError, match="the same command goes on"):
        cli_serve.people(recipe(tmp_path), samples(tmp_path), tmp_path / "run" / "comparisons")


def test_a_taken_port_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*studio.port=0"):
            cli_serve.open_doors(recipe(tmp_path, f"studio.port={port}"))
    doors = cli_serve.open_doors(recipe(tmp_path))
    assert doors.url == f"http://127.0.0.1:{doors.listening.getsockname()[1]}"
    doors.listening.close()
    doors = cli_serve.open_doors(recipe(tmp_path, "studio.url=https://studio.example"))
    assert doors.url == "https://studio.example"
    doors.listening.close()


def test_only_the_newest_printed_link_works(database: str) -> None:
    said: list[str] = []
    with open_store(database) as store:
        found = rounds.list_rounds(store)[0]
        for _ in range(3):
            cli_serve.welcome(store, found, "http://s", "http://s/setup/x", said.append)
        invites = [i for i in accounts.list_invites(store) if i.role == "rater"]
        assert [i.state for i in invites].count("open") == 1
    assert any("http://s/setup/x" in line for line in said)
    assert any("6 items, 6 judgments to go" in line for line in said)


def test_what_must_run_first(tmp_path: Path) -> None:
    def missing(*settings: str) -> list[str]:
        return cli_serve.missing_stages(recipe(tmp_path, *settings))

    assert missing() == ["sft", "sample"]
    assert missing("studio.task=demonstrate") == []
    assert missing("studio.task=chat") == ["sft"]
    assert missing("studio.task=chat", "studio.generator_model=tiny") == []
    samples(tmp_path)
    assert missing() == []
    assert cli_serve.labels_path(recipe(tmp_path)) == tmp_path / "run" / "comparisons"
    chat = recipe(tmp_path, "studio.task=chat", "studio.name=Round A/b")
    assert cli_serve.labels_path(chat) == tmp_path / "run" / "frozen" / "round-a-b"
