"""What real_preferences.py concludes from its measurements: pure functions of plain rows.

An estimate is ``[value, low, high]`` with a 95 % interval. Pairs of one tree, or replies of one
conversation, are not independent: but for Wilson's, intervals resample whole groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from accord.feedback.intervals import wilson
from accord.rng import uniform

Row: TypeAlias = dict[str, Any]
Estimate: TypeAlias = list[float]
NUM_RESAMPLES = 4000
SOURCES = {
    "hh": "hh-rlhf harmless-base",
    "oasst": "OpenAssistant",
    "all": "both, one length rule",
    "all_told": "both, a length rule for each",
}


def group_ratio(
    rows: Sequence[Row],
    top: Callable[[Row], float],
    bottom: Callable[[Row], float],
    seed: int,
    key: str = "group",
) -> Estimate:
    """Sum of ``top`` over sum of ``bottom``, with the bootstrap interval over groups."""
    place = {name: i for i, name in enumerate(sorted({row[key] for row in rows}))}
    sums = np.zeros((2, len(place)))
    for row in rows:
        sums[0, place[row[key]]] += top(row)
        sums[1, place[row[key]]] += bottom(row)
    draws = uniform(seed, "group_ratio", size=(NUM_RESAMPLES, len(place)))
    resampled = sums[:, (draws * len(place)).astype(np.int64)].sum(axis=2)
    low, high = np.quantile(resampled[0] / resampled[1], (0.025, 0.975))
    value = sums[0].sum() / sums[1].sum()
    return [float(value), float(low), float(high)]


def one(_: Row) -> float:
    return 1.0


def sft_summary(before: Sequence[Row], after: Sequence[Row], seed: int) -> dict[str, Any]:
    """Loss per token on held-out replies before and after SFT, and the paired difference.

    Args:
        before: ``group``, summed ``loss`` and ``tokens`` of each reply under the base model.
        after: the same replies in the same order under the SFT policy.
        seed: of the bootstrap.
    """
    both = [
        {**b, "after": a["loss"], "drop": b["loss"] - a["loss"]}
        for b, a in zip(before, after, strict=True)
    ]

    def per_token(name: str) -> Estimate:
        return group_ratio(both, lambda row: row[name], lambda row: row["tokens"], seed)

    drop = per_token("drop")
    return {
        "replies": len(both),
        "conversations": len({row["group"] for row in both}),
        "tokens": sum(row["tokens"] for row in both),
        "before": per_token("loss"),
        "after": per_token("after"),
        "drop": drop,
        "lowers_loss": drop[1] > 0,
    }


def reward_summary(train: Sequence[Row], test: Sequence[Row], seed: int) -> dict[str, Any]:
    """Accuracy by source beside the length-only baseline and chance.

    A source's baseline takes the longer reply, or the shorter, whichever is right more often on its
    training pairs. Over both sources there are two: one rule for all training pairs, which knows as
    much as the reward model is told, and each source's own rule, which is told the source.

    Args:
        train: ``source`` and ``words`` (of the better less those of the worse) of each pair.
        test: those and ``group`` and ``margin`` (score of the better less that of the worse).
        seed: of the bootstrap.
    """
    longer = {
        name: sum(hit(row["words"]) - 0.5 for row in train if name in (row["source"], "all")) >= 0
        for name in ("all", *{row["source"] for row in train})
    }
    rows = [
        {
            **row,
            "right": hit(row["margin"]),
            "by_length": hit(row["words"] if longer[row["source"]] else -row["words"]),
        }
        for row in test
    ]
    by_source = {name: [r for r in rows if r["source"] == name] for name in SOURCES}
    by_source["all_told"] = rows
    sign = 1 if longer["all"] else -1
    by_source["all"] = [{**r, "by_length": hit(sign * r["words"])} for r in rows]
    return {
        name: _accuracies(part, seed) | {"longer_is_better": longer.get(name)}
        for name, part in by_source.items()
        if part
    }


def hit(margin: float) -> float:
    """1 for a positive margin, 0 for a negative one, 1/2 for none."""
    return 0.5 * (1 + float(np.sign(margin)))


def _accuracies(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    clustered = group_ratio(rows, lambda row: row["right"], one, seed)
    accuracy = _wilson([row["right"] for row in rows])
    gain = group_ratio(rows, lambda row: row["right"] - row["by_length"], one, seed)
    return {
        "pairs": len(rows),
        "groups": len({row["group"] for row in rows}),
        "accuracy": accuracy,
        "accuracy_by_group": clustered,
        "length": _wilson([row["by_length"] for row in rows]),
        "gain_over_length": gain,
        "beats_chance": min(accuracy[1], clustered[1]) > 0.5,
        "beats_length": gain[1] > 0,
        "longer_right": _wilson([row["right"] for row in rows if row["words"] > 0]),
        "shorter_right": _wilson([row["right"] for row in rows if row["words"] < 0]),
        "num_longer_right": sum(row["words"] > 0 for row in rows),
        "num_shorter_right": sum(row["words"] < 0 for row in rows),
    }


def _wilson(hits: Sequence[float]) -> Estimate:
    value = sum(hits) / len(hits) if hits else 0.5
    return [value, *wilson(sum(hits), len(hits))]


def ppo_summary(
    log: Sequence[dict[str, float]], answers: Sequence[Row], seed: int
) -> dict[str, Any]:
    """Where KL and score went: over the training steps, and on held-out prompts before and after.

    Args:
        log: the stage's metrics, one mapping a step.
        answers: ``policy`` ("sft" or "ppo"), ``prompt``, ``score``, ``tokens``, ``finished``.
        seed: of the bootstrap.
    """
    third = max(1, len(log) // 3)

    def mean(name: str, part: Sequence[dict[str, float]]) -> float:
        return float(np.mean([step[f"objective/{name}"] for step in part]))

    def heldout(policy: str) -> dict[str, Any]:
        rows = [row for row in answers if row["policy"] == policy]
        return {
            "score": group_ratio(rows, lambda row: row["score"], one, seed, "prompt"),
            "tokens": float(np.mean([row["tokens"] for row in rows])),
            "finished": float(np.mean([row["finished"] for row in rows])),
        }

    sign = {"ppo": 1.0, "sft": -1.0}
    gain = group_ratio(
        answers,
        lambda row: sign[row["policy"]] * row["score"],
        lambda row: float(row["policy"] == "ppo"),
        seed,
        "prompt",
    )
    return {
        "steps": len(log),
        "kl": [step["objective/kl"] for step in log],
        "score": [step["objective/score"] for step in log],
        "kl_first_third": mean("kl", log[:third]),
        "kl_last_third": mean("kl", log[-third:]),
        "score_first_third": mean("score", log[:third]),
        "score_last_third": mean("score", log[-third:]),
        "heldout_prompts": len({row["prompt"] for row in answers}),
        "heldout_sft": heldout("sft"),
        "heldout_ppo": heldout("ppo"),
        "heldout_gain": gain,
        "raises_score": gain[1] > 0,
    }


def tables(results: dict[str, Any]) -> str:
    """The results as markdown."""
    sft, reward, ppo = results["sft"], results["reward"], results["ppo"]
    seconds = results["seconds"]
    return "\n".join(
        [
            f"Seed {results['seed']}, {results['threads']} threads, "
            f"{sum(seconds.values()) / 60:.0f} minutes: "
            + ", ".join(f"{name} {value / 60:.1f}" for name, value in seconds.items())
            + ".",
            "",
            f"| SFT: loss per token on {sft['replies']} held-out replies "
            f"in {sft['conversations']} conversations | nats (95 %) |",
            "|---|---|",
            f"| before ({results['model']}) | {number(sft['before'])} |",
            f"| after | {number(sft['after'])} |",
            f"| drop, paired | {number(sft['drop'])} |",
            "",
            "| reward model, held-out pairs | pairs | accuracy (Wilson 95 %) | length alone "
            "| gain over length, paired | longer one right | shorter one right | beats chance "
            "| beats length |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_reward_line(name, row) for name, row in reward.items()),
            "",
            f"| PPO, {ppo['steps']} steps | first third | last third |",
            "|---|---|---|",
            f"| KL to the SFT policy, nats per completion | {ppo['kl_first_third']:.2f} "
            f"| {ppo['kl_last_third']:.2f} |",
            f"| score on training prompts | {ppo['score_first_third']:+.2f} "
            f"| {ppo['score_last_third']:+.2f} |",
            "",
            f"| {ppo['heldout_prompts']} held-out prompts | SFT | PPO |",
            "|---|---|---|",
            f"| score (the one PPO was trained on) | {number(ppo['heldout_sft']['score'])} "
            f"| {number(ppo['heldout_ppo']['score'])} |",
            f"| tokens | {ppo['heldout_sft']['tokens']:.1f} | {ppo['heldout_ppo']['tokens']:.1f} |",
            f"| ended by itself | {ppo['heldout_sft']['finished']:.0%} "
            f"| {ppo['heldout_ppo']['finished']:.0%} |",
            "",
            f"Score gained on held-out prompts, paired: {number(ppo['heldout_gain'])}.",
            "",
        ]
    )


def _reward_line(name: str, row: dict[str, Any]) -> str:
    cells = [
        SOURCES[name],
        str(row["pairs"]),
        percent(row["accuracy"]),
        percent(row["length"]),
        percent(row["gain_over_length"], "+"),
        f"{row['longer_right'][0]:.0%} of {row['num_longer_right']}",
        f"{row['shorter_right'][0]:.0%} of {row['num_shorter_right']}",
        "yes" if row["beats_chance"] else "not shown",
        "yes" if row["beats_length"] else "not shown",
    ]
    return f"| {' | '.join(cells)} |"


def number(estimate: Estimate) -> str:
    value, low, high = estimate
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def percent(estimate: Estimate, sign: str = "") -> str:
    value, low, high = (100 * part for part in estimate)
    return f"{value:{sign}.1f} % ({low:{sign}.1f} to {high:{sign}.1f})"
