"""What the API and the command line take and tell as JSON alike: new rounds, figures, people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from accord.errors import DataError
from accord.store import accounts, rounds
from accord.store.database import Store
from accord.store.records import Round
from accord.store.settings import RoundSettings
from accord.store.task import Purpose, Task, TaskSchema
from accord.store.task_files import load_schema, presets
from accord.web.lead_data import answers, left_out, progress
from accord.web.lead_figures import head_to_head, round_figures
from accord.web.lead_ops import count_by_rater

Json = dict[str, Any]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class In(BaseModel):
    """A body of a request; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class NewRound(In):
    """A round to make; ``schema`` is a preset's name or a whole schema."""

    name: Name
    task: Task
    purpose: Purpose = "train"
    questions: str | TaskSchema = Field(default="hh", alias="schema")
    settings: RoundSettings = RoundSettings()
    budget: int | None = Field(default=None, ge=1, le=100_000_000)


def create_round(store: Store, project_id: str, new: NewRound, actor: str) -> Round:
    """Make a round in state draft.

    Raises:
        DataError: no such project or preset, or something of the round does not fit.
    """
    asked = new.questions
    if isinstance(asked, str):
        if asked not in presets():  # a path would let a program read the server's files
            known = ", ".join(presets())
            raise DataError(f"there is no task schema {asked!r}; known: {known}")
        asked = load_schema(asked)
    return rounds.create_round(
        store,
        project_id,
        new.name.strip(),
        task=new.task,
        actor=actor,
        purpose=new.purpose,
        schema=asked,
        settings=new.settings,
        budget=new.budget,
    )


def dashboard(store: Store, round_id: str) -> Json:
    """Progress, figures, how fast models answer, and what was left out."""
    found = rounds.get_round(store, round_id)
    shown, rows = round_figures(store, found)
    with store.read() as conn:
        far = progress(conn, found)
        out = left_out(conn, round_id, rows)
        waiting = answers(conn, found)
    return {
        "progress": asdict(far) | {"share": far.share},
        "answers": asdict(waiting),
        "figures": asdict(shown),
        "left_out": [asdict(row) for row in out],
    }


def ratings(store: Store, round_id: str) -> list[Json]:
    """Policies of a head-to-head round in Elo points, beside the reward model's prediction."""
    found = rounds.get_round(store, round_id)
    _, rows = round_figures(store, found)
    return [asdict(row) for row in head_to_head(rows, found.schema.strength_steps)]


def people(store: Store) -> list[Json]:
    """Everyone with an account, and how much they judged."""
    found = accounts.list_accounts(store)
    judged = count_by_rater(store, [account.id for account in found])
    keys = ("id", "name", "role", "status", "created_at")
    return [{k: asdict(a)[k] for k in keys} | {"num_judgments": judged[a.id]} for a in found]
