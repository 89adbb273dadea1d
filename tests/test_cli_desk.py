"""The studio's commands on small databases: what they say, what they refuse, how one goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli import app
from accord.cli_desk import LocalDesk
from accord.cli_studio import goodbye, load_recipe, round_id
from accord.errors import AccordError, ConfigError
from accord.store import accounts, rounds, schema
from accord.store.database import open_store
from accord.store.task_files import load_schema
from tests.store.fill import drain, item, make_round, prefer, rater, rules


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Two projects, three rounds without items; two of the rounds share a name."""
    path = tmp_path / "studio.db"
    with open_store(path) as store:
        for project, names in (("Kindness", ("first", "twin")), ("Truth", ("twin",))):
            made = rounds.create_project(store, project, "system")
            for name in names:
                rounds.create_round(
                    store, made.id, name, task="compare", actor="system", schema=load_schema("hh")
                )
    return str(path)


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["studio", *words], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def refused(*words: str) -> str:
    with pytest.raises(AccordError) as caught:
        run(*words)
    return str(caught.value)


def test_rounds_are_listed_below_their_projects(database: str) -> None:
    lines = run("rounds", "-d", database).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["Kindness", "Truth"]
    assert sum("compare, draft, 0 of any number of judgments" in line for line in lines) == 3


def test_a_round_goes_by_id_or_by_a_name_that_is_its_alone(database: str) -> None:
    with open_store(database) as store:
        desk = LocalDesk(store)
        known = [r for project in desk.projects() for r in project["rounds"]]
        for row in known:
            assert round_id(desk, row["id"]) == row["id"]
        (first,) = [row["id"] for row in known if row["name"] == "first"]
        assert round_id(desk, "first") == first
        with pytest.raises(ConfigError, match=r"2 rounds called 'twin'; there are:") as caught:
            round_id(desk, "twin")
        assert all(row["id"] in str(caught.value) for row in known)
        with pytest.raises(ConfigError, match=r"no round called ''"):
            round_id(desk, "")


