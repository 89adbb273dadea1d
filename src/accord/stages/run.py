"""Run: a recipe's whole loop, each stage into its own folder; finished work is never done again."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from accord.artifacts import Artifact, read
from accord.config import Recipe, dump
from accord.errors import AccordError, ArtifactError, ConfigError
from accord.stages.collect import People, collect, gold_world, serving
from accord.stages.dpo import dpo
from accord.stages.evaluate import evaluate
from accord.stages.inputs import Inputs, inputs
from accord.stages.ppo import ppo
from accord.stages.reward import reward
from accord.stages.sample import sample
from accord.stages.sft import sft

STAGES = ("sft", "sample", "collect", "reward", "ppo", "dpo", "evaluate")


def run(recipe: Recipe, only: str | None = None, people: People | None = None) -> Artifact:
    """Execute the loop into ``recipe.out``; interrupted work goes on where it stopped.

    Args:
        recipe: all sections are used.
        only: run one stage, with what earlier stages left in ``recipe.out``.
        people: how people judge, needed where ``collect.raters`` is ``studio``; the command line
            serves the studio.

    Returns:
        The last artifact made: the report, or that of the one stage.

    Raises:
        ArtifactError: ``only`` needs an artifact that is not there yet, or a folder holds the
            result of other settings.
        ConfigError: nobody could judge the completions or the policies.
    """
    out = Path(recipe.out)
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ArtifactError(f"another accord run is working in {out}; wait, or stop it") from error
    try:
        return _run(recipe, out, only, people)
    finally:
        lock.release()


def _run(recipe: Recipe, out: Path, only: str | None, people: People | None) -> Artifact:
    given = inputs(recipe, out)
    kept = out / "recipe.yaml"
    before = kept.read_text(encoding="utf-8") if kept.exists() else None
    kept.write_text(dump(recipe), encoding="utf-8")
    try:
        return _stages(_Loop(recipe, out, given, people), only)
    except AccordError:
        if before is not None:  # what was refused must not rename what is there
            kept.write_text(before, encoding="utf-8")
        raise


def _stages(loop: _Loop, only: str | None) -> Artifact:
    if only is not None:
        return loop.stage(only)
    _someone_judges(loop)
    for name in STAGES:
        if name in ("sample", "collect") and loop.given.comparisons is not None:
            continue
        made = loop.stage(name)
    return made


def _someone_judges(loop: _Loop) -> None:
    """Refuse what `collect` or `evaluate` would refuse, before hours of training.

    Raises:
        ConfigError: no gold score for simulated raters, or nobody to judge the policies.
    """
    recipe = loop.recipe
    if loop.by_people:
        serving(recipe, loop.people)
    if loop.given.comparisons is None and not loop.by_people:
        gold_world(recipe)
    elif recipe.collect.judge_fraction == 0 and loop.gold() is None:
        raise ConfigError(
            "collect.judge_fraction: 0 leaves nobody to judge the policies; set it above 0, so "
            "that a part of your comparisons trains a held-out judge"
        )


class _Loop:
    """Where each stage finds its inputs and puts its artifact."""

    def __init__(
        self, recipe: Recipe, out: Path, given: Inputs, people: People | None = None
    ) -> None:
        self.recipe, self.out, self.given, self.people = recipe, out, given, people

    @property
    def by_people(self) -> bool:
        """Whether people, and not simulated raters or a file, say what is better."""
        return self.given.comparisons is None and self.recipe.collect.raters == "studio"

    def stage(self, name: str) -> Artifact:
        recipe, out, given = self.recipe, self.out, self.given
        match name:
            case "sft":
                if given.demonstrations is None:
                    raise ArtifactError("sft: set data.demonstrations to what it should learn from")
                return sft(recipe, recipe.model.name, given.demonstrations, out / "sft")
            case "sample":
                return sample(recipe, [self.find("sft")], given.prompts, out / "samples")
            case "collect":
                return collect(recipe, self.find("samples"), out / "comparisons", self.people)
            case "reward":
                return self.reward_models()
            case "ppo":
                return ppo(
                    recipe, self.find("sft"), self.find("reward"), given.prompts, out / "ppo"
                )
            case "dpo":
                return dpo(recipe, self.find("sft"), self.comparisons(), out / "dpo")
            case "evaluate":
                return self.evaluate()
        raise ArtifactError(f"unknown stage {name!r}; stages: {', '.join(STAGES)}")

    def reward_models(self) -> Artifact:
        """The reward model, and beside it the judge that no policy is trained against."""
        samples = read(self.out / "samples") if (self.out / "samples").exists() else None
        args = (self.recipe, self.find("sft"), self.comparisons())
        if self.recipe.collect.judge_fraction > 0:
            reward(*args, self.out / "judge", samples, part="judge")
        return reward(*args, self.out / "reward", samples)

    def evaluate(self) -> Artifact:
        policies = {
            name: read(self.out / name)
            for name in ("sft", "ppo", "dpo")
            if (self.out / name).exists()
        }
        judge = read(self.out / "judge") if (self.out / "judge").exists() else None
        return evaluate(
            self.recipe, policies, self.given.heldout_prompts, self.out / "report", judge,
            self.gold(),
        )  # fmt: skip

    def gold(self) -> str | None:
        """The world whose gold score judges as well; None where the prompts come from none."""
        if self.given.comparisons is not None:
            return None
        if self.by_people and not (self.recipe.data.prompts or "").startswith("builtin:"):
            return None if self.recipe.collect.gold == "auto" else self.recipe.collect.gold
        return gold_world(self.recipe)

    def comparisons(self) -> Artifact:
        return self.given.comparisons or self.find("comparisons")

    def find(self, name: str) -> Artifact:
        path = self.out / name
        if not path.exists():
            stage = {"samples": "sample", "comparisons": "collect"}.get(name, name)
            raise ArtifactError(f"{path} is not there yet; run `accord {stage}` on this recipe")
        return read(path)
