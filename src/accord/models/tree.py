"""A Hugging Face causal LM as the next-token function that exact enumeration walks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


class NextLogprobs:
    """Log-probabilities of the next token for a growing tree of prefixes, with a key-value cache.

    Each call extends rows of the call before (see :data:`accord.worlds.optimum.NextLogprobs`); one
    object serves one walk, at temperature 1.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._cache: Any = None

    @torch.inference_mode()
    def __call__(
        self, parents_N: NDArray[np.int64], tokens_NT: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """``logprobs_NV`` after ``tokens_NT``; row i continues row ``parents_N[i]`` of last."""
        if self._cache is not None:
            self._cache.reorder_cache(torch.as_tensor(parents_N))
        outputs = self._network(
            input_ids=torch.as_tensor(tokens_NT), past_key_values=self._cache, use_cache=True
        )
        self._cache = outputs.past_key_values
        logprobs_NV: NDArray[np.float64] = outputs.logits[:, -1].double().log_softmax(-1).numpy()
        return logprobs_NV
