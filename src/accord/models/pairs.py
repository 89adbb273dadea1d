"""Comparisons as token rows: every completion of a prompt once, pairs as row numbers.

A prompt's C(K, 2) pairs share K rows, so K forwards serve them all (Ouyang et al. 2022, section
3.5), for the reward model and for DPO alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accord.models.batch import TokenBatch, TokenRow, collate
from accord.models.encode import Encoder
from accord.types import Comparison, Completion, Message, Ranking


@dataclass(frozen=True, slots=True)
class Pair:
    """Row numbers within a prompt; ``target`` is the probability that the first one is better.

    ``verdict_weight`` is the verdict's own weight; ``weight`` holds it too, with the tie's weight
    and the pair's share of its prompt.
    """

    first: int
    second: int
    target: float
    weight: float = 1.0
    margin: float = 0.0
    verdict_weight: float = 1.0


@dataclass(frozen=True)
class PromptPairs:
    """One prompt's completions as rows, and the judged pairs among them."""

    prompt_id: str
    rows: tuple[TokenRow, ...]
    num_words: tuple[int, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class PairIndex:
    """The pairs of a batch. Shape (N,) each, N pairs; row numbers are those of the full batch."""

    first_N: Tensor
    second_N: Tensor
    target_N: Tensor
    weight_N: Tensor
    margin_N: Tensor
    verdict_weight_N: Tensor

    def __len__(self) -> int:
        return len(self.first_N)

    def within(self, row_B: Tensor) -> PairIndex:
        """The pairs whose rows are all in a micro-batch, numbered by place in it."""
        device, row_B = row_B.device, row_B.cpu()
        place = torch.full((int(row_B.max()) + 1,), -1, dtype=torch.int64)
        place[row_B] = torch.arange(len(row_B))
        inside = (self.first_N < len(place)) & (self.second_N < len(place))
        here = inside.clone()
        here[inside] = (place[self.first_N[inside]] >= 0) & (place[self.second_N[inside]] >= 0)
        return PairIndex(
            first_N=place[self.first_N[here]].to(device),
            second_N=place[self.second_N[here]].to(device),
            target_N=self.target_N[here].to(device),
            weight_N=self.weight_N[here].to(device),
            margin_N=self.margin_N[here].to(device),
            verdict_weight_N=self.verdict_weight_N[here].to(device),
        )


def prompt_pairs(
    records: Iterable[Comparison | Ranking],
    encoder: Encoder,
    tie_weight: float,
    use_strength: bool = False,
) -> list[PromptPairs]:
    """Group verdicts by prompt, whatever its id; equal completions of it become one row.

    A prompt's pairs share one weight, 1 / their number each (Ouyang et al. 2022, equation 1), times
    the verdict's own weight where it has one. A soft label is the target as it stands.

    Args:
        records: comparisons and rankings, from any number of raters.
        encoder: how text becomes tokens.
        tie_weight: weight of a tie or "both bad" (target 0.5); 0 leaves them out.
        use_strength: how sure the rater was becomes the target, (1 + strength) / 2, instead of 1.
    """
    groups: dict[tuple[Message, ...], list[Comparison]] = {}
    for record in records:
        pairs = record.pairs() if isinstance(record, Ranking) else [record]
        groups.setdefault(record.prompt.messages, []).extend(pairs)
    made = (
        _one_prompt(i, c, encoder, tie_weight, use_strength) for i, c in enumerate(groups.values())
    )
    return [prompt for prompt in made if prompt.pairs]


def collate_pairs(items: Sequence[PromptPairs], pad_id: int) -> tuple[TokenBatch, PairIndex]:
    """Rows of several prompts as one batch (a prompt is a group), with their pairs."""
    rows: list[TokenRow] = []
    first, second, pairs = [], [], []
    for group, item in enumerate(items):
        for pair in item.pairs:
            first.append(len(rows) + pair.first)
            second.append(len(rows) + pair.second)
            pairs.append(pair)
        rows += [TokenRow(row.prompt, row.response, group) for row in item.rows]
    return collate(rows, pad_id), PairIndex(
        first_N=torch.tensor(first),
        second_N=torch.tensor(second),
        target_N=torch.tensor([pair.target for pair in pairs]),
        weight_N=torch.tensor([pair.weight for pair in pairs]),
        margin_N=torch.tensor([pair.margin for pair in pairs]),
        verdict_weight_N=torch.tensor([pair.verdict_weight for pair in pairs]),
    )


def _one_prompt(
    group: int,
    comparisons: list[Comparison],
    encoder: Encoder,
    tie_weight: float,
    use_strength: bool,
) -> PromptPairs:
    asked = comparisons[0].prompt
    prompt = encoder.prompt(asked)
    number: dict[tuple[str, bool], int] = {}
    rows: list[TokenRow] = []
    words: list[int] = []

    def row(completion: Completion) -> int:
        key = (completion.text, completion.finished)
        if key not in number:
            number[key] = len(rows)
            rows.append(encoder.row(prompt, completion, group))
            words.append(len(completion.text.split()))
        return number[key]

    pairs: list[Pair] = []
    for comparison in comparisons:
        tied = comparison.choice in ("tie", "both_bad")
        own = 1.0 if comparison.weight is None else comparison.weight
        weight = tie_weight * own if tied else own
        if weight == 0:
            continue
        a, b = row(comparison.a), row(comparison.b)
        if a == b:
            continue
        b_first, target = _target(comparison, use_strength)
        if b_first:
            a, b = b, a
        margin = 0.0 if tied or comparison.margin is None else comparison.margin
        pairs.append(Pair(a, b, target, weight, margin, own))
    pairs = [replace(pair, weight=pair.weight / len(pairs)) for pair in pairs]
    return PromptPairs(asked.id, tuple(rows), tuple(words), tuple(pairs))


def _target(comparison: Comparison, use_strength: bool) -> tuple[bool, float]:
    """Whether ``b`` is the likelier winner, and the probability of the likelier one."""
    soft = comparison.soft_label
    if soft is not None:
        return soft < 0.5, max(soft, 1 - soft)
    if comparison.choice in ("tie", "both_bad"):
        return False, 0.5
    sure = 1.0 if comparison.strength is None or not use_strength else comparison.strength
    return comparison.choice == "b", (1 + sure) / 2
