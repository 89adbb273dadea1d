"""Token rows as tensors: right-padded, with masks from lengths and never from pad ids.

Shapes: B rows, T tokens, D hidden size, S segments of a packed row.

Rows are padded on the right and attention is causal, so a pad can never be seen by a real token:
no padding mask and no shifted position ids are needed, and pad = eos cannot hide an eos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenBatch:
    """Rows of tokens with what belongs to them.

    Attributes:
        input_ids_BT: token ids, right-padded (int64).
        lengths_B: real tokens a row (int64).
        response_mask_BT: True where token t belongs to a response (bool).
        group_B: rows with equal numbers are kept in one micro-batch (int64).
        row_B: the row's number in the full batch, kept through :meth:`select` (int64).
        tensors: further tensors whose first dimension is B; those named ``*_BT*`` are cut with T.
        segments_BT: packed rows only: the number of the sequence each token belongs to.
    """

    input_ids_BT: Tensor
    lengths_B: Tensor
    response_mask_BT: Tensor
    group_B: Tensor
    row_B: Tensor
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    segments_BT: Tensor | None = None

    def __len__(self) -> int:
        return self.input_ids_BT.shape[0]

    @property
    def num_tokens(self) -> int:
        """Real tokens in the batch."""
        return int(self.lengths_B.sum())

    @property
    def num_response_tokens(self) -> int:
        """Response tokens in the batch."""
        return int(self.response_mask_BT.sum())

    def with_tensors(self, **tensors: Tensor) -> TokenBatch:
        """The same rows with more tensors (first dimension B)."""
        return replace(self, tensors={**self.tensors, **tensors})

    def responses(self, values: Sequence[Sequence[float]]) -> Tensor:
        """A number for each response token (B, T), 0 elsewhere, from one list a row."""
        flat = torch.tensor([value for row in values for value in row], dtype=torch.float32)
        spread_BT = torch.zeros(self.response_mask_BT.shape, dtype=torch.float32)
        return spread_BT.masked_scatter_(self.response_mask_BT, flat)

    def places(self, part: TokenBatch) -> Tensor:
        """Where the rows of ``part``, selected from this batch, lie in it."""
        place = {row: i for i, row in enumerate(self.row_B.tolist())}
        return torch.tensor([place[row] for row in part.row_B.tolist()])

    def select(self, rows: Sequence[int] | Tensor) -> TokenBatch:
        """Some rows, cut to the longest of them."""
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.input_ids_BT.device)
        length = int(self.lengths_B[index].max())
        return TokenBatch(
            input_ids_BT=self.input_ids_BT[index, :length],
            lengths_B=self.lengths_B[index],
            response_mask_BT=self.response_mask_BT[index, :length],
            group_B=self.group_B[index],
            row_B=self.row_B[index],
            tensors={
                name: tensor[index, :length] if "_BT" in name else tensor[index]
                for name, tensor in self.tensors.items()
            },
            segments_BT=None if self.segments_BT is None else self.segments_BT[index, :length],
        )

    def to(self, device: torch.device | str) -> TokenBatch:
        """The batch on another device."""
        return replace(
            self,
            input_ids_BT=self.input_ids_BT.to(device),
            lengths_B=self.lengths_B.to(device),
            response_mask_BT=self.response_mask_BT.to(device),
            group_B=self.group_B.to(device),
            row_B=self.row_B.to(device),
            tensors={name: tensor.to(device) for name, tensor in self.tensors.items()},
            segments_BT=None if self.segments_BT is None else self.segments_BT.to(device),
        )


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One prompt with one response, as token ids."""

    prompt: Sequence[int]
    response: Sequence[int]
    group: int = 0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def collate(rows: Sequence[TokenRow], pad_id: int) -> TokenBatch:
    """Right-pad rows into a batch; a row's response is what its mask counts."""
    if not rows:
        raise ValueError("collate needs at least one row")
    length = max(len(row) for row in rows)
    input_ids_BT = torch.full((len(rows), length), pad_id, dtype=torch.int64)
    response_mask_BT = torch.zeros((len(rows), length), dtype=torch.bool)
    for i, row in enumerate(rows):
        tokens = [*row.prompt, *row.response]
        input_ids_BT[i, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        response_mask_BT[i, len(row.prompt) : len(tokens)] = True
    response_mask_BT[:, 0] = False  # the first token of a row has no prediction
    return TokenBatch(
        input_ids_BT=input_ids_BT,
        lengths_B=torch.tensor([len(row) for row in rows]),
        response_mask_BT=response_mask_BT,
        group_B=torch.tensor([row.group for row in rows]),
        row_B=torch.arange(len(rows)),
    )


def pack(rows: Sequence[TokenRow], pad_id: int, max_tokens: int) -> TokenBatch:
    """Put rows behind one another into rows of at most ``max_tokens``, first fit by length.

    ``segments_BT`` tells the sequences apart; attention and positions respect it, so a packed loss
    equals the unpacked one.
    """
    bins: list[list[TokenRow]] = []
    room: list[int] = []
    for row in sorted(rows, key=len, reverse=True):
        place = next((i for i, free in enumerate(room) if free >= len(row)), None)
        if place is None:
            bins.append([row])
            room.append(max(max_tokens, len(row)) - len(row))
        else:
            bins[place].append(row)
            room[place] -= len(row)
    joined = [
        TokenRow(prompt=(), response=[t for row in bin for t in (*row.prompt, *row.response)])
        for bin in bins
    ]
    batch = collate(joined, pad_id)
    mask_BT = torch.zeros_like(batch.response_mask_BT)
    segments_BT = torch.full_like(batch.input_ids_BT, -1)
    for b, bin in enumerate(bins):
        start = 0
        for s, row in enumerate(bin):
            segments_BT[b, start : start + len(row)] = s
            mask_BT[b, start + max(len(row.prompt), 1) : start + len(row)] = True
            start += len(row)
    return replace(
        batch,
        response_mask_BT=mask_BT,
        segments_BT=segments_BT,
        group_B=torch.arange(len(bins)),
    )


def micro_batches(batch: TokenBatch, max_tokens: int) -> list[TokenBatch]:
    """Split a batch by groups into length-sorted parts of at most ``max_tokens`` padded tokens.

    A group longer than the budget gets a micro-batch of its own.
    """
    lengths = batch.lengths_B.tolist()
    groups: dict[int, list[int]] = {}
    for row, group in enumerate(batch.group_B.tolist()):
        groups.setdefault(group, []).append(row)
    order = sorted(groups.values(), key=lambda rows: max(lengths[r] for r in rows), reverse=True)
    parts: list[list[int]] = []
    longest = 0
    for rows in order:
        if parts and (len(parts[-1]) + len(rows)) * longest <= max_tokens:
            parts[-1] += rows
        else:
            parts.append(list(rows))
            longest = max(lengths[r] for r in rows)
    return [batch.select(rows) for rows in parts]
