"""The recipe: one section per stage, and the checks that span sections."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PrivateAttr, model_validator

from accord.config.fields import Name, Section, require
from accord.config.sections import (
    CollectConfig,
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    SampleConfig,
    StudioConfig,
)
from accord.config.training import DPOConfig, PPOConfig, RewardConfig, SFTConfig
from accord.config.webhooks import WebhookConfig


class Recipe(Section):
    """Everything that determines a run. Built by :func:`accord.config.load`, or in Python.

    Raises:
        pydantic.ValidationError: built in Python with a wrong value (``load`` raises ConfigError).
    """

    preset: str | list[str] | None = None
    """Names of presets to start from (`instructgpt`, `huang2024`...); later ones win over earlier
    ones, and what the recipe itself says wins over all."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every random draw: the same seed on the same machine gives the same weights."""

    out: Name = "runs/default"
    """Folder that the run's artifacts are written into."""

    model: ModelConfig = ModelConfig()
    """The language model that every stage starts from."""

    data: DataConfig = DataConfig()
    """Demonstrations, prompts, comparisons."""

    sft: SFTConfig = SFTConfig()
    """Supervised fine-tuning."""

    sample: SampleConfig = SampleConfig()
    """Candidate completions for the raters."""

    collect: CollectConfig = CollectConfig()
    """Raters and their comparisons."""

    studio: StudioConfig = StudioConfig()
    """The round that people judge, when `collect.raters` is `studio`."""

    webhook: WebhookConfig = WebhookConfig()
    """A program that the studio tells when something happens in a round."""

    reward: RewardConfig = RewardConfig()
    """Reward model."""

    ppo: PPOConfig = PPOConfig()
    """Reinforcement learning against the reward model."""

    dpo: DPOConfig = DPOConfig()
    """Direct preference optimisation."""

    evaluate: EvaluateConfig = EvaluateConfig()
    """Comparison of the policies on held-out prompts."""

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def source(self, key: str) -> str:
        """Where a value came from: `default`, `preset NAME`, `FILE:LINE` or `command line`.

        Args:
            key: dotted, such as ``ppo.kl_coef``.
        """
        return self._sources.get(key, "default")

    def __eq__(self, other: object) -> bool:
        """Equal if all values are, wherever they came from."""
        return isinstance(other, Recipe) and self.model_dump() == other.model_dump()

    @model_validator(mode="after")
    def _check(self) -> Self:
        longest = self.model.max_tokens - self.data.max_prompt_tokens
        require(
            longest > 0,
            f"data.max_prompt_tokens ({self.data.max_prompt_tokens}) leaves no room for a "
            f"completion within model.max_tokens ({self.model.max_tokens})",
            "data.max_prompt_tokens",
            "model.max_tokens",
        )
        lengths = {
            "sample": self.sample.max_tokens,
            "ppo": self.ppo.max_tokens,
            "evaluate": self.evaluate.max_tokens,
        }
        for name, max_tokens in lengths.items():
            require(
                max_tokens <= longest,
                f"{name}.max_tokens ({max_tokens}) and data.max_prompt_tokens "
                f"({self.data.max_prompt_tokens}) together exceed model.max_tokens "
                f"({self.model.max_tokens}): raise the last or lower one of the others",
                f"{name}.max_tokens",
                "model.max_tokens",
                "data.max_prompt_tokens",
            )
        candidates = self.sample.num_candidates
        pairs = candidates * (candidates - 1) // 2
        require(
            self.data.comparisons is not None or self.collect.pairs_per_prompt <= pairs,
            f"collect.pairs_per_prompt ({self.collect.pairs_per_prompt}) is more than the {pairs} "
            f"pairs of sample.num_candidates ({candidates}); 0 takes all",
            "collect.pairs_per_prompt",
            "sample.num_candidates",
        )
        return self
