"""Recipes: frozen typed sections, loaded strictly, with the origin of every value kept."""

from accord.config.fields import Section
from accord.config.loading import dump, explain, load, presets
from accord.config.recipe import Recipe
from accord.config.sections import (
    CollectConfig,
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    SampleConfig,
    StudioConfig,
)
from accord.config.training import (
    DPOConfig,
    PPOConfig,
    RewardConfig,
    SFTConfig,
    TrainingConfig,
)

__all__ = [
    "CollectConfig",
    "DPOConfig",
    "DataConfig",
    "EvaluateConfig",
    "ModelConfig",
    "PPOConfig",
    "Recipe",
    "RewardConfig",
    "SFTConfig",
    "SampleConfig",
    "Section",
    "StudioConfig",
    "TrainingConfig",
    "dump",
    "explain",
    "load",
    "presets",
]