def test_a_database_without_rounds_says_none(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    open_store(path).close()
    assert run("rounds", "-d", str(path)) == ""
    assert refused("freeze", "x", "-d", str(path)) == "no round called 'x'; there are: none"


def test_someone_is_erased_after_a_question(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    with open_store(path) as store:
        ada = accounts.create_account(store, "Ada Lovelace", "rater").id
    where = ("-d", str(path))
    done = CliRunner().invoke(app, ["studio", "erase", ada, *where], input="n\n")
    assert done.exit_code == 1 and "cannot be undone" in done.output
    with open_store(path) as store:
        assert [a.name for a in accounts.list_accounts(store)] == ["Ada Lovelace"]
    assert "is erased" in run("erase", ada, "--yes", *where)
    assert b"Ada Lovelace" not in path.read_bytes()
    with open_store(path) as store:
        assert accounts.list_accounts(store) == []
    assert "rater-0" in refused("erase", "rater-0", "--yes", *where)


def prompts_file(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt": "Why is the sky blue?", "tags": ["user:1"]},
        {"prompt": "why is the SKY  blue?", "tags": ["user:2"]},
        {"prompt": "Why is grass green?", "tags": ["user:1"]},
        {"prompt": "Why is snow white?", "tags": ["user:1"]},
        {"prompt": "Write to ada@example.org", "tags": ["user:2"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


INTAKE = ("--drop-duplicates", "--cap", "2", "--scan", "personal")
SUMMARY = (
    "2 of 5 are kept; 1 left out, copies of another; 1 left out, over the cap of 2 a source; "
    "1 left out, with personal data\n"
)


def test_prompts_are_screened_queued_and_told(tmp_path: Path) -> None:
    path, source, report = tmp_path / "studio.db", prompts_file(tmp_path), tmp_path / "out.jsonl"
    with open_store(path) as store:
        make_round(store, [], rules(policies=("policy",)), opened=False)
    where = ("-d", str(path))
    told = run("fill", "round", str(source), *INTAKE, "--dropped", str(report), *where)
    assert told == SUMMARY + "2 prompts are queued; a running studio answers them\n"
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert [row["row"] for row in rows] == [2, 4, 5]
    assert "ada" not in report.read_text()
    with open_store(path) as store, store.read() as conn:
        asked = conn.execute(schema.generations.select()).all()
    said = sorted(row.params["extra"]["prompt"]["messages"][0]["content"] for row in asked)
    assert said == ["Why is grass green?", "Why is the sky blue?"]
    assert {row.params["extra"]["source"] for row in asked} == {"prompts.jsonl"}
    assert "5 prompts" not in run("fill", "round", str(source), *where)  # two are known
    exists = refused("fill", "round", str(source), *INTAKE, "--dropped", str(report), *where)
    assert "exists" in exists
    assert "no scan" in refused("fill", "round", str(source), "--scan", "nothing", *where)


def test_items_are_screened_as_they_are_imported(tmp_path: Path) -> None:
    path, source = tmp_path / "studio.db", prompts_file(tmp_path)
    with open_store(path) as store:
        make_round(store, [], task="demonstrate", opened=False)
    told = run("import", "round", str(source), *INTAKE, "-d", str(path))
    assert told == SUMMARY + "2 added, 0 were there already\n"
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps({"prompt": "Mail ada@example.org"}) + "\n")
    told = refused("import", "round", str(bad), "--scan", "personal", "-d", str(path))
    assert "0 of 1 are kept" in told and "nothing is left" in told


def test_prompts_need_someone_who_answers(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    with open_store(path) as store:
        make_round(store, [], opened=False)
    told = refused("fill", "round", str(prompts_file(tmp_path)), "-d", str(path))
    assert "no policy to answer" in told


def test_training_is_shown_and_done_again(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    with open_store(path) as store:
        new = [item("real"), item("lesson", role="training", answer={"best": 0})]
        found = make_round(store, new, rules(training_items=1))
        who = rater(store)
        drain(store, who, found.id, lambda task: prefer(task, 1))
    told = run("training", "round", "-d", str(path))
    assert told == f"{who}  0 of 1 right, 1 needed: did not pass, attempt 1\n"
    told = run("training", "round", "--again", who, "-d", str(path))
    assert told == f"{who}  0 of 0 right, 1 needed: in training, attempt 2\n"
    with open_store(path) as store:
        drain(store, who, found.id, lambda task: prefer(task, 0))
    assert "1 of 1 right, 1 needed: passed" in run("training", found.id, "-d", str(path))
    assert "no account" in refused("training", "round", "--again", "nobody", "-d", str(path))


def test_import_counts_what_is_new_and_what_is_known(database: str, tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    rows = [{"prompt": f"Why {n}?", "chosen": "So.", "rejected": "No."} for n in range(3)]
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "3 added, 0 were there" in run("import", "first", str(items), "-d", database)
    assert "0 added, 3 were there" in run("import", "first", str(items), "-d", database)


def test_invitations_name_the_studio_and_are_each_their_own(database: str) -> None:
    one = run("invite", "-d", database, "--address", "https://judge.example/").strip()
    two = run("invite", "viewer", "-d", database, "--name", "Bo").strip()
    assert one.startswith("https://judge.example/invite/")
    assert two.startswith("http://127.0.0.1:8765/invite/")
    assert one.rsplit("/", 1)[1] != two.rsplit("/", 1)[1]


def test_a_running_studio_is_asked_only_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for token in (None, ""):
        if token is None:
            monkeypatch.delenv("ACCORD_TOKEN", raising=False)
        else:
            monkeypatch.setenv("ACCORD_TOKEN", token)
        said = refused("verify", "--url", "http://127.0.0.1:9")
        assert "set ACCORD_TOKEN to an API token of http://127.0.0.1:9" in said
        assert "Tokens" in said


def test_a_backup_is_sound_and_never_written_over_anything(database: str, tmp_path: Path) -> None:
    saved = run("backup", "-d", database).strip()
    assert Path(saved).is_file()
    copy = tmp_path / "copy.db"
    assert "sound" in run("restore", saved, str(copy), "--verify")
    assert not copy.exists()
    run("restore", saved, str(copy))
    assert run("rounds", "-d", str(copy)) == run("rounds", "-d", database)
    refused("restore", saved, str(copy))
    assert "sound" in run("verify", "-d", str(copy))


def test_what_verify_finds_is_told_and_ends_with_one(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalDesk, "verify", lambda self: ["event 3 was changed"])
    assert run("verify", "-d", database, code=1) == "event 3 was changed\n"


def test_an_export_never_replaces_a_file(database: str, tmp_path: Path) -> None:
    kept = tmp_path / "labels.jsonl"
    kept.write_text("mine")
    said = refused("export", "first", str(kept), "-d", database)
    assert said.endswith("exists; choose another name or delete it")
    assert kept.read_text() == "mine"


def test_one_recipe_at_a_time_and_settings_beside_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one recipe at a time, not a\.yaml, b\.yaml"):
        load_recipe(["a.yaml", "studio.port=1", "b.yaml"], None, None)
    assert load_recipe(["studio.port=7"], None, str(tmp_path)).studio.port == 7
    assert load_recipe(None, None, str(tmp_path)).out == str(tmp_path)


def test_closing_by_hand_is_said_kindly(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    with pytest.raises(typer.Exit) as caught, goodbye():
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert "The same command opens it again" in capsys.readouterr().err
