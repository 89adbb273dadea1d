"""Are bad raters found, and do weights help? A simulated team with a known truth, many seeds.

Twelve raters, 2,000 verdicts: two careless (coins), one who takes the left side unread in 60 % of
verdicts, one sycophant (each phrase of agreement moves the odds by e^2), eight healthy ones. Gold
gaps and noise are such that two healthy raters agree on 72 % of pairs, as the papers' do.

    python benchmarks/rater_detection.py [--seeds 60] [--json FILE]

Layouts: "overlap 3" shows every pair to three raters; "studio" shows 85 % of pairs to one rater and
15 % to three, the studio's default; "studio + scores" adds what a reward model would foretell, a
score that correlates 0.7 with gold.

Measured over 60 seeds (intervals: Wilson, 95 %):

| | overlap 3 | studio | studio + scores |
|---|---|---|---|
| careless found, of 120 | 113 (88-97 %) | 64 (44-62 %) | 114 (90-98 %) |
| left-clicker found, of 60 | 60 (94-100 %) | 60 | 60 |
| sycophant found, of 60 | 59 (91-100 %) | 57 (86-98 %) | 60 |
| healthy raters flagged, of 480 | 0 (0-0.8 %) | 0 | 0 |
| flagged in a healthy team, of 720 | 1 | 2 | 2 |
| held-out accuracy, unweighted | 94.7 % | 94.8 % | 94.8 % |
| ... with rater weights (better in) | 96.1 % (56 of 60) | 96.1 % (57) | 96.2 % (58) |
| ... with soft labels (better in) | 94.8 % (33 of 60) | 92.9 % (8) | 95.8 % (49) |

So weights help nearly always, and soft labels only where several people judged a pair or a score
foretells it: a posterior already leans on its prior, and the reward model is one more prior.
A rater who takes the left unread in 60 % of verdicts is known within 150 in 200 of 200 runs (median
after 19), false alarms 5 of 200 with a look after every verdict. One who merely chooses the left in
60 % of verdicts is known within 150 in 57 of 200 runs: so few verdicts do not tell it from luck.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np

from accord.feedback.habits import side_evidence
from accord.feedback.intervals import wilson
from accord.feedback.quality import rater_weights, review, soft_labels
from accord.feedback.rater_model import fit_raters
from accord.feedback.simulate import count_agreement
from accord.feedback.votes import Votes, encode, log_words
from accord.types import Comparison, Completion, Message, Prompt

PLANTED = {"r00": "careless", "r01": "careless", "r02": "side", "r03": "agreement"}
PHRASE = "You're absolutely right."
NUM_RATERS, NUM_VERDICTS, NUM_FEATURES = 12, 2000, 12
FEATURES = {"length": log_words, "agreement": lambda c: float(count_agreement(c.text))}
LAYOUTS = ("overlap 3", "studio", "studio + scores")


def team(
    seed: int, layout: str, planted: bool = True
) -> tuple[list[Comparison], np.ndarray, np.ndarray, dict[int, float]]:
    """Comparisons, each one's features (a less b), the gold weights, and expected margins."""
    rng = np.random.default_rng(seed)
    gold = rng.normal(0, 1, NUM_FEATURES)
    gold *= 2.0 / np.linalg.norm(gold) / np.sqrt(2)
    rows: list[Comparison] = []
    inputs, margins, item = [], {}, 0
    while len(rows) < NUM_VERDICTS:
        several = layout == "overlap 3" or rng.random() < 0.15
        phrases = rng.poisson(0.4, 2)
        words = rng.integers(20, 60, 2)
        x = rng.normal(0, 1, (2, NUM_FEATURES))
        texts = [
            Completion(f"{item}.{side} " + "word " * words[side] + f"{PHRASE} " * phrases[side])
            for side in (0, 1)
        ]
        noise = rng.normal(0, 2.0)
        margins[item] = float((x[0] - x[1]) @ gold + noise)
        prompt = Prompt(f"p{item}", (Message("user", "Which?"),))
        for r in rng.choice(NUM_RATERS, 3 if several else 1, replace=False):
            a, b = (0, 1) if rng.random() < 0.5 else (1, 0)
            logit = float((x[a] - x[b]) @ gold)
            kind = PLANTED.get(f"r{r:02d}") if planted else None
            if kind == "agreement":
                logit += 2.0 * (phrases[a] - phrases[b])
            prefers_a = rng.random() < 1 / (1 + np.exp(-logit))
            if kind == "careless":
                prefers_a = rng.random() < 0.5
            elif kind == "side" and rng.random() < 0.6:
                prefers_a = True
            choice = "a" if prefers_a else "b"
            rows.append(Comparison(prompt, texts[a], texts[b], choice, rater=f"r{r:02d}"))
            inputs.append(np.append(x[a] - x[b], [phrases[a] - phrases[b],
                                                  (words[a] - words[b]) / 16]))  # fmt: skip
        item += 1
    return rows[:NUM_VERDICTS], np.array(inputs)[:NUM_VERDICTS], gold, margins


