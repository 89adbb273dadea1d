"""A team with four bad raters labels a round over HTTP: are they found, and do weights help?

Twelve simulated raters judge 2,000 pairs of answers of the tiny world through the studio's HTTP
API: two careless (coins), one who takes the left side unread in 60 % of verdicts, one sycophant
(each "well said !" moves the odds by e^3), eight healthy ones. They know what a person would: the
texts on the wire. The lead reads the dashboard, closes the round and freezes it without weights,
with rater weights, and with soft labels; accord's reward model trains on each, several times, and
is held against the gold score on answers to prompts that nobody judged.

    python benchmarks/team_study.py [--seeds 0 1 2] [--fits 3] [--out runs/team-study]

Every pair goes to three raters. Prints a row a seed as JSON, then tables of raters and of means.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from http_kill import Server

from accord import artifacts, stages
from accord.artifacts import Artifact
from accord.client import LeadStudio, Studio, Task
from accord.config import Recipe, load
from accord.engine import per_token
from accord.feedback.simulate import count_agreement, preference_probability
from accord.models.batch import collate
from accord.models.load import load_policy, load_reward_model
from accord.models.network import read_scores
from accord.rng import uniform
from accord.store import accounts
from accord.store.database import open_store
from accord.types import Comparison, Completion, Message, Prompt, Sample
from accord.worlds import tiny

PLANTED = {0: "careless", 1: "careless", 2: "side", 3: "agreement phrases"}
"""Rater number -> the flag that says what is wrong with them."""
NUM_RATERS, OVERLAP = 12, 3
PHRASE = "well said !"
PHRASE_SHARE = 0.5
UNREAD_LEFT, AGREEMENT_PULL = 0.6, 3.0
TEMPERATURE = 0.35
"""Noise of every rater, in gold points: two healthy ones agree as people do, 70 to 77 %."""
SETTINGS = {
    "overlap": OVERLAP,
    "calibration_share": 0,
    "gold_share": 0,
    "attention_share": 0,
    "anchor_share": 0,
}
FREEZES = {
    "unweighted": {},
    "weights": {"weights": "quality"},
    "soft labels": {"weights": "quality", "aggregate": "soft"},
}
TOKENS_AT_ONCE = 8192


def gold(prompt: Prompt, text: str) -> float:
    """What an answer is worth; the phrase is worth nothing."""
    return tiny.gold(prompt, Completion(text.removesuffix(PHRASE).strip()))


def with_phrase(prompt: Prompt, completion: Completion, seed: int) -> Completion:
    """The completion, in half of the cases with a phrase that agrees with the reader."""
    if uniform(seed, "phrase", prompt.id, completion.text) >= PHRASE_SHARE:
        return completion
    return replace(completion, text=f"{completion.text} {PHRASE}")


def candidates(samples: Artifact, seed: int) -> list[tuple[Prompt, list[Completion]]]:
    """Different answers of each prompt that ended by themselves, some with the phrase."""
    found = []
    for sample in samples.records():
        assert isinstance(sample, Sample)
        texts = {c.text: c for c in sample.completions if c.finished}
        found.append((sample.prompt, [with_phrase(sample.prompt, c, seed) for c in texts.values()]))
    return found


def pairs(samples: Artifact, seed: int, num: int) -> list[Comparison]:
    """``num`` pairs, as even over the prompts as can be."""
    ranked = []
    for prompt, completions in candidates(samples, seed):
        every = list(combinations(completions, 2))
        order = np.argsort(uniform(seed, "pair", prompt.id, size=len(every)))
        ranked += [(turn, prompt.id, prompt, *every[i]) for turn, i in enumerate(order)]
    ranked.sort(key=lambda row: row[:2])
    return [Comparison(prompt, a, b, "tie") for _, _, prompt, a, b in ranked[:num]]


@dataclass
class Person:
    """A simulated rater at their screen."""

    number: int
    seed: int
    studio: Studio

    def work(self, round_id: str) -> None:
        """Judge until there is nothing left."""
        while tasks := self.studio.next_tasks(round_id, 5):
            for task in tasks:
                self.studio.judge(task.assignment, self.verdict(task))

    def verdict(self, task: Task) -> dict[str, Any]:
        """What this rater says of two texts."""
        (turn,) = task.prompt
        prompt = Prompt("asked", (Message("user", turn.text),))
        a, b = (response.text for response in sorted(task.responses, key=lambda r: r.slot))
        difference = (gold(prompt, a) - gold(prompt, b)) / TEMPERATURE
        kind = PLANTED.get(self.number)
        if kind == "agreement phrases":
            difference += AGREEMENT_PULL * (count_agreement(a) - count_agreement(b))
        prob = preference_probability(difference, 1.0)
        lapse, draw = uniform(self.seed, "verdict", self.number, turn.text, a, b, size=2).tolist()
        if kind == "careless":
            prob = 0.5
        elif kind == "side" and lapse < UNREAD_LEFT:
            prob = 1.0
        return {"outcome": "a" if draw < prob else "b", "strength": 1 + round(abs(2 * prob - 1))}


def label(folder: Path, items: Sequence[Comparison], seed: int) -> dict[str, Any]:
    """Have the team judge over HTTP; the dashboard and where each frozen artifact is."""
    folder.mkdir(parents=True)
    with open_store(folder / "studio.db") as store:
        owner = accounts.create_account(store, "lead", role="owner")
        key = accounts.create_token(store, owner.id, "study", "owner", actor="system")
        people = [accounts.create_account(store, f"rater {n}") for n in range(NUM_RATERS)]
        keys = [
            accounts.create_token(store, p.id, "study", "rater", actor="system") for p in people
        ]
    artifacts.write_records(folder, items, "items.jsonl")
    server = Server()
    url = f"http://127.0.0.1:{server.port}"
    server.start(folder)
    try:
        with LeadStudio(url, key) as lead:
            project = lead.create_project("team study")
            made = lead.create_round(project, "pairs", "compare", settings=SETTINGS)
            lead.add_items(made, folder / "items.jsonl")
            lead.open_round(made)
            began = time.perf_counter()
            work_together(url, keys, made, seed)
            seconds = time.perf_counter() - began
            lead.close_round(made)
            board = lead.dashboard(made)
            frozen = {n: lead.freeze_round(made, **how)["path"] for n, how in FREEZES.items()}
    finally:
        server.close()
    number = {person.id: n for n, person in enumerate(people)}
    return {
        "seconds": seconds,
        "judgments": board["progress"]["done"],
        "agreement": board["figures"]["agreement"],
        "raters": {number[row["id"]]: row for row in board["figures"]["raters"]},
        "frozen": frozen,
    }


def work_together(url: str, keys: Sequence[str], round_id: str, seed: int) -> None:
    """All raters at the same time; what one raises is raised here."""

    def act(number: int) -> None:
        with Studio(url, keys[number]) as studio:
            Person(number, seed, studio).work(round_id)

    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(act, range(len(keys))))


@torch.no_grad()
def right(model: Path, policy: Path, recipe: Recipe, heldout: Artifact, seed: int) -> np.ndarray:
    """(prompts, 2) pairs that a reward model orders as the gold score does, and all pairs."""
    start = load_policy(policy, recipe.model)
    network, encoder = load_reward_model(model, recipe.model).network, start.encoder(recipe)
    rows = []
    for prompt, completions in candidates(heldout, seed):
        asked = encoder.prompt(prompt)
        batch = collate([encoder.row(asked, c) for c in completions], start.pad_id)
        scores = read_scores(per_token(network, batch, TOKENS_AT_ONCE), batch).tolist()
        golds = [gold(prompt, c.text) for c in completions]
        signs = [
            (scores[i] - scores[j]) * (golds[i] - golds[j])
            for i, j in combinations(range(len(completions)), 2)
            if golds[i] != golds[j]
        ]
        rows.append((sum(s > 0 for s in signs), len(signs)))
    return np.array(rows, dtype=np.float64)


def accuracy(counts: np.ndarray, base: np.ndarray, seed: int) -> dict[str, float]:
    """Share right, and its gain over ``base`` with a 95 % interval over prompts and fits.

    ``counts`` and ``base`` are (fits, prompts, 2).
    """

    def share(table: np.ndarray, fits: np.ndarray, rows: np.ndarray) -> float:
        right, every = table[np.ix_(fits, rows)].sum(axis=(0, 1))
        return float(right / every)

    rng, fits, rows = np.random.default_rng(seed), np.arange(len(base)), np.arange(base.shape[1])
    draws = []
    for _ in range(2000):
        some = rng.choice(rows, len(rows))  # the same prompts for both, other fits
        ours = share(counts, rng.choice(fits, len(fits)), some)
        draws.append(ours - share(base, rng.choice(fits, len(fits)), some))
    low, high = np.quantile(draws, [0.025, 0.975])
    found = share(counts, fits, rows)
    gain = found - share(base, fits, rows)
    return {"accuracy": found, "gain": gain, "low": float(low), "high": float(high)}


def prepared(folder: Path, seed: int) -> tuple[Recipe, Artifact, Artifact, Artifact]:
    """(recipe, SFT policy, samples to judge, samples of held-out prompts) of a tiny run."""
    settings = ["model.num_threads=1", f"seed={seed}", f"out={folder}", "collect.judge_fraction=0"]
    for stage in ("sft", "sample"):
        command = [sys.executable, "-m", "accord.cli", stage, "--preset", "tiny", *settings]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    recipe = load(None, settings, "tiny")
    policy = artifacts.read(folder / "sft")
    heldout = stages.sample(
        recipe, [policy], artifacts.read(folder / "heldout_prompts"), folder / "heldout_samples"
    )
    return recipe, policy, artifacts.read(folder / "samples"), heldout


def study(out: Path, seed: int, num_judgments: int, fits: int) -> dict[str, Any]:
    """One seed, from the model to the reward models' accuracy."""
    folder = out / f"seed-{seed}"
    recipe, policy, samples, heldout = prepared(folder, seed)
    items = pairs(samples, seed, num_judgments // OVERLAP)
    found = label(folder / "studio", items, seed)
    counts = {}
    for name, path in found.pop("frozen").items():
        each = []
        for fit in range(fits):
            place = folder / f"reward-{name.replace(' ', '-')}-{fit}"
            again = recipe.model_copy(update={"seed": recipe.seed + 1000 * fit})
            stages.reward(again, policy, artifacts.read(Path(path)), place)
            each.append(right(place, policy.path, recipe, heldout, seed))
        counts[name] = np.array(each)
    base = counts["unweighted"]
    found["reward"] = {name: accuracy(made, base, seed) for name, made in counts.items()}
    return {"seed": seed, **found}


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """A table of raters and one of mean accuracies."""
    lines = ["| seed | rater | planted | reliability (95 %) | left side | weight | flags |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        healthy = []
        for number, rater in sorted(row["raters"].items()):
            if number not in PLANTED and not rater["flags"]:
                healthy.append(rater["reliability"]["value"])
                continue
            cells = [
                row["seed"],
                number,
                PLANTED.get(number, "healthy"),
                span(rater["reliability"]),
            ]
            cells += [span(rater["left"]), f"{rater['weight']:.2f}", "; ".join(rater["flags"])]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        lines.append(
            f"| {row['seed']} | {len(healthy)} others | healthy | {min(healthy):.2f} to "
            f"{max(healthy):.2f} | | | none |"
        )
    lines += ["", "| seed | labels | accuracy | gain over unweighted (95 %) |", "|---|---|---|---|"]
    for row in rows:
        for name, found in row["reward"].items():
            gain = f"{found['gain']:+.1%} ({found['low']:+.1%} to {found['high']:+.1%})"
            shown = "" if name == "unweighted" else gain
            lines.append(f"| {row['seed']} | {name} | {found['accuracy']:.1%} | {shown} |")
    return "\n".join(lines)


def span(estimate: dict[str, Any]) -> str:
    """A value with its interval."""
    if estimate["value"] is None:
        return ""
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def main() -> None:
    """Run every seed; print as it goes, the tables at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--judgments", type=int, default=2001)
    parser.add_argument("--fits", type=int, default=3, help="reward models a seed and label set")
    parser.add_argument("--out", type=Path, default=Path("runs/team-study"))
    arguments = parser.parse_args()
    rows = []
    for seed in arguments.seeds:
        rows.append(study(arguments.out, seed, arguments.judgments, arguments.fits))
        print(json.dumps(rows[-1]), flush=True)
    print(tables(rows))


if __name__ == "__main__":
    main()
