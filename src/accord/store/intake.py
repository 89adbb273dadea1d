"""Records into items: what a file or an earlier stage holds, as something that people can judge.

Items with a known answer are comparisons or rankings too: what their file prefers is the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from accord import data
from accord.errors import DataError
from accord.rng import uniform
from accord.store.records import ItemRole, NewItem
from accord.store.task import SLOTS, Task
from accord.types import Comparison, Completion, Demonstration, Prompt, Ranking, Record, Sample

ANSWERED: frozenset[ItemRole] = frozenset({"gold", "attention", "training"})
"""Roles of items whose right answer is known."""


def read_items(
    path: Path, task: Task, role: ItemRole = "normal", *, source: str = ""
) -> list[NewItem]:
    """Items from a file in any format that :func:`accord.data.read` knows.

    Args:
        path: jsonl, json, csv or parquet.
        task: what people will do with them.
        role: for gold, attention and training items the file's own verdicts are the answers.
        source: name kept with the items; the file's own unless given.

    Raises:
        DataError: unreadable rows, listed in a file beside this one, or rows of no use to the task.
    """
    records = data.read(path, bad_rows_path=path.with_name(f"{path.name}.bad-rows.txt")).records
    return new_items(records, task, role, source=source or path.name)


def new_items(
    records: Iterable[Record],
    task: Task,
    role: ItemRole = "normal",
    *,
    source: str = "",
    pairs_per_prompt: int = 0,
    seed: int = 0,
) -> list[NewItem]:
    """Items from records.

    Completions with the same text are one. To compare, K completions give their pairs; to rank,
    one item of at most nine; to write or to chat, the prompt alone.

    Args:
        records: prompts, demonstrations, samples, comparisons or rankings.
        task: what people will do with them.
        role: of every item.
        source: name kept with the items.
        pairs_per_prompt: pairs drawn from the completions of a sample; 0: all.
        seed: of that draw.

    Raises:
        DataError: a record that the task cannot use, or none that it can.
    """
    found: list[NewItem] = []
    for number, record in enumerate(records, start=1):
        if role in ANSWERED and not isinstance(record, Comparison | Ranking):
            raise DataError(
                f"record {number}: a {role} item needs its answer; bring comparisons or rankings"
            )
        if task in ("demonstrate", "chat"):
            if isinstance(record, Prompt | Demonstration | Sample | Comparison | Ranking):
                prompt = record if isinstance(record, Prompt) else record.prompt
                found.append(NewItem(prompt, role=role, source=source))
                continue
        elif isinstance(record, Comparison | Ranking | Sample):
            lists = _lists(record, task)
            if isinstance(record, Sample) and task == "compare" and pairs_per_prompt:
                lists = _some(lists, record.prompt.id, pairs_per_prompt, seed)
            for completions, answer in lists:
                known = answer if role in ANSWERED else None
                found.append(NewItem(record.prompt, completions, role, known, source=source))
            continue
        raise DataError(
            f"record {number}: a {type(record).__name__.lower()} gives nothing to {task}; bring "
            + ("prompts" if task in ("demonstrate", "chat") else "prompts with two completions")
        )
    if not found:
        why = "there are no records"
        if task in ("compare", "rank"):
            why = "no prompt has two different completions"
        raise DataError(f"nothing to {task}: {why}")
    return found


def _lists(
    record: Comparison | Ranking | Sample, task: Task
) -> list[tuple[tuple[Completion, ...], dict[str, Any] | None]]:
    """Each list of different completions to show together, with the answer that the record has."""
    if isinstance(record, Comparison):
        if record.a.text == record.b.text:
            return []
        answer: dict[str, Any] = {"outcome": record.choice}
        if record.choice in ("a", "b"):
            answer = {"best": 0 if record.choice == "a" else 1}
            if task == "rank":
                answer = {"ranks": [answer["best"], 1 - answer["best"]]}
        elif task == "rank":
            answer = {"ranks": [0, 0]}
        return [((record.a, record.b), answer)]
    if isinstance(record, Ranking) and task == "compare":
        return [part for pair in record.pairs() for part in _lists(pair, task)]
    ranks = record.ranks if isinstance(record, Ranking) else None
    kept = list(_different(record.completions))
    if len(kept) < 2:
        return []
    shown = [record.completions[i] for i in kept]
    if task == "compare":
        return [(pair, None) for pair in combinations(shown, 2)]
    if len(shown) > len(SLOTS):
        raise DataError(f"{len(shown)} completions of one prompt; people rank {len(SLOTS)} at most")
    if ranks is None:
        return [(tuple(shown), None)]
    places = sorted({ranks[i] for i in kept})
    return [(tuple(shown), {"ranks": [places.index(ranks[i]) for i in kept]})]


def _different(completions: Sequence[Completion]) -> Iterator[int]:
    """Places of the first completion of each text."""
    seen: set[str] = set()
    for place, completion in enumerate(completions):
        if completion.text not in seen:
            seen.add(completion.text)
            yield place


def _some(
    lists: list[tuple[tuple[Completion, ...], dict[str, Any] | None]],
    prompt_id: str,
    num: int,
    seed: int,
) -> list[tuple[tuple[Completion, ...], dict[str, Any] | None]]:
    """``num`` of the pairs, drawn by what they say, whatever their order."""

    def draw(part: tuple[tuple[Completion, ...], dict[str, Any] | None]) -> float:
        return float(uniform(seed, "pairs", prompt_id, *sorted(c.text for c in part[0])))

    return sorted(lists, key=draw)[:num]