def reward_model(x: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A linear reward model: weighted logistic regression with a slight ridge, by Newton."""
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w))
        curve = (x * (weight * p * (1 - p))[:, None]).T @ x + np.eye(len(w))
        w = w + np.linalg.solve(curve, x.T @ (weight * (target - p)) - w)
    return w


def held_out(w: np.ndarray, gold: np.ndarray, seed: int) -> float:
    """Share of 4,000 new pairs that the reward model orders as the gold score does."""
    rng = np.random.default_rng(10_000 + seed)
    x = rng.normal(0, np.sqrt(2), (4000, NUM_FEATURES))
    phrases, words = rng.poisson(0.4, (2, 4000)), rng.integers(20, 60, (2, 4000))
    style = np.column_stack([phrases[0] - phrases[1], (words[0] - words[1]) / 16])
    return float(((x @ gold > 0) == (np.column_stack([x, style]) @ w > 0)).mean())


def detection(layout: str, seeds: int) -> dict:
    found, missed_as, false, healthy = Counter(), Counter(), Counter(), 0
    clean_false, accuracy = 0, {"unweighted": [], "weighted": [], "soft labels": []}
    for seed in range(seeds):
        rows, x, gold, margins = team(seed, layout)
        votes = encode(rows, FEATURES)
        place = {int(name[0][1:]): i for i, name in enumerate(votes.items)}
        expected = None
        if layout == "studio + scores":
            expected = {
                place[int(row.prompt.id[1:])]: margins[int(row.prompt.id[1:])]
                * (1 if row.a.text.split(".")[1][0] == "0" else -1)
                for row, turned in zip(rows, votes.turned, strict=True)
                if not turned
            }
        report = review(votes, expected=expected)
        for row in report.raters:
            kinds = {flag.kind for flag in row.flags}
            if row.rater in PLANTED:
                found[PLANTED[row.rater]] += PLANTED[row.rater] in kinds
                missed_as[PLANTED[row.rater]] += bool(kinds)
            else:
                healthy += 1
                false[row.rater] += bool(kinds)
        target = votes.share_first
        target = np.where(votes.turned, 1 - target, target)
        weights = rater_weights(report)
        weight = np.array([weights[row.rater] for row in rows])
        ones = np.ones(len(rows))
        for name, t, w in (("unweighted", target, ones), ("weighted", target, weight),
                           ("soft labels", soft_labels(votes, report.model), ones)):  # fmt: skip
            accuracy[name].append(held_out(reward_model(x, t, w), gold, seed))
        clean, *_ = team(seed, layout, planted=False)
        clean_false += len(review(encode(clean, FEATURES)).flagged())
    planted = Counter(PLANTED.values())
    mean = {name: float(np.mean(values)) for name, values in accuracy.items()}
    better = {name: int(np.sum(np.array(accuracy[name]) > accuracy["unweighted"]))
              for name in ("weighted", "soft labels")}  # fmt: skip
    return {
        "found": {
            k: [found[k], n * seeds, wilson(found[k], n * seeds)] for k, n in planted.items()
        },
        "any flag": {k: missed_as[k] for k in planted},
        "false alarms": [sum(false.values()), healthy, wilson(sum(false.values()), healthy)],
        "false alarms, healthy team": [clean_false, NUM_RATERS * seeds],
        "held-out accuracy": mean,
        "seeds where better than unweighted": [better, seeds],
    }


def left_pull(seeds: int, pull: float, as_share: bool) -> dict:
    """One pulled rater's first 150 verdicts, alone: the e-value watched after each verdict.

    ``as_share``: the left is chosen in a ``pull`` share of verdicts; else that share is unread.
    """
    within, first, false = 0, [], 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rate = pull if as_share else pull + (1 - pull) / 2
        for pulled in (True, False):
            left = rng.random(150) < (rate if pulled else 0.5)
            values = [evidence(left[: n + 1]) for n in range(150)]
            hit = next((n + 1 for n, v in enumerate(values) if v >= 20), None)
            if pulled:
                within += hit is not None
                first += [hit] if hit else []
            else:
                false += hit is not None
    return {"within 150": [within, seeds], "median first": float(np.median(first)),
            "false alarms": [false, seeds]}  # fmt: skip


def evidence(left: np.ndarray) -> float:
    """The e-value of a run of left (True) and right choices."""
    num = len(left)
    zeros, items = np.zeros(num, dtype=np.int64), tuple((str(i), "", "") for i in range(num))
    votes = Votes(np.arange(num), zeros, np.where(left, 0, 1), zeros + 1, np.full(num, np.nan),
                  zeros > 0, zeros, items, ("r",), np.zeros((num, 0)), ())  # fmt: skip
    return side_evidence(votes)[0]


def speed() -> dict:
    """100,000 verdicts by 200 raters: seconds of the model and of the whole report."""
    rng = np.random.default_rng(0)
    num, raters = 33_334, 200
    item = np.repeat(np.arange(num), 3)[:100_000]
    rater = (rng.integers(0, raters, num)[:, None] + [0, 67, 131]) % raters
    rater = rater.reshape(-1)[:100_000]
    gap, shown = rng.normal(0, 2, num), rng.choice([-1, 1], 100_000)
    outcome = (rng.random(100_000) > 1 / (1 + np.exp(-gap[item]))).astype(np.int64)
    style = rng.normal(0, 1, (num, 2))[item]
    votes = Votes(item, rater, outcome, shown, np.full(100_000, np.nan), shown < 0,
                  np.zeros(100_000, np.int64), tuple((str(i), "", "") for i in range(num)),
                  tuple(f"r{i:03d}" for i in range(raters)), style,
                  ("length", "agreement"))  # fmt: skip
    out = {}
    for name, function in (("rater model", lambda: fit_raters(votes)),
                           ("whole report", lambda: review(votes))):  # fmt: skip
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        out[name] = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = {layout: detection(layout, options.seeds) for layout in LAYOUTS}
    result["60 % unread left"] = left_pull(200, 0.6, as_share=False)
    result["60 % left share"] = left_pull(200, 0.6, as_share=True)
    result["speed"] = speed()
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
