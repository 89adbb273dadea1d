"""Tokens/s of sampling: accord's decoder, accord over Hugging Face's forward, and generate.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/sampling.py smollm2 --cases 16x1 64x4 --tokens 64

A case is sequences x candidates a prompt. Every sequence makes exactly --tokens tokens, from the
full distribution at temperature 1. The three run one after another, --repeats times, and the best
time of each counts, so that a neighbour's load falls on all of them; read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from accord import worlds
from accord.config import ModelConfig
from accord.engine import LocalSampler, SamplingParams
from accord.models.load import Policy, load_policy

WORLDS = {"tiny": "tiny", "smollm2": "assistant"}


def generate(policy: Policy, prompts: list[list[int]], num_candidates: int, tokens: int) -> None:
    longest = max(map(len, prompts))
    ids = [[policy.pad_id] * (longest - len(p)) + p for p in prompts]
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
    made = policy.network.model.generate(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        do_sample=True,
        top_k=0,
        temperature=1.0,
        num_return_sequences=num_candidates,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        pad_token_id=policy.pad_id,
    )
    assert made.shape == (len(prompts) * num_candidates, longest + tokens)


def measure(
    policy: Policy, prompts: list[list[int]], batch: int, candidates: int, tokens: int, repeats: int
) -> dict[str, float]:
    asked = [prompts[i % len(prompts)] for i in range(batch // candidates)]
    params = SamplingParams(max_tokens=tokens, num_candidates=candidates, batch_size=batch)
    endless = replace(policy, stop_ids=frozenset())
    decoder, plain = LocalSampler(endless), LocalSampler(endless)
    plain._decoder = None
    ways: dict[str, Callable[[], object]] = {
        "decoder": lambda: decoder.sample(asked, params),
        "hugging_face_forward": lambda: plain.sample(asked, params),
        "generate": lambda: generate(policy, asked, candidates, tokens),
    }
    decoder.sample(asked[:1], replace(params, max_tokens=2))  # lay out the weights, run the probe
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: round(batch * tokens / seconds, 1) for name, seconds in best.items()}
    return rates | {
        "times_generate": round(best["generate"] / best["decoder"], 2),
        "times_forward": round(best["hugging_face_forward"] / best["decoder"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=WORLDS)
    parser.add_argument("--cases", nargs="+", default=["16x1", "32x4", "64x4"])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    policy = load_policy(args.model, ModelConfig(name=args.model, device="cpu"))
    asked = worlds.get(WORLDS[args.model]).prompts()
    prompts = [policy.chat.encode(policy.tokenizer, prompt) for prompt in asked]
    for case in args.cases:
        batch, candidates = map(int, case.split("x"))
        rates = measure(policy, prompts, batch, candidates, args.tokens, args.repeats)
        load = {"load": round(os.getloadavg()[0], 1), "threads": torch.get_num_threads()}
        print(json.dumps({"model": args.model, "case": case, **rates, **load}), flush=True)


if __name__ == "__main__":
    main()
