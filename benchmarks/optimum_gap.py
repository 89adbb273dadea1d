"""How close a tuned tiny policy is to the exact KL-regularised optimum at equal KL.

Every answer of the SFT policy and of the tuned one is enumerated, with its probability, on held-out
prompts of the tiny world; the best gold score that any policy can reach at the tuned policy's KL is
then known exactly. Usage: python benchmarks/optimum_gap.py RUN... [--policy ppo] [--prompts 48]
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
from accord.worlds.optimum import Case, Responses, enumerate_responses, optimum_at_kl

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


def gap(run: Path, policy: str = "ppo", num_prompts: int = 48) -> Gap:
    """Enumerate both policies of a finished tiny run on held-out prompts."""
    recipe = load(run / "recipe.yaml")
    reference = load_policy(run / "sft", recipe.model)
    tuned = load_policy(run / policy, recipe.model)
    cases, kls, golds, reference_golds = [], [], [], []
    for prompt in heldout_prompts(run, num_prompts):
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


def heldout_prompts(run: Path, count: int) -> list[Prompt]:
    """Held-out prompts of a run, spread over all of them."""
    prompts = [
        p for p in artifacts.read(run / "heldout_prompts").records() if isinstance(p, Prompt)
    ]
    return prompts[:: max(1, len(prompts) // count)][:count]


def answers(
    policy: Policy, prompt: Prompt, max_tokens: int, reference: Policy | None = None
) -> tuple[Responses, list[Completion]]:
    """All that a policy may answer, with its probability; below ``MIN_PROB`` it is pruned."""
    found = enumerate_responses(
        NextLogprobs(policy.network.model),
        policy.chat.encode(policy.tokenizer, prompt),
        eos_id=policy.eos_id,
        max_tokens=max_tokens,
        min_prob=MIN_PROB,
        reference=None if reference is None else NextLogprobs(reference.network.model),
    )
    said = zip(found.tokens, found.finished_R, strict=True)
    return found, [Completion(policy.text(list(t)), finished=bool(end)) for t, end in said]


def _walk(
    policy: Policy, reference: Policy | None, prompt: Prompt, max_tokens: int
) -> tuple[Case, float, float]:
    """(case, KL from the reference, mean gold); what was pruned counts as worth the lowest."""
    found, completions = answers(policy, prompt, max_tokens, reference)
    golds = [tiny.gold(prompt, completion) for completion in completions]
    gold = float(found.probs_R @ golds) + found.uncovered * tiny.LOWEST
    case = tiny.case(prompt, found, [completion.text for completion in completions])
    return case, found.kl or 0.0, gold


def main() -> None:
    """Print a row a run, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--policy", default="ppo")
    parser.add_argument("--prompts", type=int, default=48)
    arguments = parser.parse_args()
    for run in arguments.runs:
        found = gap(run, arguments.policy, arguments.prompts)
        row = {k: round(v, 3) for k, v in vars(found).items()}
        row |= {"ratio": round(found.ratio, 3), "gain_ratio": round(found.gain_ratio, 3)}
        print(json.dumps({"run": str(run), "policy": arguments.policy, **row}))


if __name__ == "__main__":
    main()
