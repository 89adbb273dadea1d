"""Sample: K candidates for every prompt, from one policy or several, for people to compare.

With ``sample.best_of = n`` each candidate is itself the best of n by a reward model (rejection
sampling; Bai et al. 2022, section 4.5).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from accord import artifacts
from accord.artifacts import Artifact
from accord.config import Recipe
from accord.engine import LocalSampler, SampledTokens, SamplingParams, host, per_token
from accord.errors import ArtifactError, ConfigError
from accord.models.batch import TokenRow, collate
from accord.models.load import Policy, RewardModel, load_policy, load_reward_model
from accord.models.network import read_scores
from accord.tracking import Tracker
from accord.types import Completion, Prompt, Sample, from_dict

PROMPTS_AT_ONCE = 32


def sample(
    recipe: Recipe,
    policies: Sequence[Artifact],
    prompts: Artifact,
    out: Path,
    reward_model: Artifact | None = None,
) -> Artifact:
    """Draw ``sample.num_candidates`` completions a prompt, shared evenly between the policies.

    Args:
        recipe: section ``sample`` is used.
        policies: one or more policy artifacts; candidate k comes from policy k modulo their number.
        prompts: artifact of kind "prompts".
        out: folder of the new artifact.
        reward_model: needed when ``sample.best_of`` > 1.

    Returns:
        An artifact of kind "samples": one ``Sample`` record a prompt.
    """
    config = {"sample": recipe.sample.identity(), "model": recipe.model.identity()}
    parents = {"prompts": prompts, **{f"policy_{i}": p for i, p in enumerate(policies)}}
    if recipe.sample.best_of > 1:
        if reward_model is None:
            raise ArtifactError("sample.best_of > 1 needs a reward model: pass reward_model")
        parents["reward_model"] = reward_model
    made = artifacts.current(out, "samples", parents=parents, config=config, seed=recipe.seed)
    if made is not None:
        return made
    work = artifacts.workspace(out, artifacts.fingerprint("samples", parents, config, recipe.seed))
    if len(policies) > recipe.sample.num_candidates:
        raise ConfigError(
            f"sample.num_candidates ({recipe.sample.num_candidates}) must be at least the number "
            f"of policies ({len(policies)}), so that each of them speaks"
        )
    host.prepare(recipe.model.num_threads)
    asked = [p for p in prompts.records() if isinstance(p, Prompt)]
    candidates: list[list[Completion]] = [[] for _ in asked]
    every = recipe.sample.num_candidates
    shares = [len(range(i, every, len(policies))) for i in range(len(policies))]
    total = len(asked) * len(policies)
    judge = None if reward_model is None else load_reward_model(reward_model.path, recipe.model)
    with Tracker(out.parent / "logs" / out.name, "sample", total, trackers=()) as tracker:
        if not any(work.glob("part-*.jsonl")):
            tracker.truncate(0)  # lines of an earlier run with other settings
        for number, (artifact, share) in enumerate(zip(policies, shares, strict=True)):
            policy = load_policy(artifact.path, recipe.model)
            sampler = LocalSampler(policy)
            for start in range(0, len(asked), PROMPTS_AT_ONCE):
                part = asked[start : start + PROMPTS_AT_ONCE]
                name = f"part-{number}-{start}.jsonl"
                if not (work / name).exists():
                    drawn = _draw(
                        recipe, policy, sampler, judge, part, share, (artifact.hash, start)
                    )
                    made_now = [
                        Sample(
                            prompt,
                            tuple(
                                Completion(policy.text(c.tokens), artifact.hash, c.finished)
                                for c in completions
                            ),
                        )
                        for prompt, completions in zip(part, drawn, strict=True)
                    ]
                    artifacts.write_records(work, made_now, f"{name}.tmp")
                    (work / f"{name}.tmp").rename(work / name)
                    tracker.log(number * len(asked) + start + len(part), _lengths(drawn))
                for i, sample in enumerate(_read(work / name), start=start):
                    candidates[i] += sample.completions
    with artifacts.write(
        out, "samples", parents=parents, config=config, seed=recipe.seed
    ) as folder:
        artifacts.write_records(
            folder, (Sample(p, tuple(c)) for p, c in zip(asked, candidates, strict=True))
        )
    artifacts.finish(work)
    return artifacts.read(out)


def _read(path: Path) -> list[Sample]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        records = [from_dict(json.loads(line)) for line in lines]
    return [record for record in records if isinstance(record, Sample)]


def _draw(
    recipe: Recipe,
    policy: Policy,
    sampler: LocalSampler,
    judge: RewardModel | None,
    prompts: Sequence[Prompt],
    num_candidates: int,
    key: tuple[int | str, ...],
) -> list[list[SampledTokens]]:
    config, encoder = recipe.sample, policy.encoder(recipe)
    tokens = [encoder.prompt(prompt) for prompt in prompts]
    drawn = sampler.sample(
        tokens,
        SamplingParams(
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=config.top_p,
            num_candidates=num_candidates * config.best_of,
            batch_size=config.batch_size,
            seed=recipe.seed,
            key=("sample", *key),
        ),
    )
    if config.best_of == 1 or judge is None:
        return drawn
    best: list[list[SampledTokens]] = []
    for prompt, completions in zip(tokens, drawn, strict=True):
        rows = [TokenRow(prompt, c.tokens) for c in completions]
        batch = collate(rows, policy.pad_id)
        heads_BT = per_token(judge.network, batch, 4096)
        scores = read_scores(heads_BT, batch).tolist()
        best.append(
            [
                max(zip(scores[k::num_candidates], completions[k::num_candidates], strict=True),
                    key=lambda pair: pair[0])[1]
                for k in range(num_candidates)
            ]
        )  # fmt: skip
    return best


def _lengths(drawn: Sequence[Sequence[SampledTokens]]) -> dict[str, float]:
    every = [completion for completions in drawn for completion in completions]
    return {
        "sample/length": sum(len(c.tokens) for c in every) / len(every),
        "sample/eos_rate": sum(c.finished for c in every) / len(every),
    }
