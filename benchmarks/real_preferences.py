"""Real human data through accord's stages: python benchmarks/real_preferences.py [--small].

SFT on the best replies of OpenAssistant trees, a reward model on those trees' rankings together
with hh-rlhf's harmless-base pairs, a short PPO run against it. Trees and first questions held out
before any stage sees them (by --seed) measure the loss, the accuracy by source beside the length
baseline, and the score. Each phase is an artifact in --out: the same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from real_report import ppo_summary, reward_summary, sft_summary, tables
from transformers import AutoTokenizer

from accord import artifacts, data, stages
from accord.artifacts import Artifact
from accord.config import Recipe, load
from accord.engine import host, per_token
from accord.engine.schedule import shuffled
from accord.models.batch import TokenRow, collate
from accord.models.encode import Encoder
from accord.models.load import RewardModel, load_policy, load_reward_model
from accord.models.pairs import collate_pairs, prompt_pairs
from accord.tracking import read_metrics
from accord.types import Comparison, Demonstration, Prompt, Ranking, Record, Sample

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "real_preferences.yaml"
RESULTS = HERE / "results" / "real_preferences.json"
PAGE = HERE.parent / "docs" / "real-data.md"
DATA = HERE.parents[1] / "shared" / "data"
HH = "hh-rlhf/harmless-base/test.part1.jsonl.gz"
OASST = "open-assistant/en_100_tree.part1.jsonl"
HH_BAD_ROWS = 6  # 4 with an empty turn, 2 that part before the last turn

NUM_HH = 1200  # of its 1,706 pairs: what twenty minutes on two cores allow
TEST_FRACTION = 0.3
NUM_TEST_PROMPTS = 32  # that SFT and PPO policy answer in the end
TOKENS_AT_ONCE = 2048
SFT_TEXTS = ["model.max_tokens=192", "data.max_prompt_tokens=96"]
SMALL = [
    "model.max_tokens=64",
    "data.max_prompt_tokens=32",
    "sft.max_steps=2",
    "sft.batch_size=4",
    "reward.max_steps=2",
    "reward.batch_size=4",
    "reward.normalize_samples=8",
    "sample.max_tokens=8",
    "evaluate.max_tokens=8",
    "ppo.num_steps=2",
    "ppo.batch_size=4",
    "ppo.max_tokens=8",
]
SMALL_HH, SMALL_OASST = 24, 12  # pairs; trees

Verdict = Comparison | Ranking


@dataclass(frozen=True)
class Parts:
    """The frozen inputs; no tree and no first question is in both parts."""

    train_demonstrations: Artifact
    test_demonstrations: Artifact
    train_comparisons: Artifact
    test_comparisons: Artifact
    train_prompts: Artifact
    test_prompts: Artifact


def source(prompt: Prompt) -> str:
    return "oasst" if any(tag.startswith("tree:") for tag in prompt.tags) else "hh"


def group(prompt: Prompt) -> str:
    """What must not be split: an OASST tree, or the hh conversations that begin alike."""
    trees = [tag for tag in prompt.tags if tag.startswith("tree:")]
    return trees[0] if trees else "hh:" + prompt.messages[0].content


def read_sources(
    folder: Path, num_hh: int, small: bool
) -> tuple[list[Verdict], list[Demonstration]]:
    """The first hh pairs with the OASST rankings; OASST best replies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the six bad rows are known
        hh = data.read_comparisons(folder / HH, max_bad_rows=HH_BAD_ROWS)[:num_hh]
    rankings = data.read_comparisons(folder / OASST)
    demonstrations = data.read_demonstrations(folder / OASST)
    if small:
        trees = sorted({group(r.prompt) for r in rankings})[:SMALL_OASST]
        hh = hh[:SMALL_HH]
        rankings = [r for r in rankings if group(r.prompt) in trees]
        demonstrations = [d for d in demonstrations if group(d.prompt) in trees]
    return [*hh, *rankings], demonstrations


def held_out(prompts: Sequence[Prompt], fraction: float, seed: int) -> set[str]:
    """Groups of the test part, drawn within each source."""
    chosen: set[str] = set()
    for name in ("hh", "oasst"):
        groups = sorted({group(p) for p in prompts if source(p) == name})
        order = shuffled(len(groups), seed, "real-preferences", name)
        chosen |= {groups[i] for i in order[: round(len(groups) * fraction)]}
    return chosen


