"""Keep what the frozen trunk said about rows that come again: epochs, held-out evaluations."""

from __future__ import annotations

import torch
from torch import Tensor

from accord.models.batch import TokenBatch
from accord.models.network import TRUNK, Network

MAX_BYTES = 1 << 30


class TrunkCache:
    """Adds the trunk's output to batches, computing each group of rows once.

    A group is always computed by itself, so its output does not depend on what shares its batch or
    on whether it was kept: a resumed run, which starts with an empty cache, gets the same bits.

    Args:
        network: whose trunk; without one, batches pass unchanged.
        max_bytes: outputs beyond this are computed anew each time.
    """

    def __init__(self, network: Network, max_bytes: int = MAX_BYTES) -> None:
        self._network = network
        self._room = max_bytes
        self._kept: dict[bytes, Tensor] = {}

    def __call__(self, batch: TokenBatch) -> TokenBatch:
        """The batch with ``tensors["trunk_BTD"]``; padding is zero there and never attended to."""
        if self._network.trunk is None:
            return batch
        groups: dict[int, list[int]] = {}
        for row, group in enumerate(batch.group_B.tolist()):
            groups.setdefault(group, []).append(row)
        trunk_BTD: Tensor | None = None
        for rows in groups.values():
            part_BTD = self._group(batch.select(rows))
            if trunk_BTD is None:
                shape = (*batch.input_ids_BT.shape, part_BTD.shape[-1])
                trunk_BTD = torch.zeros(shape, dtype=part_BTD.dtype, device=part_BTD.device)
            trunk_BTD[rows, : part_BTD.shape[1]] = part_BTD
        assert trunk_BTD is not None
        return batch.with_tensors(**{TRUNK: trunk_BTD})

    def _group(self, part: TokenBatch) -> Tensor:
        key = part.input_ids_BT.cpu().numpy().tobytes() + part.lengths_B.cpu().numpy().tobytes()
        found = self._kept.get(key)
        if found is None:
            found = self._network.trunk_hidden(part)
            size = found.numel() * found.element_size()
            if size <= self._room:
                self._kept[key] = found
                self._room -= size
        return found
