"""Label Studio's JSON export: ``data`` of a task and what each annotator made of it.

Of each annotation that was not cancelled, a ``pairwise`` or ``ranker`` result is a verdict; so are
``choices`` that name one of two responses, or a tie. ``textarea`` beside no response in the data is
a demonstration, and beside a verdict a comment, for which accord's nouns have no place.
Predictions are a model's and are left out.
"""

from __future__ import annotations

from typing import Any

from accord.data.notes import Row, identifier, prompt_of
from accord.data.platforms import compared, find_prompt, find_responses, outcome, ranked
from accord.data.report import RowError
from accord.data.turns import kind, text
from accord.types import Choice, Demonstration, Record

VERDICTS = ("pairwise", "ranker", "choices")
SIDES: dict[object, Choice] = {"left": "a", "right": "b", "none": "tie", None: "tie"}


def parse_label_studio(row: Row) -> list[Record]:
    """The verdicts and demonstrations of one task, one an annotator.

    Raises:
        RowError: no verdict, ambiguous verdict, missing field, wrong type, identical pair.
    """
    data = row.get("data")
    if type(data) is not dict:
        raise RowError("wrong type", f"'data' is {kind(data)}, not an object")
    annotations = row.get("annotations")
    if type(annotations) is not list:
        raise RowError("wrong type", f"'annotations' is {kind(annotations)}, not a list")
    records: list[Record] = []
    for index, annotation in enumerate(annotations):
        field = f"annotations[{index}]"
        if type(annotation) is not dict or type(annotation.get("result")) is not list:
            raise RowError("wrong type", f"{field!r} is not an annotation with a result")
        if annotation.get("was_cancelled") is not True:
            records.append(_record(row, data, annotation, field))
    if not records:
        raise RowError("no verdict", "nobody has annotated this task")
    return records


def _record(row: Row, data: Row, annotation: Row, field: str) -> Record:
    results: dict[str, list[Row]] = {}
    for result in annotation["result"]:
        if type(result) is not dict or type(result.get("value")) is not dict:
            raise RowError("wrong type", f"a result of {field!r} is not an object with a value")
        results.setdefault(str(result.get("type")), []).append(result)
    rater, own_id = _rater(annotation), identifier(annotation)
    if "ranker" in results:
        return _ranking(row, data, _only(results["ranker"], field)["value"], rater, own_id)
    responses = find_responses(row, data)
    prompt = prompt_of(row, find_prompt(row, data, responses))
    choice = _choice(results, list(responses), field)
    if choice is not None:
        return compared(prompt, responses, choice, rater, own_id)
    if "textarea" in results and len(responses) < 2:
        value = _only(results["textarea"], field)["value"]
        words = value.get("text")
        written = "\n".join(words) if type(words) is list else words
        return Demonstration(prompt, text(written, f"{field}.text"), own_id)
    found = ", ".join(results) or "nothing"
    raise RowError("no verdict", f"{field!r} holds {found}; read are {', '.join(VERDICTS)}")


def _choice(results: dict[str, list[Row]], names: list[str], field: str) -> Choice | None:
    if "pairwise" in results:
        if len(names) != 2:
            raise RowError(
                "missing field",
                f"two responses in 'data' for a pairwise result (found: {', '.join(names) or 'no'};"
                " name them with columns: response_a, response_b)",
            )
        said = _only(results["pairwise"], field)["value"].get("selected")
        if said not in SIDES:
            raise RowError("out of range", f"'selected' of {field!r} is {said!r}")
        return SIDES[said]
    if "choices" not in results or len(names) != 2:
        return None
    meant: list[Choice] = []
    for result in results["choices"]:
        words = result["value"].get("choices")
        if type(words) is list and len(words) == 1 and (side := outcome(words[0], names)):
            meant.append(side)
    if len(meant) > 1:
        raise RowError("ambiguous verdict", f"{len(meant)} choices of {field!r} name a response")
    return meant[0] if meant else None


def _ranking(row: Row, data: Row, value: Row, rater: str, own_id: str) -> Record:
    """Ids in order of preference. Buckets are groups, not an order, and are refused."""
    order = value.get("ranker")
    if type(order) is dict:
        lists = [ids for ids in order.values() if ids]
        if len(lists) != 1:
            raise RowError(
                "no verdict", f"a ranker with buckets ({', '.join(order)}) does not order its items"
            )
        order = lists[0]
    if type(order) is not list:
        raise RowError("wrong type", f"'ranker' is {kind(order)}, not a list of ids")
    name, items = _items(row, data)
    texts = {str(item.get("id")): _words(item) for item in items}
    missing = [str(one) for one in order if str(one) not in texts]
    if missing or len(order) < len(items):
        raise RowError("no verdict", f"the ranker's ids and those of {name!r} differ")
    prompt = prompt_of(row, find_prompt(row, data, [name]))
    ranks = tuple(range(len(order)))
    return ranked(prompt, [texts[str(one)] for one in order], ranks, rater, own_id)


def _items(row: Row, data: Row) -> tuple[str, list[Any]]:
    places = {"responses": row["responses"]} if row.get("responses") is not None else data
    for name, value in places.items():
        if (
            type(value) is list
            and value
            and all(type(item) is dict and "id" in item for item in value)
        ):
            return name, value
    raise RowError("missing field", "a list of items with ids in 'data' for a ranker result")


def _words(item: Row) -> str:
    for name in ("body", "text", "html", "title"):
        if item.get(name):
            return text(item[name], f"items.{name}")
    raise RowError("empty field", f"'items' {item.get('id')!r} has no body, text or title")


def _only(results: list[Row], field: str) -> Row:
    if len(results) > 1:
        names = ", ".join(str(result.get("from_name")) for result in results)
        raise RowError("ambiguous verdict", f"{field!r} answers several questions: {names}")
    return results[0]


def _rater(annotation: Row) -> str:
    """The annotator's number; never the name or the e-mail address that some exports hold."""
    by = annotation.get("completed_by")
    if type(by) is dict:
        by = by.get("id")
    return "" if by is None else str(by)
