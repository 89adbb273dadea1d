"""Batches: padding, packing and splitting change memory, never results."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.algorithms import sft_loss
from accord.models.batch import TokenBatch, TokenRow, collate, micro_batches, pack

PAD = 0


def rows(*lengths: tuple[int, int], group: bool = True) -> list[TokenRow]:
    """Rows of (prompt, response) lengths with different tokens."""
    made = []
    for i, (prompt, response) in enumerate(lengths):
        tokens = [5 + (7 * i + 3 * t) % 60 for t in range(prompt + response)]
        made.append(TokenRow(tokens[:prompt], tokens[prompt:], i if group else 0))
    return made


LENGTHS = ((3, 4), (1, 9), (6, 1), (2, 2), (5, 7))


def test_collate_pads_on_the_right_and_counts_responses() -> None:
    batch = collate([TokenRow([7, 8], [9]), TokenRow([4], [0, 0])], PAD)
    assert batch.input_ids_BT.tolist() == [[7, 8, 9], [4, 0, 0]]
    assert batch.response_mask_BT.tolist() == [[False, False, True], [False, True, True]]
    assert batch.lengths_B.tolist() == [3, 3]  # a response made of pad ids still counts
    assert (batch.num_tokens, batch.num_response_tokens, len(batch)) == (6, 3, 2)


def test_the_first_token_of_a_row_has_no_prediction() -> None:
    batch = collate([TokenRow([], [5, 6])], PAD)
    assert batch.response_mask_BT.tolist() == [[False, True]]


def test_collate_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        collate([], PAD)


def test_select_keeps_row_numbers_and_cuts_to_the_longest() -> None:
    batch = collate(rows(*LENGTHS), PAD).with_tensors(
        old_BT=torch.arange(60.0).reshape(5, 12), score_B=torch.arange(5.0)
    )
    part = batch.select([3, 0])
    assert part.input_ids_BT.shape == (2, 7)
    assert part.row_B.tolist() == [3, 0]
    assert part.tensors["old_BT"].tolist() == [list(range(36, 43)), list(range(7))]
    assert part.tensors["score_B"].tolist() == [3.0, 0.0]


def test_pack_keeps_every_token_and_every_counted_response() -> None:
    made = rows(*LENGTHS)
    packed, single = pack(made, PAD, 14), collate(made, PAD)
    assert packed.segments_BT is not None
    assert len(packed) < len(made)
    assert packed.num_response_tokens == single.num_response_tokens
    found = set()
    for b in range(len(packed)):
        for s in range(int(packed.segments_BT[b].max()) + 1):
            here = packed.segments_BT[b] == s
            found.add(
                (
                    tuple(packed.input_ids_BT[b][here].tolist()),
                    tuple(packed.response_mask_BT[b][here].tolist()),
                )
            )
    expected = {
        ((*row.prompt, *row.response), (False,) * len(row.prompt) + (True,) * len(row.response))
        for row in made
    }
    assert found == expected


def test_pack_gives_an_overlong_row_its_own_bin() -> None:
    packed = pack(rows((10, 10), (2, 2)), PAD, 8)
    assert sorted(packed.lengths_B.tolist()) == [4, 20]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_packed_loss_and_gradients_equal_unpacked_ones(load_small, architecture: str) -> None:
    made = rows(*LENGTHS)
    results = []
    for batch in (collate(made, PAD), pack(made, PAD, 14)):
        network = load_small(architecture).network
        loss, _ = sft_loss(network.logprobs(batch), batch.response_mask_BT)
        loss.backward()
        results.append((loss, {n: p.grad for n, p in network.trainable().items()}))
    (loss_1, grads_1), (loss_2, grads_2) = results
    torch.testing.assert_close(loss_1, loss_2, atol=1e-5, rtol=1e-5)
    for name, grad in grads_1.items():
        torch.testing.assert_close(grad, grads_2[name], atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_more_padding_changes_nothing(load_small, architecture: str) -> None:
    network = load_small(architecture).network
    batch = collate(rows(*LENGTHS), PAD)
    wide = collate([*rows(*LENGTHS), TokenRow([5] * 20, [6] * 20)], PAD)
    with torch.no_grad():
        ours, theirs = network.logprobs(batch), network.logprobs(wide)
    torch.testing.assert_close(theirs[:5, :12], ours, atol=1e-5, rtol=1e-5)
    assert not theirs[:5, 12:].any()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 4)), min_size=1),
    st.integers(1, 60),
)
def test_micro_batches_hold_every_row_once_and_whole_groups(
    shapes: list[tuple[int, int, int]], budget: int
) -> None:
    batch = collate([TokenRow([1] * p, [2] * r, group) for p, r, group in shapes], PAD)
    parts = micro_batches(batch, budget)
    assert sorted(i for part in parts for i in part.row_B.tolist()) == list(range(len(batch)))
    groups = [set(part.group_B.tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for part, held in zip(parts, groups, strict=True):
        assert part.input_ids_BT.numel() <= budget or len(held) == 1


def test_micro_batches_of_a_packed_batch_keep_segments() -> None:
    packed = pack(rows(*LENGTHS), PAD, 14)
    for part in micro_batches(packed, 14):
        assert isinstance(part, TokenBatch)
        assert part.segments_BT is not None
        assert part.segments_BT.shape == part.input_ids_BT.shape
