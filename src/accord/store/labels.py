"""Judgments as accord's records: one a verdict, or one an item where raters are put together.

An adjudicator's word counts for the item where verdicts are put together, and stands beside the
others where they are not. Edits are comparisons of their own: the edited answer beats the original
(Bai et al. 2022, D.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias

from accord.types import Choice, Comparison, Completion, Demonstration, Prompt, Ranking

Aggregate: TypeAlias = Literal["none", "majority", "soft"]
Labelled: TypeAlias = Comparison | Ranking | Demonstration
HUMAN_EDIT = "human-edit"
"""``model`` of an answer that a rater edited."""


@dataclass(frozen=True, slots=True)
class Said:
    """One judgment that stands, with its item; ``outcome`` is by canonical index.

    ``event`` and ``event_hash`` are those of the log; ``at`` is in UTC seconds. When the
    rater's screen showed the task is None where the client did not tell.
    """

    event: int
    event_hash: str
    assignment: str
    item: str
    rater: str
    role: str
    reason: str
    repeat: int
    permutation: tuple[int, ...]
    outcome: dict[str, Any]
    guideline: int
    revision: int
    active_ms: int
    at: float
    prompt: Prompt
    completions: tuple[Completion, ...]
    answer: dict[str, Any] | None
    shown_at: float | None = None
    both_complete_at: float | None = None
    first_key_at: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How judgments become labels.

    Attributes:
        steps: strength steps per side of the round's schema; 0 if none is asked.
        weights: rater -> weight; empty where everyone counts the same.
        soft: (item, i, j) -> probability that completion i is better than j; empty: counted.
    """

    steps: int
    weights: Mapping[str, float]
    soft: Mapping[tuple[str, int, int], float]

    def weight(self, rater: str) -> float | None:
        """Weight of a rater's verdicts; None where nobody is weighed."""
        return self.weights.get(rater, 1.0) if self.weights else None


def by_attribute(said: Said, name: str) -> Said:
    """The judgment that answers one question about the pair, in place of the verdict."""
    side = said.outcome.get("attributes", {}).get(name)
    if side is None:
        return replace(said, outcome={"outcome": "unanswered"})
    if side == "equal":
        return replace(said, outcome={"outcome": "tie"})
    return replace(said, outcome={"outcome": "best", "best": side, "strength": None})


def left_out(said: Said) -> str:
    """Why a judgment becomes no label; "" if it becomes one."""
    if said.role != "normal":
        return f"{said.role} item"
    if said.outcome.get("outcome") == "cannot_compare":
        return "could not be compared"
    if said.outcome.get("outcome") == "unanswered":
        return "not answered"
    a_b = {completion.text for completion in said.completions}
    if len(said.completions) == 2 and len(a_b) == 1 and "completion" not in said.outcome:
        return "both responses are the same text"
    return ""


def pairs(outcome: Mapping[str, Any]) -> list[tuple[int, int, Choice]]:
    """Each pair of completions that an outcome speaks of, and which of the two it prefers."""
    if "ranks" in outcome:
        ranks = outcome["ranks"]
        return [
            (i, j, "a" if ranks[i] < ranks[j] else "b" if ranks[j] < ranks[i] else "tie")
            for i, j in combinations(range(len(ranks)), 2)
        ]
    match outcome.get("outcome"):
        case "best":
            return [(0, 1, "a" if outcome["best"] == 0 else "b")]
        case "tie" | "both_bad" as choice:
            return [(0, 1, choice)]
    return []


def single(said: Said, terms: Terms) -> Iterator[Labelled]:
    """The label of one judgment."""
    guideline = f"v{said.guideline}"
    weight = terms.weight(said.rater)
    if "completion" in said.outcome:
        yield Demonstration(said.prompt, said.outcome["completion"], said.assignment)
    elif "ranks" in said.outcome:
        yield Ranking(
            said.prompt,
            said.completions,
            tuple(said.outcome["ranks"]),
            rater=said.rater,
            guideline=guideline,
            id=said.assignment,
            weight=weight,
        )
    else:
        for i, j, choice in pairs(said.outcome):
            yield Comparison(
                said.prompt,
                said.completions[i],
                said.completions[j],
                choice,
                _strength(said.outcome, terms),
                rater=said.rater,
                guideline=guideline,
                id=said.assignment,
                weight=weight,
            )


def edits(said: Said, terms: Terms) -> Iterator[Comparison]:
    """The edited answer over the one it was made from, if the rater edited one and changed it."""
    edited = said.outcome.get("edited")
    if edited is None:
        return
    original = said.completions[edited["index"]]
    if edited["text"] != original.text:
        yield Comparison(
            said.prompt,
            Completion(edited["text"], HUMAN_EDIT),
            original,
            "a",
            rater=said.rater,
            guideline=f"v{said.guideline}",
            id=f"{said.assignment}:edit",
            weight=terms.weight(said.rater),
        )