def freeze(args: argparse.Namespace, prompt_tokens: Sequence[int]) -> Parts:
    """Read, split by group and write the parts as artifacts, with what they will be cut to."""
    seed, out = args.seed, args.out
    verdicts, demonstrations = read_sources(args.data, args.num_hh, args.small)
    unseen = held_out([r.prompt for r in (*verdicts, *demonstrations)], TEST_FRACTION, seed)
    config = {"test_fraction": TEST_FRACTION, "num_hh": args.num_hh, "small": args.small}
    config |= {"max_prompt_tokens": list(prompt_tokens)}

    def write(name: str, kind: str, records: Sequence[Record]) -> Artifact:
        made = artifacts.current(out / name, kind, parents={}, config=config, seed=seed)
        if made is None:
            with artifacts.write(out / name, kind, config=config, seed=seed) as place:
                artifacts.write_records(place, records)
        return artifacts.read(out / name)

    def part(records: Sequence[Any], test: bool) -> list[Any]:
        return [r for r in records if (group(r.prompt) in unseen) == test]

    def prompts(test: bool) -> list[Prompt]:
        found = list({r.prompt.id: r.prompt for r in part(verdicts, test)}.values())
        if not test:
            return found
        order = shuffled(len(found), seed, "real-preferences", "asked")
        return [found[i] for i in order[:NUM_TEST_PROMPTS]]

    return Parts(
        write("demonstrations", "demonstrations", part(demonstrations, False)),
        write("test_demonstrations", "demonstrations", part(demonstrations, True)),
        write("comparisons", "comparisons", part(verdicts, False)),
        write("test_comparisons", "comparisons", part(verdicts, True)),
        write("prompts", "prompts", prompts(False)),
        write("test_prompts", "prompts", prompts(True)),
    )


def demonstration_losses(
    model: str | Path, recipe: Recipe, demonstrations: Artifact
) -> list[dict[str, Any]]:
    """Summed negative log-likelihood of each demonstration's reply under a model."""
    policy = load_policy(model, recipe.model)
    records = [d for d in demonstrations.records() if isinstance(d, Demonstration)]
    batch = collate(policy.encoder(recipe).demonstrations(records), policy.pad_id)
    logprobs_BT = per_token(policy.network, batch, TOKENS_AT_ONCE)
    return [
        {"group": group(record.prompt), "loss": -loss, "tokens": tokens}
        for record, loss, tokens in zip(
            records,
            logprobs_BT.sum(dim=1).tolist(),
            batch.response_mask_BT.sum(dim=1).tolist(),
            strict=True,
        )
    ]


def loaded(reward_model: Artifact, recipe: Recipe) -> tuple[RewardModel, Encoder, int]:
    """A finished reward model, what encodes its texts, and the pad token."""
    model = load_reward_model(reward_model.path, recipe.model)
    tokenizer = AutoTokenizer.from_pretrained(reward_model.path)
    limits = recipe.data.max_prompt_tokens, recipe.model.max_tokens
    encoder = Encoder(tokenizer, model.chat, tokenizer.eos_token_id, *limits)
    return model, encoder, tokenizer.pad_token_id


def judged_pairs(
    verdicts: Artifact, recipe: Recipe, reward_model: Artifact, *, score: bool
) -> list[dict[str, Any]]:
    """Each decided pair: words and, with ``score``, score of the better less the worse reply."""
    model, encoder, pad_id = loaded(reward_model, recipe)
    records = [r for r in verdicts.records() if isinstance(r, Verdict)]
    prompts = {r.prompt.id: r.prompt for r in records}
    items = prompt_pairs(records, encoder, tie_weight=0.0)
    batch, index = collate_pairs(items, pad_id)
    scores = [0.0] * len(batch)
    if score:
        heads_BT = per_token(model.network, batch, TOKENS_AT_ONCE)
        scores = heads_BT.gather(1, batch.lengths_B[:, None] - 1)[:, 0].tolist()
    words = [count for item in items for count in item.num_words]
    of_pair = [prompts[item.prompt_id] for item in items for _ in item.pairs]
    return [
        {
            "source": source(prompt),
            "group": group(prompt),
            "words": words[better] - words[worse],
            "margin": scores[better] - scores[worse],
        }
        for prompt, better, worse in zip(
            of_pair, index.first_N.tolist(), index.second_N.tolist(), strict=True
        )
    ]


def sample_scores(
    samples: Mapping[str, Artifact], recipe: Recipe, reward_model: Artifact
) -> list[dict[str, Any]]:
    """Score and length of each policy's answers, by prompt."""
    model, encoder, pad_id = loaded(reward_model, recipe)
    found = []
    for policy, artifact in samples.items():
        records = [s for s in artifact.records() if isinstance(s, Sample)]
        rows: list[TokenRow] = [
            encoder.row(encoder.prompt(s.prompt), c, i)
            for i, s in enumerate(records)
            for c in s.completions
        ]
        batch = collate(rows, pad_id)
        heads_BT = per_token(model.network, batch, TOKENS_AT_ONCE)
        scores = heads_BT.gather(1, batch.lengths_B[:, None] - 1)[:, 0].tolist()
        answers = [(s.prompt, c) for s in records for c in s.completions]
        found += [
            {
                "policy": policy,
                "source": source(prompt),
                "prompt": prompt.id,
                "score": score,
                "tokens": len(row.response),
                "finished": completion.finished,
            }
            for (prompt, completion), row, score in zip(answers, rows, scores, strict=True)
        ]
    return found


