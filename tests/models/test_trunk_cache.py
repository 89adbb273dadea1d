"""The trunk cache: the same bits whatever shares a batch, kept or not, and never more memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from accord.models.batch import TokenBatch, TokenRow, collate, micro_batches
from accord.models.network import TRUNK, PolicyNetwork
from accord.models.trunk_cache import TrunkCache

PAD = 0
ROWS = [  # groups of one, two and three rows, as prompts with their completions
    TokenRow([5, 9, 30], [8, 40, 2], group=0),
    TokenRow([5, 9, 30], [11, 2], group=0),
    TokenRow([7], [11, 12, 50, 60, 22, 31, 2], group=1),
    TokenRow([6, 6], [2], group=2),
    TokenRow([6, 6], [33, 2], group=2),
    TokenRow([6, 6], [33, 34, 35, 2], group=2),
]


class Counting:
    """Counts the rows whose trunk is computed."""

    def __init__(self, network: PolicyNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        whole = network.trunk_hidden

        def trunk_hidden(batch: TokenBatch) -> Tensor:
            self.rows.append(len(batch))
            return whole(batch)

        monkeypatch.setattr(network, "trunk_hidden", trunk_hidden)


@pytest.fixture(scope="module")
def network(load_small) -> PolicyNetwork:
    return load_small("llama", trainable="top", top_layers=1).network


def real(batch: TokenBatch) -> list[Tensor]:
    """The trunk's output at the real tokens of each row."""
    pairs = zip(batch.tensors[TRUNK], batch.lengths_B.tolist(), strict=True)
    return [row_TD[:length] for row_TD, length in pairs]


def test_it_is_what_the_network_computes(network: PolicyNetwork) -> None:
    batch = collate(ROWS, PAD)
    cached = TrunkCache(network)(batch)
    expected = network.trunk_hidden(batch)
    for row_TD, expected_TD in zip(real(cached), expected, strict=True):
        torch.testing.assert_close(row_TD, expected_TD[: len(row_TD)], atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(
            network.logprobs(cached), network.logprobs(batch), atol=1e-5, rtol=1e-5
        )


def test_each_row_equals_the_whole_model_s_lower_layers(network: PolicyNetwork) -> None:
    """Against transformers alone: the hidden states between layer 2 and 3, unpadded."""
    cached = TrunkCache(network)(collate(ROWS, PAD))
    for row, got_TD in zip(ROWS, real(cached), strict=True):
        ids = torch.tensor([[*row.prompt, *row.response]])
        with torch.no_grad():
            states = network.model(input_ids=ids, output_hidden_states=True).hidden_states
        torch.testing.assert_close(got_TD, states[2][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("max_bytes", [1 << 30, 0, 900])
def test_a_group_has_the_same_bits_in_every_company(network: PolicyNetwork, max_bytes: int) -> None:
    """In the whole batch, alone, reordered, behind a long stranger, kept and computed anew."""
    cache = TrunkCache(network, max_bytes)
    whole = real(cache(collate(ROWS, PAD)))
    stranger = TokenRow([3] * 40, [4] * 20, group=9)
    orders = [[0, 1], [2], [3, 4, 5], [3, 4, 5, 2, 0, 1], [2, 3, 4, 5]]
    for order in orders:
        for more in ([], [stranger]):
            batch = collate([ROWS[i] for i in order] + more, PAD)
            for _ in range(2):
                for i, row_TD in zip(order, real(cache(batch)), strict=False):
                    assert torch.equal(row_TD, whole[i])
    fresh = TrunkCache(network)(collate(ROWS, PAD))
    assert all(map(torch.equal, real(fresh), whole))  # as after a restart


def test_micro_batches_ask_for_nothing_new(
    network: PolicyNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = collate(ROWS, PAD)
    cache = TrunkCache(network)
    whole = real(cache(batch))
    counting = Counting(network, monkeypatch)
    for part in micro_batches(batch, 12):
        for row, row_TD in zip(part.row_B.tolist(), real(cache(part)), strict=True):
            assert torch.equal(row_TD, whole[row])
    assert counting.rows == []


def test_beyond_a_group_is_zero_and_nothing_else_changes(network: PolicyNetwork) -> None:
    batch = collate(ROWS, PAD).with_tensors(margin_B=torch.arange(6.0))
    cached = TrunkCache(network)(batch)
    trunk_BTD = cached.tensors[TRUNK]
    assert trunk_BTD.shape[:2] == batch.input_ids_BT.shape
    longest = {0: 6, 1: 8, 2: 6}  # tokens of each group's longest row
    for row_TD, group in zip(trunk_BTD, batch.group_B.tolist(), strict=True):
        assert torch.count_nonzero(row_TD[longest[group] :]) == 0
        assert torch.count_nonzero(row_TD[: longest[group]]) > 0
    assert torch.equal(cached.input_ids_BT, batch.input_ids_BT)
    assert torch.equal(cached.tensors["margin_B"], torch.arange(6.0))
    assert TRUNK not in batch.tensors
    assert not trunk_BTD.requires_grad


def test_groups_are_computed_once_and_only_while_there_is_room(
    network: PolicyNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(network, monkeypatch)
    cache = TrunkCache(network)
    for _ in range(3):
        cache(collate(ROWS, PAD))
    assert counting.rows == [2, 1, 3]
    # 4 bytes x 32 hidden x 8 tokens x 1 row: room for group 1 (8 tokens), not for 0 (6 x 2 rows).
    counting.rows.clear()
    small = TrunkCache(network, max_bytes=4 * 32 * 8)
    for _ in range(2):
        small(collate(ROWS, PAD))
    assert counting.rows == [2, 1, 3, 2, 3]
    counting.rows.clear()
    none = TrunkCache(network, max_bytes=0)
    for _ in range(2):
        none(collate(ROWS, PAD))
    assert counting.rows == [2, 1, 3] * 2


def test_equal_tokens_of_other_lengths_are_told_apart(network: PolicyNetwork) -> None:
    """A row that ends in the pad token, and one that is padded with it."""
    cache = TrunkCache(network)
    cache(collate([TokenRow([5], [9, PAD], group=0), TokenRow([5], [9, 8], group=0)], PAD))
    second = collate([TokenRow([5], [9], group=0), TokenRow([5], [9, 8], group=0)], PAD)
    assert second.input_ids_BT.tolist() == [[5, 9, PAD], [5, 9, 8]]
    assert torch.equal(torch.cat(real(cache(second))), torch.cat(real(TrunkCache(network)(second))))


def test_without_a_trunk_batches_pass_unchanged(load_small) -> None:
    batch = collate(ROWS, PAD)
    assert TrunkCache(load_small("llama").network)(batch) is batch
    lora = load_small("llama", trainable="lora", lora_rank=2).network
    assert TrunkCache(lora)(batch) is batch


def test_the_network_s_trunk_finds_each_row_s_place(network: PolicyNetwork) -> None:
    """Length-sorted parts, put back by row number; rows selected out of order too."""
    batch = collate(ROWS, PAD)
    picked = batch.select([4, 2, 0])
    whole = network.trunk_hidden(batch)
    got = network.trunk_hidden(picked)
    for i, row in enumerate([4, 2, 0]):
        length = len(ROWS[row])
        torch.testing.assert_close(got[i, :length], whole[row, :length], atol=1e-5, rtol=1e-5)
    assert batch.places(picked).tolist() == [4, 2, 0]
    assert picked.places(picked.select([2, 0])).tolist() == [2, 0]
    kept = replace(picked, tensors={TRUNK: got})
    assert network.with_trunk(kept) is kept
