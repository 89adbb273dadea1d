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
from optimum_gap import MIN_PROB

from accord import artifacts
from accord.config import load
from accord.engine import per_token
from accord.models.batch import TokenRow, collate
from accord.models.load import load_policy, load_reward_model
from accord.models.network import read_scores
from accord.models.tree import NextLogprobs
from accord.types import Completion, Prompt
from accord.worlds import tiny
from accord.worlds.optimum import Floats, enumerate_responses

ROWS_AT_ONCE, TOKENS_AT_ONCE = 256, 8192


def tilted(probs_R: Floats, score_R: Floats, beta: float) -> Floats:
    """The policy that a perfect optimiser of ``score`` reaches at the penalty ``beta``."""
    weight_R = probs_R * np.exp((score_R - score_R.max()) / beta)
    made: Floats = weight_R / weight_R.sum()
    return made


def mean_kl(probs_R: Floats, made_R: Floats) -> float:
    """KL of ``made`` from ``probs`` in nats."""
    held = made_R > 0
    return float(made_R[held] @ np.log(made_R[held] / probs_R[held]))


def best(probs: list[Floats], scores: list[Floats], golds: list[Floats], kl: float) -> float:
    """Mean gold of the perfect optimiser of ``scores`` whose mean KL over the prompts is ``kl``."""
    low, high = 1e-3, 1e3
    for _ in range(60):
        beta = (low * high) ** 0.5
        made = [tilted(p, s, beta) for p, s in zip(probs, scores, strict=True)]
        if np.mean([mean_kl(p, m) for p, m in zip(probs, made, strict=True)]) > kl:
            low = beta
        else:
            high = beta
    return float(np.mean([m @ g for m, g in zip(made, golds, strict=True)]))


@torch.no_grad()
def answers(run: Path, num_prompts: int) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """(SFT probabilities, reward-model scores, gold scores) of every answer, prompt by prompt."""
    recipe = load(run / "recipe.yaml")
    policy = load_policy(run / "sft", recipe.model)
    model = load_reward_model(run / "reward", recipe.model).network
    heldout = artifacts.read(run / "heldout_prompts").records()
    prompts = [p for p in heldout if isinstance(p, Prompt)]
    probs, scores, golds = [], [], []
    for prompt in prompts[:: max(1, len(prompts) // num_prompts)][:num_prompts]:
        asked = policy.chat.encode(policy.tokenizer, prompt)
        found = enumerate_responses(
            NextLogprobs(policy.network.model),
            asked,
            eos_id=policy.eos_id,
            max_tokens=recipe.ppo.max_tokens,
            min_prob=MIN_PROB,
        )
        said = list(zip(found.tokens, found.finished_R, strict=True))
        rows = [
            TokenRow(asked, [*tokens, *([policy.eos_id] if end else [])]) for tokens, end in said
        ]
        parts = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            batch = collate(rows[start : start + ROWS_AT_ONCE], policy.pad_id)
            parts.append(read_scores(per_token(model, batch, TOKENS_AT_ONCE), batch))
        completions = [
            Completion(policy.text(list(tokens)), finished=bool(end)) for tokens, end in said
        ]
        probs.append(found.probs_R / found.probs_R.sum())
        scores.append(torch.cat(parts).double().numpy())
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
        probs, scores, golds = answers(run, arguments.prompts)
        ceilings = {
            kl: best(probs, scores, golds, kl) / best(probs, golds, golds, kl)
            for kl in arguments.kl
        }
        row = {f"{kl:g}": round(ceiling, 3) for kl, ceiling in ceilings.items()}
        print(json.dumps({"run": str(run), "ceiling": row}))


if __name__ == "__main__":
    main()