def measured(
    out: Path,
    parents: Mapping[str, Artifact],
    recipe: Recipe,
    measure: Callable[[], dict[str, list[dict[str, Any]]]],
) -> dict[str, list[dict[str, Any]]]:
    """Rows that a measurement gives, kept as an artifact so that they are measured once."""
    config = {"model": recipe.model.identity()}
    made = artifacts.current(out, "report", parents=parents, config=config, seed=recipe.seed)
    if made is None:
        with artifacts.write(
            out, "report", parents=parents, config=config, seed=recipe.seed
        ) as place:
            (place / "rows.json").write_text(json.dumps(measure()), encoding="utf-8")
    rows: dict[str, list[dict[str, Any]]] = json.loads((out / "rows.json").read_text("utf-8"))
    return rows


def run_sft(recipe: Recipe, parts: Parts, out: Path) -> tuple[Artifact, dict[str, Any]]:
    policy = stages.sft(recipe, recipe.model.name, parts.train_demonstrations, out / "sft")
    losses = measured(
        out / "measured_sft",
        {"policy": policy, "demonstrations": parts.test_demonstrations},
        recipe,
        lambda: {
            name: demonstration_losses(model, recipe, parts.test_demonstrations)
            for name, model in (("before", recipe.model.name), ("after", policy.path))
        },
    )
    return policy, sft_summary(losses["before"], losses["after"], recipe.seed)


def run_reward(
    recipe: Recipe, parts: Parts, policy: Artifact, out: Path
) -> tuple[Artifact, dict[str, Any]]:
    model = stages.reward(recipe, policy, parts.train_comparisons, out / "reward")
    pairs = measured(
        out / "measured_reward",
        {"reward_model": model, "comparisons": parts.test_comparisons},
        recipe,
        lambda: {
            "train": judged_pairs(parts.train_comparisons, recipe, model, score=False),
            "test": judged_pairs(parts.test_comparisons, recipe, model, score=True),
        },
    )
    return model, reward_summary(pairs["train"], pairs["test"], recipe.seed)


def run_ppo(
    recipe: Recipe, parts: Parts, policy: Artifact, reward_model: Artifact, out: Path
) -> dict[str, Any]:
    tuned = stages.ppo(recipe, policy, reward_model, parts.train_prompts, out / "ppo")
    samples = {
        name: stages.sample(recipe, [artifact], parts.test_prompts, out / f"samples_{name}")
        for name, artifact in (("sft", policy), ("ppo", tuned))
    }
    answers = measured(
        out / "measured_ppo",
        {"reward_model": reward_model, **samples},
        recipe,
        lambda: {"answers": sample_scores(samples, recipe, reward_model)},
    )["answers"]
    return ppo_summary(read_metrics(out / "logs" / "ppo" / "metrics.jsonl"), answers, recipe.seed)


@contextmanager
def clock(name: str, out: Path) -> Iterator[None]:
    """Add a phase's wall seconds to ``seconds.json``, over all the runs it took."""
    file, start = out / "seconds.json", time.monotonic()
    try:
        yield
    finally:
        spent = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        spent[name] = round(spent.get(name, 0.0) + time.monotonic() - start, 1)
        file.write_text(json.dumps(spent), encoding="utf-8")


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """Every phase; the results as one JSON object."""
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    settings = [f"seed={args.seed}", f"out={out}", *(SMALL if args.small else [])]
    recipe = load(RECIPE, [*settings, *args.overrides])
    sft_recipe = load(RECIPE, [*settings, *([] if args.small else SFT_TEXTS), *args.overrides])
    host.prepare(recipe.model.num_threads)
    parts = freeze(args, [r.data.max_prompt_tokens for r in (recipe, sft_recipe)])
    with clock("sft", out):
        policy, sft = run_sft(sft_recipe, parts, out)
    with clock("reward", out):
        reward_model, reward = run_reward(recipe, parts, policy, out)
    with clock("ppo", out):
        ppo = run_ppo(recipe, parts, policy, reward_model, out)
    return {
        "model": recipe.model.name,
        "seed": args.seed,
        "small": args.small,
        "num_hh": args.num_hh,
        "overrides": args.overrides,
        "accord_version": artifacts.read(out / "ppo").manifest.accord_version,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds": json.loads((out / "seconds.json").read_text("utf-8")),
        "sft": sft,
        "reward": reward,
        "ppo": ppo,
    }


def publish(results: dict[str, Any], text: str) -> None:
    """Put the figures into the repository: JSON, and the marked part of the docs page."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    begin, end = "<!-- figures -->\n", "<!-- end of figures -->"
    before, rest = PAGE.read_text("utf-8").split(begin)
    PAGE.write_text(before + begin + text + end + rest.split(end)[1], encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/real-preferences"))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data sets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-hh", type=int, default=NUM_HH, help="pairs of hh-rlhf to use")
    parser.add_argument("--small", action="store_true", help="a few dozen rows and steps")
    parser.add_argument("--publish", action="store_true", help="write results and docs page")
    parser.add_argument("overrides", nargs="*", metavar="SECTION.FIELD=VALUE")
    args = parser.parse_args(argv)
    results = measure_all(args)
    text = tables(results)
    (args.out / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    print(text)
    if args.publish:
        publish(results, text)


if __name__ == "__main__":
    main()
