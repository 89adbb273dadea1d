"""What a rater is asked, and the judgment they give: task schemas, round settings and bodies.

A body is a judgment as the rater saw it, by slot (``a``, ``b``, ...). The same judgment by
canonical index is a :data:`Verdict`; :func:`verdict` maps one to the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from accord.config.fields import Count, Name, Section, require
from accord.errors import DataError
from accord.store.settings import RoundSettings as RoundSettings

SLOTS = "abcdefghi"
"""Names of the places on the screen, first to last; at most nine responses are shown."""

Task: TypeAlias = Literal["compare", "rank", "chat", "demonstrate"]
Purpose: TypeAlias = Literal["train", "head_to_head"]
Outcome: TypeAlias = Literal["a", "b", "tie", "both_bad", "cannot_compare"]
Verdict: TypeAlias = dict[str, Any]
"""A judgment by canonical index. Pair: ``outcome`` is ``best`` (with ``best``, an index, and
``strength``, a step or None), ``tie``, ``both_bad`` or ``cannot_compare``. Ranking: ``ranks``, 0
best. Demonstration: ``completion``. Labels, where asked, are in ``labels``, by index as text, and
what was asked of the pair in ``attributes``: an index, or "equal"."""


class Label(Section):
    """One question about each response by itself."""

    name: Name
    """Key under which the answers are stored and exported."""

    text: Name
    """What the rater reads."""

    kind: Literal["flag", "likert"] = "flag"
    """`flag`: yes or no, no unless said. `likert`: a step from 1 to `steps`, always asked."""

    low: str = ""
    """What step 1 means, in the rater's words; only used with `kind: likert`."""

    high: str = ""
    """What the last step means; only used with `kind: likert`."""

    steps: int = Field(default=7, ge=2, le=11)
    """Number of steps of a likert scale. 7 as in InstructGPT."""


class PairLabel(Section):
    """One question about the two responses of a pair together: which has more of something."""

    name: Name
    """Key under which the answers are stored; a freeze may take it as the verdict."""

    text: Name
    """What the rater reads, such as "Which is more honest?"."""

    required: bool = False
    """Whether it must be answered before the judgment is sent."""


class TaskSchema(Section):
    """What one round asks of each item."""

    name: Name = "hh"
    """Name of the schema; kept with every export."""

    question: Name = "Which response is better?"
    """The question above the responses."""

    strength_steps: int = Field(default=4, ge=0, le=4)
    """Steps per side that say how much better, from 1 (slightly) up. 0: only which is better."""

    allow_tie: bool = True
    """Whether two responses may be called equally good."""

    allow_both_bad: bool = True
    """Whether both may be called too bad to choose; kept, and no pair to train on."""

    allow_cannot_compare: bool = True
    """Whether the rater may say that they cannot tell; kept as an event and never exported."""

    reasons: tuple[Name, ...] = ()
    """Short reasons that a rater may tick."""

    comment: Literal["off", "optional", "required"] = "optional"
    """Whether the rater may, or must, say why in their own words."""

    comment_at_strength: int | None = Field(default=None, ge=1, le=4)
    """Strength step from which a comment is required. None: at no strength."""

    response_labels: tuple[Label, ...] = ()
    """Questions about each response by itself (Ouyang et al. 2022, Table 3)."""

    pair_labels: tuple[PairLabel, ...] = ()
    """Questions about a pair beside the verdict, each answered A, B or equal (Askell et al. 2021
    keep helpful, honest and harmless apart). Only to compare."""

    chat_mode: Literal["helpful", "harmless", "honest", "red_team"] | None = None
    """Chat rounds: what the rater tries to get from the model (Bai et al. 2022, section 2.1)."""

    continue_with: Literal["chosen", "random", "best"] = "chosen"
    """Chat rounds: which of the two answers the conversation goes on with. Red teams that always
    go on with the worse answer only learn about bad conversations (Bai et al. 2022, 2.2)."""

    max_turns: Count = 8
    """Chat rounds: messages that a rater may write in one conversation."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [label.name for label in self.response_labels]
        names += [label.name for label in self.pair_labels]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, f"label names must differ: {', '.join(twice)}", "response_labels")
        step = self.comment_at_strength
        require(
            step is None or step <= self.strength_steps,
            f"comment_at_strength ({step}) is above strength_steps ({self.strength_steps}): "
            "no judgment reaches it",
            "comment_at_strength",
            "strength_steps",
        )
        require(
            step is None or self.comment != "off",
            "comment_at_strength needs comment: optional",
            "comment_at_strength",
            "comment",
        )
        return self


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    active_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 0
    """Milliseconds that the rater was active on the task."""

    num_keys: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Keys and clicks that it took."""


