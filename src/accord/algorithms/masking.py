"""Sums, means and whitening over the entries that count.

Shapes: B batch, T tokens. A mask is boolean and True means "counts". Masking is done with
``torch.where``, never by multiplication, so that a NaN or an infinity in padding reaches neither
the result nor the gradient. A mask with no True entry gives 0 / 0 = NaN where a mean is asked for,
unless a denominator is given.
"""

from __future__ import annotations

import torch
from torch import Tensor


def check(mask: Tensor | None = None, *, rank: int | None = None, **tensors: Tensor) -> None:
    """Check at the door that tensors are floating point, of one shape, and the mask boolean.

    Args:
        mask: boolean tensor that every other tensor must match in shape; None compares the tensors
            with the first of them.
        rank: number of dimensions they must have; None accepts any.
        tensors: the tensors under the names that an error shall show.

    Raises:
        TypeError: the mask is not boolean, or a tensor is not floating point.
        ValueError: a shape differs (nothing is ever broadcast), or the rank is another.
    """
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError(f"mask is {mask.dtype}; it must be torch.bool with True where it counts")
    shape = tuple(next(iter(tensors.values())).shape if mask is None else mask.shape)
    if rank is not None and len(shape) != rank:
        raise ValueError(f"{'/'.join(tensors) or 'mask'} must have {rank} dimensions, not {shape}")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be {shape}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} is {tensor.dtype}; it must be floating point")


def masked_sum(x: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Sum of the entries of ``x`` that count, over everything or over one dimension."""
    kept = torch.where(mask, x, 0.0)
    return kept.sum() if dim is None else kept.sum(dim)


def masked_mean(x: Tensor, mask: Tensor, denominator: float | Tensor | None = None) -> Tensor:
    """Masked sum of ``x`` over ``denominator`` (default: how many entries count); a scalar.

    With the full batch's count as denominator, the means of micro-batches add up to the mean of the
    full batch, and so do their gradients.
    """
    return masked_sum(x, mask) / (mask.sum() if denominator is None else denominator)


def masked_var(x: Tensor, mask: Tensor) -> Tensor:
    """Biased variance (divided by the count, not the count minus one) of what counts; a scalar."""
    kept = torch.where(mask, x, 0.0)  # before the square: its gradient at a NaN would be NaN
    return masked_mean((kept - masked_mean(kept, mask)) ** 2, mask)


def masked_whiten(x: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """Scale what counts to variance 1 and, with ``shift_mean``, to mean 0; elsewhere 0.

    ``shift_mean=False`` adds the mean back: rewards keep their mean, advantages lose it
    (Ziegler et al. 2019, ``whiten`` in lm-human-preferences). Same shape as ``x``.
    """
    x = torch.where(mask, x, 0.0)
    mean = masked_mean(x, mask)
    whitened = (x - mean) * torch.rsqrt(masked_var(x, mask) + 1e-8)
    return torch.where(mask, whitened if shift_mean else whitened + mean, 0.0)


def last_index(mask_BT: Tensor) -> Tensor:
    """Index of the last True in each row, (B,) int64.

    It follows from the mask alone, so it is right with padding on either side and when the
    end-of-sequence token and the padding token are the same.

    Raises:
        ValueError: a row has no True entry.
    """
    check(mask_BT, rank=2)
    empty_B = ~mask_BT.any(dim=1)
    if bool(empty_B.any()):
        raise ValueError(f"rows {empty_B.nonzero().flatten().tolist()} of the mask have no token")
    positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return torch.where(mask_BT, positions_T, -1).amax(dim=1)
