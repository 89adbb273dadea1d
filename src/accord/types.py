"""The nouns of accord: frozen, typed, without torch.

Every record on disk is one of these nouns as a JSON object (``to_dict`` / ``from_dict``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]
Choice: TypeAlias = Literal["a", "b", "tie", "both_bad"]
State: TypeAlias = Literal["PASS", "WARN", "FAIL", "INCONCLUSIVE", "NOT_APPLICABLE", "ERROR"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that ends where the model must speak.

    A plain-text prompt is one user message; how it becomes tokens is the chat format's business.
    """

    id: str
    messages: tuple[Message, ...]
    tags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The last user message: what a table or a rater's screen shows."""
        return self.messages[-1].content if self.messages else ""


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's text for one prompt.

    ``model`` names who wrote it (an artifact's content hash, or "human"); ``finished`` is True when
    the text ended with an end-of-sequence token rather than at the length limit.
    """

    text: str
    model: str = ""
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with the answer a person wrote (Ouyang et al. 2022, section 3.2)."""

    prompt: Prompt
    completion: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and the K candidates drawn for it."""

    prompt: Prompt
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A rater's verdict on two completions of one prompt.

    ``strength`` in [0, 1] says how sure the rater was (None: not asked); ``margin`` is an explicit
    reward margin that came with the data (Llama 2, section 3.2.2). ``weight`` >= 0 is how much the
    verdict counts beside others (None: 1). ``soft_label`` in [0, 1] is the probability that ``a``
    is better, as several raters' verdicts give it (None: what ``choice`` and ``strength`` say).
    """

    prompt: Prompt
    a: Completion
    b: Completion
    choice: Choice
    strength: float | None = None
    margin: float | None = None
    rater: str = ""
    guideline: str = ""
    id: str = ""
    weight: float | None = None
    soft_label: float | None = None

    def swap(self) -> Comparison:
        """The same verdict with the two sides exchanged."""
        swapped: dict[Choice, Choice] = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad"}
        soft = None if self.soft_label is None else 1 - self.soft_label
        return replace(self, a=self.b, b=self.a, choice=swapped[self.choice], soft_label=soft)


@dataclass(frozen=True, slots=True)
class Ranking:
    """A rater's ranking of K >= 2 completions of one prompt.

    ``ranks[i]`` belongs to ``completions[i]``; 0 is best and equal ranks are ties. ``weight`` >= 0
    is how much the ranking counts beside others (None: 1); its pairs carry it.
    """

    prompt: Prompt
    completions: tuple[Completion, ...]
    ranks: tuple[int, ...]
    strength: float | None = None
    rater: str = ""
    guideline: str = ""
    id: str = ""
    weight: float | None = None

    def pairs(self) -> list[Comparison]:
        """All C(K, 2) comparisons the ranking implies (Ouyang et al. 2022, section 3.5)."""
        comparisons: list[Comparison] = []
        for i, j in combinations(range(len(self.completions)), 2):
            choice: Choice = (
                "a"
                if self.ranks[i] < self.ranks[j]
                else "b"
                if self.ranks[i] > self.ranks[j]
                else "tie"
            )
            comparisons.append(
                Comparison(
                    prompt=self.prompt,
                    a=self.completions[i],
                    b=self.completions[j],
                    choice=choice,
                    strength=self.strength,
                    rater=self.rater,
                    guideline=self.guideline,
                    id=f"{self.id}:{i}-{j}",
                    weight=self.weight,
                )
            )
        return comparisons


@dataclass(frozen=True, slots=True)
class Label:
    """An unpaired verdict: this completion is good, or it is not (Ethayarajh et al. 2024)."""

    prompt: Prompt
    completion: Completion
    good: bool
    rater: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a gauge says: a value, its interval and a verdict with the sample size behind it."""

    gauge: str
    value: float
    interval: tuple[float, float] | None
    state: State
    num_samples: int
    detail: str = ""


Record: TypeAlias = Prompt | Demonstration | Sample | Comparison | Ranking | Label | Reading


def to_dict(record: Record) -> dict[str, Any]:
    """A JSON-ready dictionary with a ``type`` key; the inverse of :func:`from_dict`.

    JSON has no NaN: a reading without a value has ``null`` there. A weight or a soft label that
    nobody gave is left out.
    """
    row = {"type": type(record).__name__.lower(), **asdict(record)}
    for name in ("weight", "soft_label"):
        if name in row and row[name] is None:
            del row[name]
    if isinstance(record, Reading) and math.isnan(record.value):
        row["value"] = None
    return row


def from_dict(row: Mapping[str, Any]) -> Record:
    """Build the noun named by ``row["type"]``.

    Raises:
        KeyError: the type is unknown or not given, or a prompt or reading lacks a field.
        TypeError: a field that the noun does not have, or lacks.
    """
    fields = {key: value for key, value in row.items() if key != "type"}
    if "prompt" in fields:
        fields["prompt"] = _prompt(fields["prompt"])
    for key in ("a", "b", "completion"):
        if isinstance(fields.get(key), Mapping):
            fields[key] = Completion(**fields[key])
    if "completions" in fields:
        fields["completions"] = tuple(Completion(**c) for c in fields["completions"])
    if "ranks" in fields:
        fields["ranks"] = tuple(fields["ranks"])
    match row["type"]:
        case "prompt":
            return _prompt(fields)
        case "demonstration":
            return Demonstration(**fields)
        case "sample":
            return Sample(**fields)
        case "comparison":
            return Comparison(**fields)
        case "ranking":
            return Ranking(**fields)
        case "label":
            return Label(**fields)
        case "reading":
            interval: Sequence[float] | None = fields["interval"]
            fields["value"] = math.nan if fields["value"] is None else fields["value"]
            fields["interval"] = None if interval is None else (interval[0], interval[1])
            return Reading(**fields)
        case unknown:
            raise KeyError(f"unknown record type {unknown!r}")


def _prompt(row: Mapping[str, Any]) -> Prompt:
    fields = {key: value for key, value in row.items() if key != "type"}
    fields["messages"] = tuple(Message(**message) for message in row["messages"])
    fields["tags"] = tuple(row.get("tags", ()))
    return Prompt(**fields)