Text: TypeAlias = Annotated[str, Field(max_length=20_000)]
Moment: TypeAlias = Annotated[float, Field(ge=0, le=1e11)]
Labels: TypeAlias = dict[str, dict[str, bool | int]]
"""Slot -> label -> value."""
Sides: TypeAlias = dict[str, Literal["a", "b", "equal"]]
"""Pair label -> the slot that has more of it."""


class CompareBody(_Body):
    """A choice between two responses."""

    outcome: Outcome
    strength: int | None = None
    reasons: list[str] = Field(default_factory=list, max_length=50)
    comment: Text = ""
    labels: Labels = Field(default_factory=dict)
    sides: Sides = Field(default_factory=dict)


class Edit(BaseModel):
    """A response that the rater made better; edited > original (Bai et al. 2022, D.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slot: Literal["a", "b"]
    text: Annotated[str, Field(min_length=1, max_length=100_000)]


class ChatTurnBody(CompareBody):
    """A choice between two answers of a conversation, with an edit of one of them or none."""

    edited: Edit | None = None


class RankBody(_Body):
    """A ranking: ``ranks`` by slot, 0 is best, equal numbers are ties."""

    ranks: list[int] = Field(min_length=2, max_length=len(SLOTS))
    labels: Labels = Field(default_factory=dict)
    reasons: list[str] = Field(default_factory=list, max_length=50)
    comment: Text = ""


class DemonstrationBody(_Body):
    """An answer that the rater wrote."""

    completion: Annotated[str, Field(min_length=1, max_length=100_000)]
    draft_used: bool = False


Body: TypeAlias = CompareBody | ChatTurnBody | RankBody | DemonstrationBody


class Presentation(BaseModel):
    """When a rater's screen showed what they judged, by its own clock (UTC seconds), and on what.

    Kept with the judgment in the log, and told to no rater.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    shown_at: Moment | None = None
    """When the first of the responses could be seen."""

    both_complete_at: Moment | None = None
    """When all of them could be read to their end."""

    first_key_at: Moment | None = None
    """The first key or click after they were shown."""

    device: Literal["desktop", "tablet", "phone"] | None = None
    """Its class, by pointer and width."""

    ui_version: Annotated[str, Field(max_length=40)] | None = None
    """Version of the workspace."""


BODIES: dict[Task, type[Body]] = {
    "compare": CompareBody,
    "rank": RankBody,
    "chat": ChatTurnBody,
    "demonstrate": DemonstrationBody,
}


def parse_body(task: Task, schema: TaskSchema, num_responses: int, body: Mapping[str, Any]) -> Body:
    """A judgment as it came from a rater, checked against what the round asks.

    Raises:
        DataError: a field is unknown, missing, or not what the schema asks for.
    """
    try:
        parsed = BODIES[task].model_validate(body)
    except ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in e['loc']) or 'body'}: {e['msg'].lower()}"
            for e in error.errors(include_url=False, include_input=False)
        )
        raise DataError("this judgment cannot be read: " + "; ".join(problems)) from error
    if isinstance(parsed, DemonstrationBody):
        _refuse(not parsed.completion.strip(), "the answer is empty; write one, or skip the task")
        return parsed
    if isinstance(parsed, RankBody):
        parsed = _dense(schema, num_responses, parsed)
    else:
        _check_outcome(schema, parsed)
        _check_sides(schema, parsed)
    unknown = sorted(set(parsed.reasons) - set(schema.reasons))
    _refuse(bool(unknown), f"unknown reasons {unknown}; this round has {list(schema.reasons)}")
    _check_comment(schema, parsed)
    _check_labels(schema, num_responses, parsed)
    return parsed


def verdict(body: Body, permutation: Sequence[int]) -> Verdict:
    """The same judgment by canonical index.

    Args:
        body: the judgment by slot.
        permutation: slot s showed completion ``permutation[s]``.
    """
    if isinstance(body, DemonstrationBody):
        return {"completion": body.completion, "draft_used": body.draft_used}
    found: Verdict = {"reasons": list(body.reasons), "comment": body.comment}
    if body.labels:
        by_index = sorted((permutation[SLOTS.index(s)], row) for s, row in body.labels.items())
        found["labels"] = {str(index): row for index, row in by_index}
    if isinstance(body, CompareBody) and body.sides:
        found["attributes"] = {
            name: "equal" if side == "equal" else permutation[SLOTS.index(side)]
            for name, side in sorted(body.sides.items())
        }
    if isinstance(body, RankBody):
        ranks = [0] * len(permutation)
        for slot, rank in enumerate(body.ranks):
            ranks[permutation[slot]] = rank
        return {"ranks": ranks, **found}
    if isinstance(body, ChatTurnBody) and body.edited is not None:
        index = permutation[SLOTS.index(body.edited.slot)]
        found["edited"] = {"index": index, "text": body.edited.text}
    if body.outcome in ("a", "b"):
        best = permutation[SLOTS.index(body.outcome)]
        return {"outcome": "best", "best": best, "strength": body.strength, **found}
    return {"outcome": body.outcome, **found}


