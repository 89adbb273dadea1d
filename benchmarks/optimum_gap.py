"""How close a tuned tiny policy is to the exact KL-regularised optimum at equal KL.

Every answer of the SFT policy and of the tuned one is enumerated, with its probability, on held-out
prompts of the tiny world; the best gold score that any policy can reach at the tuned policy's KL is
then known exactly. Usage: python benchmarks/optimum_gap.py RUN... [--policy ppo] [--prompts 12]
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

from accord import artifacts
from accord.config import load
from accord.models.load import Policy, load_policy
from accord.models.tree import NextLogprobs
from accord.types import Completion, Prompt
from accord.worlds import tiny
from accord.worlds.optimum import Case, enumerate_responses, optimum_at_kl

MIN_PROB = 1e-5


@dataclass(frozen=True)
class Gap:
    """Mean gold scores at one mean KL (nats), all exact but for pruned answers."""

    kl: float
    reference_gold: float
    policy_gold: float
    optimum_gold: float
    optimum_bound: float

    @property
    def ratio(self) -> float:
        """Policy's gold as a share of the optimum's."""
        return self.policy_gold / self.optimum_gold

    @property
    def gain_ratio(self) -> float:
        """Policy's gain over the reference as a share of the optimum's: the stricter figure.

        NaN at a KL of zero, where there is nothing to gain.
        """
        gain = self.optimum_gold - self.reference_gold
        return (self.policy_gold - self.reference_gold) / gain if gain > 1e-9 else math.nan


def gap(run: Path, policy: str = "ppo", num_prompts: int = 12) -> Gap:
    """Enumerate both policies of a finished tiny run on its first held-out prompts."""
    recipe = load(run / "recipe.yaml")
    reference = load_policy(run / "sft", recipe.model)
    tuned = load_policy(run / policy, recipe.model)
    heldout = artifacts.read(run / "heldout_prompts").records()
    prompts = [p for p in heldout if isinstance(p, Prompt)]
    step = max(1, len(prompts) // num_prompts)
    cases, kls, golds, reference_golds = [], [], [], []
    for prompt in prompts[::step][:num_prompts]:
        case, _, reference_gold = _walk(reference, None, prompt, recipe.ppo.max_tokens)
        _, kl, gold = _walk(tuned, reference, prompt, recipe.ppo.max_tokens)
        cases.append(case)
        kls.append(kl)
        golds.append(gold)
        reference_golds.append(reference_gold)
    kl = sum(kls) / len(kls)
    best = optimum_at_kl(cases, kl, lowest=tiny.LOWEST, highest=tiny.HIGHEST)
    return Gap(
        kl,
        sum(reference_golds) / len(reference_golds),
        sum(golds) / len(golds),
        best.gold,
        best.gold_bound,
    )


def _walk(
    policy: Policy, reference: Policy | None, prompt: Prompt, max_tokens: int
) -> tuple[Case, float, float]:
    """(case, KL from the reference, mean gold); what was pruned counts as worth the lowest."""
    answers = enumerate_responses(
        NextLogprobs(policy.network.model),
        policy.chat.encode(policy.tokenizer, prompt),
        eos_id=policy.eos_id,
        max_tokens=max_tokens,
        min_prob=MIN_PROB,
        reference=None if reference is None else NextLogprobs(reference.network.model),
    )
    texts = [policy.text(list(tokens)) for tokens in answers.tokens]
    golds = [
        tiny.gold(prompt, Completion(text, finished=bool(finished)))
        for text, finished in zip(texts, answers.finished_R, strict=True)
    ]
    gold = float(answers.probs_R @ golds) + answers.uncovered * tiny.LOWEST
    return tiny.case(prompt, answers, texts), answers.kl or 0.0, gold


def main() -> None:
    """Print a row a run, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--policy", default="ppo")
    parser.add_argument("--prompts", type=int, default=12)
    arguments = parser.parse_args()
    for run in arguments.runs:
        found = gap(run, arguments.policy, arguments.prompts)
        row = {k: round(v, 3) for k, v in vars(found).items()}
        row |= {"ratio": round(found.ratio, 3), "gain_ratio": round(found.gain_ratio, 3)}
        print(json.dumps({"run": str(run), "policy": arguments.policy, **row}))


if __name__ == "__main__":
    main()
