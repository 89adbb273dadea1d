"""Freeze a closed round: its judgments become an immutable, hashed artifact that training reads.

The artifact holds ``records.jsonl`` (comparisons, rankings or demonstrations), ``judgments.jsonl``
(every judgment that stands, with what the rater ticked and wrote, and why it was left out if it
was), ``snapshot.json`` (the ids of the log's events behind it, and their hash) and a data card.
Freezing the same round in the same way again gives the same hash.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord import artifacts
from accord.artifacts import Artifact
from accord.errors import DataError
from accord.feedback.agreement import agreement_report
from accord.feedback.quality import QualityReport, rater_weights, review, soft_labels
from accord.feedback.simulate import count_agreement
from accord.feedback.votes import FIRST, SECOND, TIE, Votes, encode, log_words
from accord.store import events, schema
from accord.store.columns import new_id, now
from accord.store.data_card import CARD, data_card
from accord.store.database import Store, StoreError
from accord.store.judged import Gathered, gather, line, snapshot
from accord.store.labels import (
    Aggregate,
    Labelled,
    Said,
    Terms,
    by_adjudicator,
    by_attribute,
    edits,
    left_out,
    pairs,
    single,
    together,
)
from accord.store.records import Round, round_row
from accord.types import Comparison, Demonstration, Prompt

Weights: TypeAlias = Literal["none", "quality"]
FEATURES = {"length": log_words, "agreement phrases": lambda c: float(count_agreement(c.text))}
"""What may sway raters beside the answer's worth, for their report."""
JUDGMENTS = "judgments.jsonl"
SNAPSHOT = "snapshot.json"


def freeze_round(
    store: Store,
    round_id: str,
    out: str | Path,
    *,
    actor: str = "system",
    weights: Weights = "none",
    aggregate: Aggregate = "none",
    attribute: str | None = None,
) -> Artifact:
    """Write a closed round's labels to ``out`` and close it for good.

    A frozen round may be frozen again, to another folder or in another way. Checks (gold,
    attention, training and anchor items) and what could not be compared become no labels; how many
    and why is in the manifest.

    Args:
        store: where the round is.
        round_id: the round; closed, or frozen before.
        out: folder of the new artifact.
        actor: account in whose name it is done.
        weights: ``quality`` gives each verdict its rater's weight, estimated from this round
            (:func:`accord.feedback.quality.review`); nobody's verdicts are removed.
        aggregate: ``none`` keeps each verdict; ``majority`` and ``soft`` put the verdicts on an
            item together (:func:`accord.store.labels.together`). With weights, soft labels are the
            rater model's posterior, without the share of raters.
        attribute: one of the schema's ``pair_labels``, whose answers become the labels in place of
            the verdicts; None: the verdicts.

    Returns:
        An artifact of kind "comparisons", or "demonstrations" for a round of that task.

    Raises:
        DataError: no such round or attribute, or nothing in it that could be a label.
        StoreError: the round is a draft or still open.
        ArtifactError: ``out`` holds something else.
    """
    with store.read() as conn:
        gathered = gather(conn, round_id)
    _require_closed(gathered.found)
    _check_attribute(gathered.found, attribute)
    _labels(gathered, weights, aggregate, attribute)  # what cannot be frozen stays closed
    if gathered.found.state != "frozen":
        store.write(lambda conn: _close_for_good(conn, round_id, actor))
        with store.read() as conn:
            gathered = gather(conn, round_id)  # with what came in until the round was closed
    made = _write(gathered, Path(out), weights, aggregate, attribute)
    store.write(lambda conn: _record(conn, gathered, made, actor))
    return made


def _check_attribute(found: Round, attribute: str | None) -> None:
    known = [label.name for label in found.schema.pair_labels]
    if attribute is not None and attribute not in known:
        raise DataError(
            f"round {found.name!r} asks nothing called {attribute!r} about its pairs; "
            + (f"it asks {', '.join(known)}" if known else "its schema has no pair_labels")
        )


def _require_closed(found: Round) -> None:
    if found.state not in ("closed", "frozen"):
        raise StoreError(
            f"round {found.name!r} is {found.state}; close it before you freeze it, so that nobody "
            "works on what is already handed on"
        )


def _close_for_good(conn: Connection, round_id: str, actor: str) -> None:
    table = schema.rounds
    conn.execute(sa.select(table.c.id).where(table.c.id == round_id).with_for_update())
    found = round_row(conn, round_id)
    if found.state == "frozen":
        return
    _require_closed(found)
    change = table.update().where(table.c.id == round_id)
    conn.execute(change.values(state="frozen", frozen_at=now()))
    events.append(conn, found.project_id, "round_frozen", actor, {"round": round_id})