def is_right(answer: Mapping[str, Any], outcome: Verdict) -> bool:
    """Whether a judgment by canonical index is what a gold or training item expects.

    A ranking is right if it has the expected best response in first place, or no pair of responses
    in the other order than the expected ranking.
    """
    if "ranks" in answer:
        expected, given = answer["ranks"], outcome.get("ranks", [])
        size = range(len(expected))
        return len(given) == len(expected) and not any(
            expected[i] < expected[j] and given[i] >= given[j] for i in size for j in size
        )
    if "best" in answer and "ranks" in outcome:
        return bool(outcome["ranks"][answer["best"]] == 0)
    if "best" in answer:
        return outcome.get("outcome") == "best" and outcome["best"] == answer["best"]
    return bool(outcome.get("outcome") == answer["outcome"])


def _refuse(condition: bool, message: str) -> None:
    if condition:
        raise DataError(message)


def _check_outcome(schema: TaskSchema, body: CompareBody) -> None:
    allowed = {
        "tie": schema.allow_tie,
        "both_bad": schema.allow_both_bad,
        "cannot_compare": schema.allow_cannot_compare,
    }
    _refuse(not allowed.get(body.outcome, True), f"this round does not allow {body.outcome!r}")
    asked = schema.strength_steps if body.outcome in ("a", "b") else 0
    if asked:
        fits = body.strength is not None and 1 <= body.strength <= asked
        _refuse(not fits, f"say how much better: a strength of 1 to {asked}, not {body.strength}")
    else:
        _refuse(body.strength is not None, f"no strength is asked with {body.outcome!r}; leave it")


def _dense(schema: TaskSchema, num_responses: int, body: RankBody) -> RankBody:
    ranks = body.ranks
    _refuse(len(ranks) != num_responses, f"{num_responses} responses need {num_responses} ranks")
    _refuse(min(ranks) < 0, f"ranks start at 0, the best; found {min(ranks)}")
    places = {rank: place for place, rank in enumerate(sorted(set(ranks)))}
    tied = len(places) < num_responses and not schema.allow_tie
    _refuse(tied, "this round allows no ties: give each response its own place")
    return body.model_copy(update={"ranks": [places[rank] for rank in ranks]})


def _check_comment(schema: TaskSchema, body: CompareBody | RankBody) -> None:
    _refuse(schema.comment == "off" and bool(body.comment), "this round takes no comments")
    strength = body.strength if isinstance(body, CompareBody) else None
    at = schema.comment_at_strength
    strong = at is not None and strength is not None and strength >= at
    wanted = schema.comment == "required" or strong
    _refuse(wanted and not body.comment.strip(), "say in a few words why; this needs a comment")


def _check_labels(schema: TaskSchema, num_responses: int, body: CompareBody | RankBody) -> None:
    slots = SLOTS[:num_responses]
    known = {label.name: label for label in schema.response_labels}
    for slot, row in body.labels.items():
        _refuse(len(slot) != 1 or slot not in slots, f"labels: no response {slot!r}")
        for name, value in row.items():
            _refuse(name not in known, f"labels: unknown label {name!r}; known: {list(known)}")
            label = known[name]
            if label.kind == "flag":
                _refuse(not isinstance(value, bool), f"labels: {name!r} is yes or no: true, false")
            else:
                fits = not isinstance(value, bool) and 1 <= value <= label.steps
                _refuse(not fits, f"labels: {name!r} is a step from 1 to {label.steps}")
    if isinstance(body, CompareBody) and body.outcome == "cannot_compare":
        return
    for label in (label for label in known.values() if label.kind == "likert"):
        missing = [slot for slot in slots if label.name not in body.labels.get(slot, {})]
        _refuse(bool(missing), f"answer {label.name!r} for each response; missing: {missing}")


def _check_sides(schema: TaskSchema, body: CompareBody) -> None:
    known = [label.name for label in schema.pair_labels]
    unknown = sorted(set(body.sides) - set(known))
    _refuse(bool(unknown), f"sides: unknown labels {unknown}; this round has {known}")
    wanted = [label.name for label in schema.pair_labels if label.required]
    missing = [name for name in wanted if name not in body.sides]
    asked = body.outcome != "cannot_compare"
    _refuse(asked and bool(missing), f"sides: answer {', '.join(missing)} with a, b or equal")
