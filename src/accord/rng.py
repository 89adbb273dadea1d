"""Counter-based randomness: every draw is a function of a seed and a key, never of history.

A draw named ``(seed, "rater", "rater-2", "prompt-7")`` has the same value whatever was drawn before
it, in whichever order, process or resumed run. The key is hashed with BLAKE2b into the 128-bit key
of a Philox counter generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
Only NumPy's raw Philox stream is used, which NumPy promises never to change; its distribution
methods carry no such promise.
"""

from __future__ import annotations

import hashlib
import math
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Key: TypeAlias = int | str


def _digest(seed: int, key: tuple[Key, ...], size: int) -> int:
    """Hash of the seed and the key; each part is tagged and sized, so no two keys collide."""
    state = hashlib.blake2b(digest_size=size)
    for part in (seed, *key):
        text = part.encode() if isinstance(part, str) else b"%d" % part
        state.update(b"%c%d:" % (b"s" if isinstance(part, str) else b"i", len(text)) + text)
    return int.from_bytes(state.digest(), "little")


def integer_seed(seed: int, *key: Key) -> int:
    """A seed in [0, 2**63) for a generator that is not ours (``torch.Generator`` and the like)."""
    return _digest(seed, key, 8) >> 1


@overload
def uniform(seed: int, *key: Key, size: None = None) -> float: ...
@overload
def uniform(seed: int, *key: Key, size: int | tuple[int, ...]) -> FloatArray: ...
def uniform(seed: int, *key: Key, size: int | tuple[int, ...] | None = None) -> float | FloatArray:
    """Uniform draws in [0, 1) with 53 random bits, determined by ``(seed, *key)`` alone.

    Args:
        seed: the run's seed.
        *key: names of the purpose and the place of the draw; ``1`` and ``"1"`` are different keys.
        size: None for one float, else the shape of the array. A longer array starts with the
            shorter one's values.
    """
    shape = (size,) if isinstance(size, int) else (size or ())
    raw = np.random.Philox(key=_digest(seed, key, 16)).random_raw(math.prod(shape))
    values: FloatArray = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return float(values[0]) if size is None else values.reshape(shape)
