"""Collect: raters say which candidate is better; their verdicts become comparisons.

Simulated raters (a gold score that we define, with noise and biases) may stand in for people here;
everything downstream then has a known truth. People judge in the studio, which the caller serves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from accord import artifacts, worlds
from accord.artifacts import Artifact
from accord.config import Recipe
from accord.errors import ConfigError
from accord.feedback.simulate import SimulatedRaters
from accord.tracking import Tracker
from accord.types import Comparison, Sample

People: TypeAlias = Callable[[Recipe, Artifact, Path], Artifact]
"""Serves samples to people and returns what they said as the artifact at the given path."""


def collect(recipe: Recipe, samples: Artifact, out: Path, people: People | None = None) -> Artifact:
    """Have every sample judged.

    Args:
        recipe: section ``collect`` is used; ``collect.gold`` names the world whose score the
            simulated raters follow ("auto": the world of ``data.prompts``).
        samples: artifact of kind "samples".
        out: folder of the new artifact.
        people: how people judge, needed where ``collect.raters`` is ``studio``.

    Returns:
        An artifact of kind "comparisons": ``Comparison`` or ``Ranking`` records.
    """
    if recipe.collect.raters == "studio":
        return serving(recipe, people)(recipe, samples, out)
    config = {"collect": recipe.collect.identity(), "gold": gold_world(recipe)}
    parents = {"samples": samples}
    made = artifacts.current(out, "comparisons", parents=parents, config=config, seed=recipe.seed)
    if made is not None:
        return made
    asked = [s for s in samples.records() if isinstance(s, Sample)]
    raters = SimulatedRaters(recipe.collect, worlds.get(gold_world(recipe)).gold, recipe.seed)
    verdicts = []
    with Tracker(out.parent / "logs" / out.name, "collect", len(asked), trackers=()) as tracker:
        tracker.truncate(0)
        for number, sample in enumerate(asked, start=1):
            verdicts += raters.judge(sample)
            if number % 50 == 0 or number == len(asked):
                tracker.log(number, {"collect/verdicts": len(verdicts)})
    if not verdicts:
        raise ConfigError(
            "collect: no prompt has two different candidates to compare; raise "
            "sample.temperature or sample.num_candidates"
        )
    pairs = [v for v in verdicts if isinstance(v, Comparison)]
    metrics = {
        "num_verdicts": len(verdicts),
        "tie_rate": sum(v.choice == "tie" for v in pairs) / len(pairs) if pairs else None,
    }
    with artifacts.write(
        out, "comparisons", parents=parents, config=config, seed=recipe.seed, metrics=metrics
    ) as folder:
        artifacts.write_records(folder, verdicts)
    return artifacts.read(out)


def serving(recipe: Recipe, people: People | None) -> People:
    """How people judge.

    Raises:
        ConfigError: nobody serves the studio here, or its round makes no comparisons.
    """
    if people is None:
        raise ConfigError(
            "collect.raters: studio needs someone who serves it: run this recipe with `accord run` "
            "or `accord collect`, or pass people= in Python"
        )
    if recipe.studio.task not in ("compare", "rank") or recipe.studio.purpose != "train":
        raise ConfigError(
            f"studio.task: {recipe.studio.task} ({recipe.studio.purpose}) makes no comparisons of "
            "the run's samples; use compare or rank, or serve this round with `accord studio`"
        )
    return people


def gold_world(recipe: Recipe) -> str:
    """Name of the world whose gold score judges this recipe's prompts."""
    if recipe.collect.gold != "auto":
        return recipe.collect.gold
    source = recipe.data.prompts or ""
    if source.startswith("builtin:"):
        return source.removeprefix("builtin:")
    raise ConfigError(
        "collect.gold: simulated raters need a gold score; set collect.gold to tiny or assistant, "
        "or bring your own comparisons with data.comparisons"
    )
