"""Where models run: the few verbs that touch hardware, local here, remote behind the same words."""

from accord.engine.learner import AdamSettings, LocalLearner, per_token
from accord.engine.protocols import (
    Learner,
    Loss,
    Metrics,
    Outputs,
    SampledTokens,
    Sampler,
    SamplingParams,
)
from accord.engine.sampler import LocalSampler

__all__ = [
    "AdamSettings",
    "Learner",
    "LocalLearner",
    "LocalSampler",
    "Loss",
    "Metrics",
    "Outputs",
    "SampledTokens",
    "Sampler",
    "SamplingParams",
    "per_token",
]