@dataclass(frozen=True, slots=True)
class _Made:
    records: list[Labelled]
    why_not: Counter[str]
    votes: Votes | None
    report: QualityReport | None


def _labels(
    gathered: Gathered, weights: Weights, aggregate: Aggregate, attribute: str | None
) -> _Made:
    """The records of a round, and what was left out.

    Raises:
        DataError: nothing could be a label.
    """
    steps = gathered.found.schema.strength_steps
    if attribute is not None:  # adjudicators settle verdicts, which this is none of
        answers = [by_attribute(said, attribute) for said in gathered.said]
        gathered = replace(gathered, said=answers, settled={})
    why_not = Counter(why for said in gathered.said if (why := left_out(said)))
    kept = [said for said in gathered.said if not left_out(said)]
    votes, keys = _votes(gathered.said, steps)
    report = None
    terms = Terms(steps, {}, {})
    if weights == "quality" and votes is not None:
        report = review(votes, answers=_answers(votes, gathered.said), durations=_seconds(keys))
        soft = soft_labels(votes, report.model).tolist()
        by_pair = {(said.item, i, j): p for (said, i, j), p in zip(keys, soft, strict=True)}
        terms = Terms(steps, rater_weights(report), by_pair)
    records: list[Labelled] = []
    if aggregate == "none":
        records = [label for said in kept for label in single(said, terms)]
        with_task = {said.item for said in gathered.said if said.reason == "adjudication"}
        records += _words_beside(gathered, with_task, terms)
    else:
        outcomes = {item: outcome for item, (outcome, _) in gathered.settled.items()}
        records = list(together(kept, outcomes, aggregate, terms))
        records += _words_beside(gathered, {said.item for said in kept}, terms)
    for said in gathered.said:
        records += edits(said, terms)
    if not records:
        reasons = ", ".join(f"{why} {count}" for why, count in why_not.items())
        raise DataError(
            f"round {gathered.found.name!r} has no judgment that could be a label"
            + (f" ({reasons})" if reasons else "; let people work in it first")
        )
    return _Made(records, why_not, votes, report)


def _words_beside(gathered: Gathered, items: set[str], terms: Terms) -> list[Labelled]:
    """Adjudicators' outcomes on ordinary items other than ``items``, whose labels hold them."""
    first = {said.item: said for said in reversed(gathered.said) if said.role == "normal"}
    return [
        label
        for item, (outcome, rater) in gathered.settled.items()
        if item not in items and item in first
        for label in by_adjudicator(first[item], outcome, rater, terms)
    ]


def _votes(said: Sequence[Said], steps: int) -> tuple[Votes | None, list[tuple[Said, int, int]]]:
    """All verdicts on pairs as arrays, checks among them, and the pair behind each row."""
    rows: list[Comparison] = []
    first_on_a: list[bool] = []
    keys: list[tuple[Said, int, int]] = []
    for one in said:
        if one.role == "training":
            continue
        step = one.outcome.get("strength")
        for i, j, choice in pairs(one.outcome):
            rows.append(
                Comparison(
                    Prompt(one.item, one.prompt.messages),
                    one.completions[i],
                    one.completions[j],
                    choice,
                    step / steps if step and steps else None,
                    rater=one.rater,
                )
            )
            first_on_a.append(one.permutation.index(i) < one.permutation.index(j))
            keys.append((one, i, j))
    if not rows:
        return None, []
    return encode(rows, FEATURES, first_on_a), keys


def _answers(votes: Votes, said: Sequence[Said]) -> dict[int, int]:
    """Vote item -> what a gold or attention item of a pair expects."""
    known = {
        one.item: one.answer
        for one in said
        if one.role in ("gold", "attention") and one.answer and len(one.completions) == 2
    }
    expected: dict[int, int] = {}
    for index, (item, _, _) in enumerate(votes.items):
        answer = known.get(item)
        if answer is None:
            continue
        if "best" in answer:
            expected[index] = FIRST if answer["best"] == 0 else SECOND
        elif answer.get("outcome") == "tie":
            expected[index] = TIE
    return expected


def _seconds(keys: Sequence[tuple[Said, int, int]]) -> list[float]:
    return [said.active_ms / 1000 if said.active_ms else float("nan") for said, _, _ in keys]


