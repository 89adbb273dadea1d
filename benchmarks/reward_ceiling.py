"""How good a perfect optimiser of a tiny run's reward model would be: is PPO the limit, or not?

Every answer of the SFT policy is enumerated on held-out prompts of the tiny world and scored by the
reward model. The policy SFT(y|x) exp(score(x, y) / beta) / Z(x) is the best any method can do
against that score at its KL; its gold, as a share of the gold optimum's at the same KL, is the
ceiling. A method that generalises over prompts may still beat it: it cannot follow every score.
Usage: python benchmarks/reward_ceiling.py RUN... [--kl 1.5 2 3] [--prompts 12]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from optimum_gap import answers, heldout_prompts

from accord.config import load
from accord.engine import per_token
from accord.models.batch import TokenRow, collate
from accord.models.load import load_policy, load_reward_model
from accord.models.network import read_scores
from accord.worlds import tiny
from accord.worlds.optimum import Case, Floats, optimum_at_kl, tilt

TOKENS_AT_ONCE = 8192


def best(probs: list[Floats], scores: list[Floats], golds: list[Floats], kl: float) -> float:
    """Mean gold of the perfect optimiser of ``scores`` whose mean KL over the prompts is ``kl``."""
    cases = [Case(probs_R, score_R) for probs_R, score_R in zip(probs, scores, strict=True)]
    least = min(float(score_R.min()) for score_R in scores)  # of mass that no case here has
    beta = optimum_at_kl(cases, kl, lowest=least, highest=least).beta
    made = [tilt(case.probs_R, case.gold_R, beta)[0] for case in cases]
    return float(np.mean([made_R @ gold_R for made_R, gold_R in zip(made, golds, strict=True)]))


@torch.no_grad()
def scored(run: Path, num_prompts: int) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """SFT probabilities, reward-model and gold scores of every answer, but for pruned ones."""
    recipe = load(run / "recipe.yaml")
    policy = load_policy(run / "sft", recipe.model)
    model = load_reward_model(run / "reward", recipe.model).network
    probs, scores, golds = [], [], []
    for prompt in heldout_prompts(run, num_prompts):
        asked = policy.chat.encode(policy.tokenizer, prompt)
        found, completions = answers(policy, prompt, recipe.ppo.max_tokens)
        rows = [
            TokenRow(asked, [*tokens, *([policy.eos_id] if end else [])])
            for tokens, end in zip(found.tokens, found.finished_R, strict=True)
        ]
        batch = collate(rows, policy.pad_id)
        scores_B = read_scores(per_token(model, batch, TOKENS_AT_ONCE), batch)
        probs.append(found.probs_R / found.probs_R.sum())
        scores.append(scores_B.double().numpy())
        golds.append(np.array([tiny.gold(prompt, completion) for completion in completions]))
    return probs, scores, golds


def main() -> None:
    """Print a row a run, as JSON: KL -> ceiling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--kl", nargs="+", type=float, default=[1.5, 2.0, 3.0])
    parser.add_argument("--prompts", type=int, default=12)
    arguments = parser.parse_args()
    for run in arguments.runs:
        probs, scores, golds = scored(run, arguments.prompts)
        ceilings = {
            kl: best(probs, scores, golds, kl) / best(probs, golds, golds, kl)
            for kl in arguments.kl
        }
        row = {f"{kl:g}": round(ceiling, 3) for kl, ceiling in ceilings.items()}
        print(json.dumps({"run": str(run), "ceiling": row}))


if __name__ == "__main__":
    main()
