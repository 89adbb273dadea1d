"""Counter-based randomness under the name raters know it by; it lives in :mod:`accord.rng`."""

from accord.rng import FloatArray, Key, integer_seed, uniform

__all__ = ["FloatArray", "Key", "integer_seed", "uniform"]
