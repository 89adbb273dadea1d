"""Stages: one file each, read from top to bottom: load, loop, save."""

from accord.stages.collect import collect
from accord.stages.dpo import dpo
from accord.stages.evaluate import evaluate
from accord.stages.inputs import Inputs, inputs
from accord.stages.ppo import ppo
from accord.stages.reward import reward
from accord.stages.run import run
from accord.stages.sample import sample
from accord.stages.sft import sft

__all__ = [
    "Inputs",
    "collect",
    "dpo",
    "evaluate",
    "inputs",
    "ppo",
    "reward",
    "run",
    "sample",
    "sft",
]
