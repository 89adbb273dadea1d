"""Argilla records as its exports write them: what each person answered to each question.

Read are ``dataset.records.to_json`` (2.x: ``responses`` by question), the hub data sets of
``to_datasets`` (flat columns ``question.responses``), and the feedback data sets of 1.x (a list of
people's ``values``). Suggestions are a model's, and drafts and discarded answers are nobody's word:
both are left out.

A ranking, one rating a response, or a label that names a response are verdicts, in this order of
preference; a written answer without any of them is a demonstration.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

from accord.data.notes import Row, dense, identifier, prompt_of
from accord.data.platforms import (
    compared,
    find_prompt,
    find_responses,
    outcome,
    plain,
    ranked,
)
from accord.data.report import RowError
from accord.data.turns import answer, kind, text
from accord.types import Demonstration, Prompt, Record

Answers: TypeAlias = dict[str, dict[str, Any]]
"""Person -> question -> value."""

FLAT = ".responses"
OWN = ("id", "status", "_server_id", "inserted_at", "updated_at", "metadata", "vectors", "tags")
"""Columns of a flat record that are no fields."""


def is_argilla(row: Row) -> bool:
    """Whether a row is an Argilla record, nested or flat."""
    if type(row.get("fields")) is dict or type(row.get("fields")) is list:
        return "responses" in row or "suggestions" in row
    return any(name.endswith(FLAT) for name in row)


def parse_argilla(row: Row) -> list[Record]:
    """The verdicts and demonstrations in one record, one a person.

    Raises:
        RowError: no verdict, ambiguous verdict, missing field, wrong type, out of range, identical
            pair.
    """
    fields = _fields(row)
    answers = _answers(row)
    if not answers:
        raise RowError("no verdict", "nobody has submitted an answer to this record")
    own_id = identifier(row)
    records: list[Record] = []
    for number, (rater, values) in enumerate(sorted(answers.items())):
        name = own_id if not own_id or len(answers) == 1 else f"{own_id}:{number}"
        records.append(_record(row, fields, values, rater, name))
    return records


def _record(
    row: Row, fields: dict[str, Any], values: dict[str, Any], rater: str, own_id: str
) -> Record:
    responses = find_responses(row, fields)
    rankings = {name: order for name, value in values.items() if (order := _order(value))}
    if rankings:
        name = _only(rankings, "ranking")
        return _ranking(row, fields, responses, rankings[name], rater, own_id)
    prompt = prompt_of(row, find_prompt(row, fields, responses), "prompt_id")
    ratings = _ratings(values, responses)
    if len(ratings) >= 2:
        if len(ratings) < len(responses):
            raise RowError("no verdict", f"{len(ratings)} of {len(responses)} responses are rated")
        worst_first = [-ratings[name] for name in responses]
        return ranked(prompt, responses.values(), dense(worst_first), rater, own_id)
    if len(responses) == 2:
        names = list(responses)
        said = {q: c for q, v in values.items() if type(v) is str and (c := outcome(v, names))}
        if said:
            return compared(prompt, responses, said[_only(said, "label")], rater, own_id)
    return _demonstration(prompt, responses, values, own_id)


def _ranking(
    row: Row,
    fields: dict[str, Any],
    responses: dict[str, str],
    order: list[tuple[str, int]],
    rater: str,
    own_id: str,
) -> Record:
    """A ranking orders options; an option is a field, or stands for one by its name or place."""
    by_name = {plain(name): name for name in fields}
    texts: list[str] = []
    used: list[str] = []
    for option, _ in order:
        name = by_name.get(plain(option))
        if name is None and len(responses) == 2 and len(order) == 2:
            side = outcome(option, list(responses))
            name = list(responses)["ab".index(side)] if side in ("a", "b") else None
        if name is None:
            raise RowError("missing field", f"the ranking names {option!r}, which is no field")
        texts.append(responses[name] if name in responses else answer(fields[name], name))
        used.append(name)
    prompt = prompt_of(row, find_prompt(row, fields, used), "prompt_id")
    ranks = dense([rank for _, rank in order])
    if len(set(texts)) == 1 and len(set(ranks)) > 1:
        raise RowError("identical pair", "all responses are equal but their ranks differ")
    return ranked(prompt, texts, ranks, rater, own_id)


def _demonstration(
    prompt: Prompt, responses: dict[str, str], values: dict[str, Any], own_id: str
) -> Record:
    written = {name: value for name, value in values.items() if type(value) is str}
    if responses and len(responses) != 1:
        raise RowError(
            "no verdict",
            f"no answer says which of {', '.join(responses)} is better "
            f"(answered: {', '.join(values) or 'nothing'})",
        )
    if not written:
        raise RowError("no verdict", f"no ranking and no written answer in {', '.join(values)}")
    name = _only(written, "written answer")
    return Demonstration(prompt, text(written[name], name), own_id)


def _only(found: dict[str, Any], what: str) -> str:
    if len(found) > 1:
        raise RowError(
            "ambiguous verdict",
            f"{len(found)} questions have a {what}: {', '.join(found)}; "
            "export the one that counts, or delete the others' columns",
        )
    return next(iter(found))


def _order(value: object) -> list[tuple[str, int]]:
    """Options with ranks, best first; [] if the value is no ranking.

    A plain list is in order of preference; objects may say a rank (equal ranks are ties).
    """
    if type(value) is not list or len(value) < 2:
        return []
    if all(type(entry) is str for entry in value):
        return [(entry, rank) for rank, entry in enumerate(value)]
    if not all(type(entry) is dict and type(entry.get("value")) is str for entry in value):
        return []
    ranks = [entry.get("rank") for entry in value]
    if all(rank is None for rank in ranks):
        return [(entry["value"], place) for place, entry in enumerate(value)]
    if not all(type(rank) is int for rank in ranks):
        raise RowError("wrong type", "a 'rank' of a ranking is not a whole number")
    return sorted(((e["value"], e["rank"]) for e in value), key=lambda pair: pair[1])


def _ratings(values: dict[str, Any], responses: dict[str, str]) -> dict[str, int]:
    """Response field -> its rating, where a rating question's name holds the field's name."""
    found: dict[str, int] = {}
    for question, value in values.items():
        if type(value) is not int:
            continue
        for name in responses:
            if plain(name) in plain(question):
                if name in found:
                    raise RowError("ambiguous verdict", f"several questions rate {name!r}")
                found[name] = value
    return found


def _fields(row: Row) -> dict[str, Any]:
    fields = row.get("fields")
    if type(fields) is dict:
        return fields
    if type(fields) is list:
        raise RowError("wrong type", "'fields' is a list; export the records, not the settings")
    return {
        name: value
        for name, value in row.items()
        if "." not in name and name not in OWN and type(value) in (str, list)
    }


def _answers(row: Row) -> Answers:
    """What each person submitted, whichever way the export writes it."""
    answers: Answers = defaultdict(dict)
    responses = row.get("responses")
    if type(responses) is list:
        for person in responses:
            if type(person) is not dict or type(person.get("values")) is not dict:
                raise RowError("wrong type", "an entry of 'responses' is not a person's values")
            if _counts(person):
                for question, value in person["values"].items():
                    said = value.get("value") if type(value) is dict else value
                    answers[_person(person)][question] = said
        return dict(answers)
    if type(responses) is not dict and responses is not None:
        raise RowError("wrong type", f"'responses' is {kind(responses)}, not an object")
    for question, entries in (responses or _flat(row)).items():
        if type(entries) is not list:
            raise RowError("wrong type", f"'responses.{question}' is {kind(entries)}, not a list")
        for entry in entries:
            if type(entry) is not dict:
                raise RowError("wrong type", f"'responses.{question}' holds {kind(entry)}")
            if _counts(entry):
                answers[_person(entry)][question] = entry.get("value")
    return dict(answers)


def _flat(row: Row) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for name, values in row.items():
        if not name.endswith(FLAT) or values is None:
            continue
        people = row.get(f"{name}.users") or [None] * len(values)
        states = row.get(f"{name}.status") or [None] * len(values)
        if not len(values) == len(people) == len(states):
            raise RowError("wrong type", f"{name!r}, its users and its status differ in length")
        found[name.removesuffix(FLAT)] = [
            {"value": value, "user_id": person, "status": state}
            for value, person, state in zip(values, people, states, strict=True)
        ]
    return found


def _counts(entry: Row) -> bool:
    return entry.get("status") in (None, "submitted") and (entry.get("value", 0) is not None)


def _person(entry: Row) -> str:
    return str(entry.get("user_id") or "")