def together(
    judged: Sequence[Said],
    settled: Mapping[str, Mapping[str, Any]],
    how: Aggregate,
    terms: Terms,
) -> Iterator[Labelled]:
    """One label an item, of all verdicts on it.

    ``majority``: the outcome with the most weight, a tie where two have as much; of rankings the
    order of the mean ranks (Borda). ``soft``: the choice that is likelier than not, with its
    probability as the soft label; a ranking gives its pairs, ``item:i-j``.

    Args:
        judged: verdicts that are left in, in any order; demonstrations pass as they are.
        settled: item -> the adjudicator's outcome, which decides alone.
        how: ``majority`` or ``soft``.
        terms: weights and soft labels.
    """
    by_item: dict[str, list[Said]] = defaultdict(list)
    for said in judged:
        if "completion" in said.outcome:
            yield from single(said, terms)
        else:
            by_item[said.item].append(said)
    for item, everyone in by_item.items():
        votes = [said for said in everyone if said.reason != "adjudication"] or everyone
        first = votes[0]
        versions = {said.guideline for said in votes}
        notes = {
            "rater": f"{len(votes)} rater{'s' * (len(votes) > 1)}",
            "guideline": f"v{first.guideline}" if len(versions) == 1 else "",
            "weight": _mean_weight(votes, terms),
        }
        if item in settled:
            yield from _decided(first, settled[item], item, notes | {"rater": "adjudicator"}, terms)
        elif how == "majority":
            yield _majority(votes, item, notes, terms)
        else:
            yield from _soft(votes, item, notes, terms)


def by_adjudicator(
    first: Said, outcome: Mapping[str, Any], rater: str, terms: Terms
) -> Iterator[Labelled]:
    """An adjudicator's word that was given without a task, as one more verdict."""
    notes = {"rater": rater, "guideline": f"v{first.guideline}", "weight": terms.weight(rater)}
    yield from _decided(first, outcome, f"{first.item}:adjudicated", notes, terms)


def _decided(
    first: Said, outcome: Mapping[str, Any], name: str, notes: Mapping[str, Any], terms: Terms
) -> Iterator[Labelled]:
    if "ranks" in outcome:
        ranks = tuple(outcome["ranks"])
        yield Ranking(first.prompt, first.completions, ranks, id=name, **notes)
        return
    for i, j, choice in pairs(outcome):
        sides = first.completions[i], first.completions[j]
        strength = _strength(outcome, terms)
        yield Comparison(first.prompt, *sides, choice, strength, id=name, **notes)


def _majority(votes: Sequence[Said], item: str, notes: Mapping[str, Any], terms: Terms) -> Labelled:
    first = votes[0]
    weights = [terms.weight(said.rater) or 1.0 for said in votes]
    if "ranks" in first.outcome:
        places = zip(*(said.outcome["ranks"] for said in votes), strict=True)
        means = [
            round(sum(w * r for w, r in zip(weights, ranks, strict=True)) / sum(weights), 9)
            for ranks in places
        ]
        order = sorted(set(means))
        ranks = tuple(order.index(mean) for mean in means)
        return Ranking(first.prompt, first.completions, ranks, id=item, **notes)
    scores: dict[Choice, float] = defaultdict(float)
    for said, weight in zip(votes, weights, strict=True):
        for _, _, choice in pairs(said.outcome):
            scores[choice] += weight
    top = max(scores.values())
    leaders = [choice for choice, score in scores.items() if score >= top - 1e-9]
    choice = leaders[0] if len(leaders) == 1 else "tie"
    strengths = [
        strength
        for said in votes
        if pairs(said.outcome)[0][2] == choice
        and (strength := _strength(said.outcome, terms)) is not None
    ]
    mean = sum(strengths) / len(strengths) if strengths and choice in ("a", "b") else None
    a, b = first.completions
    return Comparison(first.prompt, a, b, choice, mean, id=item, **notes)


def _soft(
    votes: Sequence[Said], item: str, notes: Mapping[str, Any], terms: Terms
) -> Iterator[Comparison]:
    first = votes[0]
    ranked = "ranks" in first.outcome
    for place, (i, j, _) in enumerate(pairs(first.outcome)):
        said = [pairs(vote.outcome)[place][2] for vote in votes]
        share = sum({"a": 1.0, "b": 0.0}.get(choice, 0.5) for choice in said) / len(said)
        better = terms.soft.get((item, i, j), share)
        choice: Choice = "a" if better > 0.5 else "b" if better < 0.5 else "tie"
        if set(said) == {"both_bad"}:
            choice = "both_bad"
        yield Comparison(
            first.prompt,
            first.completions[i],
            first.completions[j],
            choice,
            id=f"{item}:{i}-{j}" if ranked else item,
            soft_label=better,
            rater=notes["rater"],
            guideline=notes["guideline"],
        )


def _mean_weight(votes: Sequence[Said], terms: Terms) -> float | None:
    weights = [weight for said in votes if (weight := terms.weight(said.rater)) is not None]
    return sum(weights) / len(weights) if weights else None


def _strength(outcome: Mapping[str, Any], terms: Terms) -> float | None:
    step = outcome.get("strength")
    return step / terms.steps if step and terms.steps else None
