"""A small round for tests: raters, items of every role, and short ways to judge."""

from __future__ import annotations

from typing import Any

from accord.store import schema
from accord.store.assign import next_assignment
from accord.store.columns import new_id, now
from accord.store.database import Store
from accord.store.judgments import submit
from accord.store.records import NewItem, Round
from accord.store.rounds import add_items, create_project, create_round, open_round
from accord.store.settings import RoundSettings
from accord.store.task import Task, TaskSchema
from accord.store.work import Assignment
from accord.types import Completion, Message, Prompt

PLAIN = RoundSettings(calibration_share=0, gold_share=0, attention_share=0, anchor_share=0)
"""Nothing in the mix but ordinary items, one rater each."""


def rater(store: Store, role: str = "rater") -> str:
    """A new account."""
    name = f"rater-{new_id()[:8]}"
    row = {"id": name, "name": name, "name_key": name, "role": role}
    store.write(lambda conn: conn.execute(schema.accounts.insert().values(row)) and None)
    return name


def item(name: str, num: int = 2, **fields: Any) -> NewItem:
    """An item whose completions are ``name.0``, ``name.1``, ..."""
    completions = tuple(Completion(f"{name}.{i}", model=f"policy-{i}") for i in range(num))
    return NewItem(Prompt(name, (Message("user", f"About {name}?"),)), completions, **fields)


def make_round(
    store: Store,
    items: list[NewItem],
    settings: RoundSettings = PLAIN,
    *,
    task: Task = "compare",
    opened: bool = True,
    schema: TaskSchema | None = None,
    budget: int | None = None,
) -> Round:
    """A round in a project of its own."""
    project = create_project(store, new_id(), "system")
    made = create_round(
        store,
        project.id,
        "round",
        task=task,
        actor="system",
        settings=settings,
        schema=schema,
        budget=budget,
    )
    if items:
        add_items(store, made.id, items, "system")
    return open_round(store, made.id, "system") if opened else made


def prefer(assignment: Assignment, index: int, strength: int = 2) -> dict[str, Any]:
    """The body that prefers a completion by canonical index, wherever it is shown."""
    slot = "ab"[assignment.permutation.index(index)]
    return {"outcome": slot, "strength": strength}


ANY: dict[str, Any] = {"outcome": "a", "strength": 1}
"""A body that every round with the usual schema takes."""


def rules(**changes: Any) -> RoundSettings:
    """The plain settings with some changed."""
    return RoundSettings.model_validate({**PLAIN.model_dump(), **changes})


def ask_for(store: Store, who: str, round_id: str) -> Assignment:
    """The rater's next task, which there must be."""
    task = next_assignment(store, who, round_id)
    assert task is not None, "nothing to do"
    return task


def drain(store: Store, who: str, round_id: str, body: Any = ANY) -> list[Assignment]:
    """Judge until nothing is left; ``body`` may be a function of the task."""
    done: list[Assignment] = []
    while (task := next_assignment(store, who, round_id)) is not None:
        said = submit(store, who, task.id, body(task) if callable(body) else body, task.id)
        assert said.new, "taken back since: the old key would go round for ever"
        done.append(task)
    return done


def freeze(store: Store, round_id: str) -> None:
    """Leave a round as the freeze does."""
    change = schema.rounds.update().where(schema.rounds.c.id == round_id)
    store.write(lambda conn: conn.execute(change.values(state="frozen", frozen_at=now())) and None)
