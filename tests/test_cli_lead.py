"""What a lead does from the command line: every act of the API is there, and does what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.main import get_command

from accord.cli_studio import studio
from accord.client import LeadStudio
from accord.store import accounts, adjudicate, questions, rounds, signin
from accord.store.columns import new_id
from accord.store.database import Store, open_store
from accord.web.lead_api import router
from tests.store.fill import drain, item, make_round, prefer, rater, rules
from tests.test_cli_desk import refused, run

ACTS = {  # route of the API: method of the typed client, command
    "list_projects": ("projects", "rounds"),
    "make_project": ("create_project", "make"),
    "guidelines": ("guidelines", "guideline"),
    "write_guideline": ("set_guideline", "guideline"),
    "make_round": ("create_round", "make"),
    "next_round": ("next_round", "next"),
    "show_round": ("round", "rounds"),
    "open_round": ("open_round", "open"),
    "close_round": ("close_round", "close"),
    "freeze": ("freeze_round", "freeze"),
    "import_items": ("add_items", "import"),
    "add_prompts": ("add_prompts", "fill"),
    "dashboard": ("dashboard", "figures"),
    "ratings": ("ratings", "figures"),
    "adjudications": ("adjudications", "disagreements"),
    "decide": ("adjudicate", "decide"),
    "questions": ("questions", "questions"),
    "answer": ("answer", "answer"),
    "list_trainees": ("trainees", "training"),
    "train_again": ("train_again", "training"),
    "export": ("export", "export"),
    "list_accounts": ("accounts", "people"),
    "invite": ("invite", "invite"),
    "change_account": ("set_account", "person"),
    "erase_account": ("erase_account", "erase"),
    "list_tokens": ("tokens", "tokens"),
    "make_token": ("create_token", "token"),
    "revoke_token": ("revoke_token", "revoke"),
    "verify": ("verify", "verify"),
    "back_up": ("backup", "backup"),
}


def test_every_act_of_the_api_has_a_method_and_a_command() -> None:
    assert {route.name for route in router.routes} == set(ACTS)  # type: ignore[attr-defined]
    commands = get_command(studio).commands  # type: ignore[attr-defined]
    for method, command in ACTS.values():
        assert callable(getattr(LeadStudio, method))
        assert command in commands


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with open_store(tmp_path / "studio.db"):
        return tmp_path


def pairs(place: Path, name: str, num: int = 4) -> str:
    rows = [{"prompt": f"{name} {i}?", "chosen": f"yes {i}", "rejected": "no"} for i in range(num)]
    (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(place / name)


def test_rounds_follow_one_another_from_draft_to_the_next(place: Path) -> None:
    at = ("-d", str(place / "studio.db"))
    made = run(
        *("make", "round 1", "--project", "kind", "--schema", "hhh", "--budget", "4"),
        *("--set", "overlap=1", "--set", "calibration_share=0", *at),
    ).strip()
    assert "4 added" in run("import", "round 1", pairs(place, "one.jsonl"), *at)
    (place / "guide.md").write_text("Be kind.")
    assert "version 1" in run("guideline", "kind", str(place / "guide.md"), *at)
    assert run("guideline", "kind", *at).strip() == "Be kind."
    run("open", "round 1", *at)
    assert "freeze it before the next one" in refused("next", "round 1", "round 2", *at)
    with open_store(place / "studio.db") as store:
        who = rater(store)
        accounts.acknowledge_guideline(store, who, rounds.list_projects(store)[0].id, 1)
        assert len(drain(store, who, made, lambda task: prefer(task, 0))) == 4
    told = json.loads(run("figures", "round 1", *at))
    assert told["progress"]["done"] == 4
    assert told["answers"]["first_seconds"] is None
    run("close", "round 1", *at)
    frozen = run("freeze", "round 1", *at).split()[1]
    told = run("next", "round 1", "round 2", "--items", pairs(place, "two.jsonl", 2), *at)
    second = told.splitlines()[-1]
    with open_store(place / "studio.db") as store:
        first, following = rounds.get_round(store, made), rounds.get_round(store, second)
    assert following.state == "draft" and following.num_items == 2
    assert (following.schema, following.budget, following.guideline) == (first.schema, 4, 1)
    assert following.settings == first.settings.model_copy(
        update={"follows": made, "snapshot": frozen}
    )
    assert "has a round 'round 2' already" in refused("next", "round 1", "round 2", *at)


def test_a_round_asks_what_a_file_says_and_what_does_not_fit_is_refused(place: Path) -> None:
    at = ("-d", str(place / "studio.db"))
    (place / "mine.yaml").write_text("name: mine\nstrength_steps: 2\n")
    made = run("make", "r", "--schema", str(place / "mine.yaml"), *at).strip()
    with open_store(place / "studio.db") as store:
        assert rounds.get_round(store, made).schema.strength_steps == 2
    assert "make the round's task compare" in refused(
        "make", "s", "--task", "rank", "--schema", "hhh", *at
    )
    assert "no project called 'x'; there are: 'accord'" in refused("guideline", "x", *at)


def test_people_are_listed_changed_and_kept_out(place: Path) -> None:
    at = ("-d", str(place / "studio.db"))
    with open_store(place / "studio.db") as store:
        who = rater(store)
    assert f"{who}: rater, active, 0 judgments" in run("people", *at)
    run("person", who, "--role", "adjudicator", "--status", "disabled", *at)
    assert "adjudicator, disabled" in run("people", *at)
    assert "--role or --status" in refused("person", who, *at)


def asked(store: Store) -> str:
    """A round whose rater has asked something, and two who contradict each other on an item."""
    found = make_round(store, [item("one")], rules(overlap=2, escalate_spread=1))
    for index in (0, 1):
        who = rater(store)
        task = drain(store, who, found.id, lambda t, i=index: prefer(t, i, 4))[0]
        if index == 0:
            questions.ask(store, who, task.id, "What is better?", new_id())
    return found.id


def test_questions_are_answered_and_disagreements_decided(place: Path) -> None:
    at = ("-d", str(place / "studio.db"))
    with open_store(place / "studio.db") as store:
        found = asked(store)
        for _ in range(2):  # two more are asked; then it is an adjudicator's
            drain(store, rater(store), found, lambda task: prefer(task, 0, 4))
        cases = adjudicate.queue(store, found)
    name = run("questions", found, *at).split()[0]
    assert "not answered yet" in run("questions", found, *at)
    run("answer", name, "Whatever helps more.", *at)
    assert "Whatever helps more." in run("questions", found, *at)
    (case,) = cases
    run("decide", case.id, "--note", "Look at the source.", *at)
    assert "Look at the source." in run("disagreements", found, *at)
    run("decide", case.id, "2", *at)
    with open_store(place / "studio.db") as store:
        decided = adjudicate.get(store, case.id)
    assert decided.outcome is not None
    assert (decided.state, decided.outcome["best"]) == ("resolved", 1)


def test_tokens_are_the_owner_s(place: Path) -> None:
    at = ("-d", str(place / "studio.db"))
    assert "no owner yet" in refused("token", "notebook", *at)
    with open_store(place / "studio.db") as store:
        owner = rater(store, "owner")
    secret = run("token", "notebook", "--role", "researcher", *at).strip()
    with open_store(place / "studio.db") as store:
        known = signin.find_token(store, secret)
        assert known is not None and known.id == owner
    line = run("tokens", *at)
    assert "notebook: researcher" in line
    run("revoke", line.split()[0], *at)
    with open_store(place / "studio.db") as store:
        assert signin.find_token(store, secret) is None
