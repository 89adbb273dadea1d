"""Checks on numbers: what is not finite, and which arguments are out of range."""

from __future__ import annotations

import torch
from torch import Tensor


def first_nonfinite(**tensors: Tensor | float) -> str | None:
    """The name of the first argument that holds a NaN or an infinity, or None.

    Losses never raise on such numbers; a stage calls this before it steps, saves the batch and
    stops. Whatever padding may hold should be masked before it comes here.
    """
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(torch.as_tensor(tensor)).all()):
            return name
    return None


def check_positive(**values: float) -> None:
    """Refuse any value that is not above zero (NaN included).

    Raises:
        ValueError: with the name and the value.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be above 0")


def check_range(low: float, high: float, **values: float) -> None:
    """Refuse any value outside ``[low, high]`` (NaN included).

    Raises:
        ValueError: with the name, the value and the range.
    """
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; it must lie in [{low}, {high}]")
