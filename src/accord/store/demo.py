"""Demo projects of real judgments, from a folder of data that the user has.

OpenAssistant (Köpf et al. 2023): ranked replies of conversation trees, a round in which people may
rank and see how they agree with the volunteers. PandaLM (Wang et al. 2023): 999 pairs, each judged
by the same three people, a closed round whose agreement is known (Fleiss' kappa 0.864).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord import data
from accord.errors import DataError
from accord.store import schema
from accord.store.columns import new_id
from accord.store.database import Store
from accord.store.judgments import submit_in
from accord.store.people import create_account
from accord.store.records import NewItem, Project, Round, item_id, round_row
from accord.store.rounds import (
    add_items,
    close_round,
    create_project,
    create_round,
    get_round,
    list_projects,
    open_round,
    set_guideline,
)
from accord.store.settings import RoundSettings
from accord.store.task import SLOTS, Task, TaskSchema
from accord.store.work import hand_out, own_row, take
from accord.types import Completion, Message, Prompt, Ranking

OPEN_ASSISTANT = "Demo: OpenAssistant rankings"
PANDALM = "Demo: PandaLM pairs"
CHUNK_JUDGMENTS = 200
GUIDELINE = """\
Put the best reply first. A good reply does what was asked, is true, and is no longer than it needs
to be. Replies that are equally good may share a place.
"""
PAIRS_GUIDELINE = """\
Choose the response that answers the instruction better. If you see no difference, say so.
"""

Ballot = tuple[str, str, dict[str, Any]]
"""Rater, item, and the judgment by canonical index."""


def load_open_assistant(store: Store, source: str | Path, actor: str = "system") -> Round:
    """An open round of ranked replies, each ranked by the volunteers and waiting for one more.

    Args:
        store: where it goes.
        source: a file of conversation trees, or a folder with ``*tree*.jsonl`` in it.
        actor: account in whose name it is made.

    Raises:
        DataError: no such file, no ranking in it, or the demo is there already.
    """
    path = _file(Path(source), "*tree*.jsonl", "OpenAssistant conversation trees")
    rankings = [r for r in data.read(path).records if isinstance(r, Ranking)]
    usable = [r for r in rankings if _distinct(r) and 2 <= len(r.completions) <= len(SLOTS)]
    if not usable:
        raise DataError(f"{path} holds no ranked replies; the file with trees and ranks has them")
    project = _project(store, OPEN_ASSISTANT, GUIDELINE, actor)
    asked = TaskSchema(
        name="open-assistant", question="Rank the replies, the best first.", strength_steps=0
    )
    new = [NewItem(r.prompt, r.completions, source=path.name, needed=2) for r in usable]
    made = _round(store, project, "volunteers' rankings", "rank", asked, new, actor)
    crowd = create_account(store, "OpenAssistant volunteers", actor=actor).id
    _vote(
        store,
        made.id,
        [
            (crowd, item_id(made.id, item.payload()), {"ranks": list(ranking.ranks)})
            for item, ranking in zip(new, usable, strict=True)
        ],
    )
    return get_round(store, made.id)


def load_pandalm(store: Store, source: str | Path, actor: str = "system") -> Round:
    """A closed round of pairs with the verdicts of PandaLM's three annotators.

    A response that the file has as a JSON boolean is its word ("True"). Rows that repeat another
    row's prompt and responses would ask the same people twice and are left out.

    Args:
        store: where it goes.
        source: ``testset-v1.json``, or the folder that holds it.
        actor: account in whose name it is made.

    Raises:
        DataError: no such file, a row that is not as PandaLM's are, or the demo is there already.
    """
    path = _file(Path(source), "testset-v1.json", "PandaLM's test set")
    rows = _pandalm_rows(path)
    project = _project(store, PANDALM, PAIRS_GUIDELINE, actor)
    asked = TaskSchema(
        name="pandalm", strength_steps=0, allow_both_bad=False, allow_cannot_compare=False
    )
    by_name: dict[str, tuple[NewItem, tuple[int, ...]]] = {}
    for item, verdicts in rows:
        by_name.setdefault(orjson.dumps(item.payload()).decode(), (item, verdicts))
    new = [item for item, _ in by_name.values()]
    made = _round(store, project, "three annotators", "compare", asked, new, actor)
    raters = [create_account(store, f"PandaLM annotator {n}", actor=actor).id for n in (1, 2, 3)]
    ballots: list[Ballot] = []
    for item, verdicts in by_name.values():
        name = item_id(made.id, item.payload())
        for rater, said in zip(raters, verdicts, strict=True):
            outcome = {"best": said - 1} if said else {"outcome": "tie"}
            ballots.append((rater, name, outcome))
    _vote(store, made.id, ballots)
    return close_round(store, made.id, actor)


DEMOS: Mapping[str, Callable[[Store, str | Path, str], Round]] = {
    "open-assistant": load_open_assistant,
    "pandalm": load_pandalm,
}
"""Name of the demo, which is also the usual name of its folder -> what loads it."""


def _file(source: Path, pattern: str, what: str) -> Path:
    if source.is_file():
        return source
    found = sorted(source.glob(pattern)) if source.is_dir() else []
    if not found:
        raise DataError(
            f"{source} holds no {pattern} ({what}); download it and give its folder or its path"
        )
    return found[0]


def _distinct(ranking: Ranking) -> bool:
    return len({completion.text for completion in ranking.completions}) == len(ranking.completions)


def _pandalm_rows(path: Path) -> list[tuple[NewItem, tuple[int, ...]]]:
    try:
        rows = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: broken JSON: {error}") from None
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            models = row["cmp_key"].split("_")
            texts = [_words(row["response1"]), _words(row["response2"])]
            verdicts = tuple(row[f"annotator{n}"] for n in (1, 2, 3))
            asked = row["instruction"] + (f"\n\n{row['input']}" if row["input"] else "")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}:row {number}: not a row of PandaLM's ({error!r})") from None
        if any(type(said) is not int or said not in (0, 1, 2) for said in verdicts):
            raise DataError(f"{path}:row {number}: annotators say {verdicts}, not 0, 1 or 2")
        if len(models) != 2:
            raise DataError(f"{path}:row {number}: 'cmp_key' names {len(models)} models, not 2")
        prompt = Prompt(str(row.get("idx", number)), (Message("user", asked),))
        sides = tuple(Completion(t, m) for t, m in zip(texts, models, strict=True))
        found.append((NewItem(prompt, sides, source=path.name, needed=3), verdicts))
    return found


def _words(value: object) -> str:
    if type(value) is bool:
        return str(value)
    if type(value) is str:
        return value
    raise TypeError(f"a response is {type(value).__name__}")


def _project(store: Store, name: str, guideline: str, actor: str) -> Project:
    if any(project.name == name for project in list_projects(store)):
        raise DataError(f"{name!r} is there already; open its round, or use another studio")
    project = create_project(store, name, actor)
    set_guideline(store, project.id, guideline, actor)
    return project


def _round(
    store: Store,
    project: Project,
    name: str,
    task: Task,
    asked: TaskSchema,
    new: Iterable[NewItem],
    actor: str,
) -> Round:
    settings = RoundSettings(calibration_share=0, gold_share=0, attention_share=0, anchor_share=0)
    made = create_round(
        store, project.id, name, task=task, actor=actor, schema=asked, settings=settings
    )
    add_items(store, made.id, new, actor)
    return open_round(store, made.id, actor)


def _vote(store: Store, round_id: str, ballots: Sequence[Ballot]) -> None:
    """Hand in judgments as their raters would, a few hundred in a transaction."""
    for start in range(0, len(ballots), CHUNK_JUDGMENTS):
        part = ballots[start : start + CHUNK_JUDGMENTS]
        store.write(partial(_vote_within, round_id=round_id, ballots=part))


def _vote_within(conn: Connection, round_id: str, ballots: Sequence[Ballot]) -> None:
    found = round_row(conn, round_id)
    table = schema.round_raters
    for rater, item, outcome in ballots:
        there = sa.and_(table.c.round_id == round_id, table.c.rater_id == rater)
        if conn.scalar(sa.select(table.c.rater_id).where(there)) is None:
            conn.execute(table.insert().values(round_id=round_id, rater_id=rater))
        ranks = outcome.get("ranks")
        task = hand_out(
            conn, found, rater, item, reason="overlap", num_responses=len(ranks) if ranks else 2
        )
        take(conn, item)
        order: list[int] = task["permutation"]
        body: dict[str, Any] = {"outcome": outcome.get("outcome")}
        if ranks:
            body = {"ranks": [ranks[index] for index in order]}
        elif "best" in outcome:
            body = {"outcome": SLOTS[order.index(outcome["best"])]}
        submit_in(conn, own_row(conn, task["id"], rater), body, new_id())