def _write(
    gathered: Gathered, out: Path, weights: Weights, aggregate: Aggregate, attribute: str | None
) -> Artifact:
    found = gathered.found
    made = _labels(gathered, weights, aggregate, attribute)
    kind = "demonstrations" if found.task == "demonstrate" else "comparisons"
    taken = snapshot(gathered)
    config = {
        "studio": {
            "project": found.project_id,
            "round": found.id,
            "name": found.name,
            "task": found.task,
            "purpose": found.purpose,
            "schema": found.schema.model_dump(mode="json"),
            "guideline": found.guideline,
            "weights": weights,
            "aggregate": aggregate,
            "attribute": attribute,
            "snapshot": taken["sha256"],
        }
    }
    there = artifacts.current(out, kind, parents={}, config=config, seed=None)
    if there is not None:
        return there
    metrics = {
        "num_records": len(made.records),
        "num_judgments": len(gathered.said),
        "num_raters": len({said.rater for said in gathered.said}),
        "num_left_out": made.why_not.total(),
    }
    extra = _extra(gathered, made, taken)
    with artifacts.write(out, kind, config=config, metrics=metrics, extra=extra) as folder:
        artifacts.write_records(folder, made.records)
        with (folder / JUDGMENTS).open("wb") as file:
            file.writelines(line(said) for said in gathered.said)
        (folder / SNAPSHOT).write_text(json.dumps(taken) + "\n", encoding="utf-8")
        card = data_card(gathered, made.records, config["studio"], extra)
        (folder / CARD).write_text(card, encoding="utf-8")
    return artifacts.read(out)


def _extra(gathered: Gathered, made: _Made, taken: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest tells of the round beside its records; no names, only rater ids."""
    states = {"open": "not handed in", "expired": "given back unanswered", "skipped": "skipped"}
    excluded = dict(made.why_not)
    for state, count in gathered.unfinished.items():
        excluded[f"task {states.get(state, state)}"] = count
    same = sum(_unchanged(said) for said in gathered.said)
    if same:
        excluded["edit that changed nothing"] = same
    said = gathered.said
    demonstrations = [record for record in made.records if isinstance(record, Demonstration)]
    extra: dict[str, Any] = {
        "snapshot": taken["sha256"],
        "first_event": taken["events"][0],
        "last_event": taken["events"][-1],
        "excluded": excluded,
        "num_changed": sum(one.revision > 0 for one in said),
        "num_adjudicated": len(gathered.settled),
        "guideline": {
            "version": gathered.found.guideline,
            "sha256": hashlib.sha256(gathered.guideline.encode()).hexdigest(),
            "seen": sorted({one.guideline for one in said}),
        },
        "raters": _raters(said, made.report),
    }
    if demonstrations:
        extra["num_drafts_used"] = sum(bool(one.outcome.get("draft_used")) for one in said)
    if made.votes is not None:
        extra["agreement"] = {
            found.name: {
                "value": found.value,
                "interval": found.interval,
                "num_items": found.num_items,
                "reason": found.reason,
            }
            for found in agreement_report(made.votes).all()
        }
    return extra


def _raters(said: Sequence[Said], report: QualityReport | None) -> dict[str, Any]:
    counts = Counter(one.rater for one in said)
    rows: dict[str, Any] = {rater: {"num_judgments": n} for rater, n in sorted(counts.items())}
    for row in report.raters if report is not None else ():
        rows[row.rater] |= {
            "weight": row.weight,
            "reliability": row.reliability.value,
            "reliability_interval": row.reliability.interval,
            "flags": [flag.kind for flag in row.flags],
        }
    return rows


def _unchanged(said: Said) -> bool:
    edited = said.outcome.get("edited")
    return edited is not None and edited["text"] == said.completions[edited["index"]].text


def _record(conn: Connection, gathered: Gathered, made: Artifact, actor: str) -> None:
    """Note the artifact in the store, once for each place."""
    table, found, extra = schema.snapshots, gathered.found, made.manifest.extra
    place = str(made.path.resolve())
    where = sa.and_(table.c.round_id == found.id, table.c.path == place)
    if conn.scalar(sa.select(table.c.id).where(where, table.c.content_hash == made.hash)):
        return
    studio = made.manifest.config["studio"]
    settings = {name: studio[name] for name in ("weights", "aggregate", "attribute", "snapshot")}
    body = {"round": found.id, "hash": made.hash, **settings}
    events.append(conn, found.project_id, "snapshot", actor, body)
    conn.execute(
        table.insert().values(
            id=new_id(),
            round_id=found.id,
            path=place,
            content_hash=made.hash,
            first_event=extra["first_event"],
            last_event=extra["last_event"],
            settings=settings,
            created_by=actor,
        )
    )
