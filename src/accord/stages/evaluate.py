"""Evaluate: is a tuned policy better than the SFT policy on prompts that nothing was trained on?

Each policy answers the held-out prompts; gold raters and a reward model trained on other
comparisons judge the answers, paired by prompt; KL, lengths and diversity say at what price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accord import artifacts, worlds
from accord.algorithms import sequence_kl
from accord.artifacts import Artifact
from accord.config import EvaluateConfig, Recipe, dump
from accord.engine import LocalSampler, SamplingParams, host, per_token
from accord.errors import ArtifactError
from accord.gauges import diversity, kl, length, win_rate
from accord.gauges.page import ReportContext, SampleRow, render
from accord.models.batch import TokenRow, collate
from accord.models.load import RewardModel, load_policy, load_reward_model
from accord.models.network import read_scores, share_trunk
from accord.tracking import Tracker, read_metrics
from accord.types import Completion, Prompt, Reading, Sample

TOKENS_AT_ONCE = 4096
GOLD, JUDGE = "gold raters", "held-out reward model"


@dataclass(frozen=True)
class Answers:
    """What one policy answered; one inner list a prompt."""

    samples: list[Sample]
    kl: list[list[float]]
    num_tokens: list[list[int]]
    scores: dict[str, list[list[float]]]


def evaluate(
    recipe: Recipe,
    policies: Mapping[str, Artifact],
    prompts: Artifact,
    out: Path,
    judge: Artifact | None = None,
    gold: str | None = None,
    reference: str = "sft",
) -> Artifact:
    """Compare policies with the reference and write a page about it.

    Args:
        recipe: section ``evaluate`` is used.
        policies: name -> policy artifact, the reference among them.
        prompts: held-out prompts.
        out: folder of the new artifact.
        judge: a reward model that no policy was trained against.
        gold: name of the world whose gold score judges, if the prompts come from one.
        reference: name of the policy that the others are compared with.

    Returns:
        An artifact of kind "report": ``index.html``, ``records.jsonl`` (readings) and the samples.

    Raises:
        ArtifactError: the reference is not among the policies, or nobody is there to judge.
    """
    if reference not in policies:
        raise ArtifactError(f"evaluate: no policy {reference!r} among {', '.join(policies)}")
    if judge is None and gold is None:
        raise ArtifactError("evaluate: needs a held-out reward model or a world's gold score")
    config = {
        "evaluate": recipe.evaluate.identity(), "model": recipe.model.identity(),
        "gold": gold, "reference": reference,
    }  # fmt: skip
    parents = {"prompts": prompts, **policies}
    if judge is not None:
        parents["judge"] = judge
    made = artifacts.current(out, "report", parents=parents, config=config, seed=recipe.seed)
    if made is not None:
        return made
    host.prepare(recipe.model.num_threads)
    asked = [p for p in prompts.records() if isinstance(p, Prompt)]
    judge_model = None if judge is None else load_reward_model(judge.path, recipe.model)
    answers = {}
    with Tracker(out.parent / "logs" / out.name, "evaluate", len(policies), trackers=()) as tracker:
        tracker.truncate(0)
        for number, (name, artifact) in enumerate(policies.items(), start=1):
            answers[name] = _answer(recipe, artifact, policies[reference], asked, judge_model, gold)
            kl_mean = sum(map(sum, answers[name].kl)) / sum(map(len, answers[name].kl))
            tracker.log(number, {"evaluate/kl": kl_mean})
    if judge_model is not None:
        _score_alike(answers.values())
    target = recipe.ppo.kl_target
    readings = {
        name: _readings(
            recipe, answers[name], answers[reference], target if name == "ppo" else None
        )
        for name in policies
        if name != reference
    }
    own = answers[reference].samples
    readings[reference] = [
        *length.read(own, confidence=recipe.evaluate.confidence, seed=recipe.seed),
        *diversity.read(own, confidence=recipe.evaluate.confidence, seed=recipe.seed),
    ]
    page = _page(recipe, answers, readings, policies, out, reference)
    metrics = {
        f"{name}/{r.gauge}": r.value
        for name, group in readings.items()
        for r in group
        if r.gauge.startswith(("win_rate", "kl/sequence"))
    }
    with artifacts.write(
        out, "report", parents=parents, config=config, seed=recipe.seed, metrics=metrics
    ) as folder:
        (folder / "index.html").write_text(page, encoding="utf-8")
        for name, group in readings.items():
            artifacts.write_records(folder, group, f"readings-{name}.jsonl")
        for name, given in answers.items():
            artifacts.write_records(folder, given.samples, f"samples-{name}.jsonl")
    return artifacts.read(out)


def _answer(
    recipe: Recipe,
    artifact: Artifact,
    reference: Artifact,
    prompts: Sequence[Prompt],
    judge: RewardModel | None,
    gold: str | None,
) -> Answers:
    """Sample one policy on every prompt; KL and scores of what it said."""
    config = recipe.evaluate
    policy = load_policy(artifact.path, recipe.model)
    before = load_policy(reference.path, recipe.model).network
    share_trunk(policy.network, before)
    if judge is not None:
        share_trunk(policy.network, judge.network)
    encoder = policy.encoder(recipe)
    tokens = [encoder.prompt(prompt) for prompt in prompts]
    drawn = LocalSampler(policy).sample(tokens, _params(config, recipe.seed))
    samples, kls, judged = [], [], []
    for prompt, ids, completions in zip(prompts, tokens, drawn, strict=True):
        samples.append(
            Sample(
                prompt,
                tuple(
                    Completion(policy.text(c.tokens), artifact.hash, c.finished)
                    for c in completions
                ),
            )
        )
        rows = [TokenRow(ids, c.tokens) for c in completions]
        batch = policy.network.with_trunk(collate(rows, policy.pad_id))
        ours_BT = per_token(policy.network, batch, TOKENS_AT_ONCE, config.temperature)
        theirs_BT = per_token(before, batch, TOKENS_AT_ONCE, config.temperature)
        kls.append(sequence_kl(ours_BT - theirs_BT, batch.response_mask_BT).tolist())
        if judge is not None:
            heads_BT = per_token(judge.network, batch, TOKENS_AT_ONCE)
            judged.append(read_scores(heads_BT, batch).tolist())
    scores: dict[str, list[list[float]]] = {}
    if gold is not None:
        score = worlds.get(gold).gold
        scores[GOLD] = [[score(s.prompt, c) for c in s.completions] for s in samples]
    if judge is not None:
        scores[JUDGE] = judged
    num_tokens = [[len(c.tokens) for c in completions] for completions in drawn]
    return Answers(samples, kls, num_tokens, scores)


def _score_alike(answers: Iterable[Answers]) -> None:
    """Give the same words the same score: batches move its last bits, and would decide a tie."""
    known: dict[tuple[int, str, bool], float] = {}
    for given in answers:
        for i, sample in enumerate(given.samples):
            scores = given.scores[JUDGE]
            scores[i] = [
                known.setdefault((i, c.text, c.finished), score)
                for c, score in zip(sample.completions, scores[i], strict=True)
            ]


def _readings(
    recipe: Recipe, ours: Answers, theirs: Answers, kl_target: float | None
) -> list[Reading]:
    config, seed = recipe.evaluate, recipe.seed
    readings: list[Reading] = []
    for scorer, scores in ours.scores.items():
        readings += win_rate.read(
            scores, theirs.scores[scorer], scorer, config.win_margin, config.confidence, seed
        )
    readings += kl.read(
        ours.kl,
        target=kl_target,
        num_tokens=ours.num_tokens,
        confidence=config.confidence,
        seed=seed,
    )
    scorer = next(iter(ours.scores))
    readings += length.read(
        ours.samples, theirs.samples, ours.scores[scorer], config.confidence, seed=seed
    )
    readings += diversity.read(ours.samples, theirs.samples, config.confidence, seed=seed)
    return readings


def _page(
    recipe: Recipe,
    answers: Mapping[str, Answers],
    readings: Mapping[str, list[Reading]],
    policies: Mapping[str, Artifact],
    out: Path,
    reference: str,
) -> str:
    logs = out.parent / "logs"
    curves = {
        name: read_metrics(logs / name / "metrics.jsonl")
        for name in ("sft", "reward", "ppo", "dpo")
        if (logs / name / "metrics.jsonl").is_file()
    }
    scorer = next(iter(answers[reference].scores))
    shown = [
        SampleRow(
            prompt=sample.prompt.text,
            answers={
                name: (
                    given.samples[i].completions[0].text,
                    given.scores[scorer][i][0],
                    given.samples[i].completions[0].finished,
                )
                for name, given in answers.items()
            },
        )
        for i, sample in enumerate(answers[reference].samples[: recipe.evaluate.num_shown])
    ]
    lineage = "\n".join(f"{name}: {artifact.hash}" for name, artifact in policies.items())
    return render(
        ReportContext(
            title=f"accord: {recipe.model.name}, seed {recipe.seed}",
            comparisons=[
                (name, reading.gauge.removeprefix("win_rate/"), reading)
                for name, group in readings.items()
                for reading in group
                if reading.gauge.startswith("win_rate/")
            ],
            readings=readings,
            curves=curves,
            samples=shown,
            recipe_yaml=dump(recipe),
            lineage_text=lineage,
            notes=[f"Scores beside the answers are the {scorer}'."],
            reference=reference,
            facts={
                "model": recipe.model.name,
                "seed": str(recipe.seed),
                "held-out prompts": str(len(answers[reference].samples)),
                "answers a prompt": str(recipe.evaluate.num_samples),
            },
            confidence=recipe.evaluate.confidence,
        )
    )


def _params(config: EvaluateConfig, seed: int) -> SamplingParams:
    return SamplingParams(
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        num_candidates=config.num_samples,
        batch_size=config.batch_size,
        seed=seed,
        key=("evaluate",),
    )
