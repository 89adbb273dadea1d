"""Verdicts as token rows: each completion once, ties, margins, sides, and where pairs land."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from accord.models.batch import micro_batches
from accord.models.chat import chat_format
from accord.models.encode import Encoder
from accord.models.pairs import Pair, collate_pairs, prompt_pairs
from accord.models.tiny import make_tokenizer
from accord.types import Comparison, Completion, Message, Prompt, Ranking

GOOD, FAIR, BAD = Completion("the fox is red ."), Completion("red ."), Completion("go away .")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    tokenizer = make_tokenizer()
    chat = chat_format(tokenizer, None, None)
    return Encoder(tokenizer, chat, tokenizer.eos_token_id, 64, 128)


def prompt(name: str = "fox", id: str = "") -> Prompt:
    return Prompt(id or name, (Message("user", f"what colour is the {name} ?"),))


def test_equal_completions_become_one_row(encoder: Encoder) -> None:
    verdicts = [
        Comparison(prompt(), GOOD, BAD, "a", rater="1"),
        Comparison(prompt(), replace(BAD, model="other"), GOOD, "b", rater="2"),
        Comparison(prompt(), GOOD, FAIR, "a"),
    ]
    (item,) = prompt_pairs(verdicts, encoder, 0.5)
    assert [tuple(row.response) for row in item.rows] == [
        tuple(encoder.row([], c).response) for c in (GOOD, BAD, FAIR)
    ]
    third = 1 / 3  # a prompt's pairs share one weight
    assert item.pairs == (Pair(0, 1, 1.0, third), Pair(0, 1, 1.0, third), Pair(0, 2, 1.0, third))
    assert item.num_words == (5, 3, 2)


def test_an_unfinished_completion_is_another_one(encoder: Encoder) -> None:
    cut = replace(GOOD, finished=False)
    (item,) = prompt_pairs([Comparison(prompt(), GOOD, cut, "a")], encoder, 0.5)
    assert item.rows[0].response[:-1] == item.rows[1].response


def test_swapping_the_sides_changes_nothing(encoder: Encoder) -> None:
    verdict = Comparison(prompt(), GOOD, BAD, "b", margin=0.7)
    (one,) = prompt_pairs([verdict], encoder, 0.5)
    (two,) = prompt_pairs([verdict.swap()], encoder, 0.5)

    def winner(item) -> tuple[list[int], float]:
        (pair,) = item.pairs
        assert pair.target == 1.0
        return item.rows[pair.first].response, pair.margin

    assert winner(one) == winner(two) == (encoder.row([], BAD).response, 0.7)


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_ties_count_half_or_not_at_all(encoder: Encoder, choice) -> None:
    verdicts = [Comparison(prompt(), GOOD, BAD, choice, margin=2.0)]
    (item,) = prompt_pairs(verdicts, encoder, 0.25)
    assert item.pairs == (Pair(0, 1, 0.5, weight=0.25, margin=0.0),)
    assert prompt_pairs(verdicts, encoder, 0.0) == []
    verdicts.append(Comparison(prompt(), FAIR, BAD, "a"))
    (item,) = prompt_pairs(verdicts, encoder, 0.0)
    assert len(item.rows) == 2  # what only a left-out tie spoke of is not computed


def test_a_ranking_gives_all_its_pairs(encoder: Encoder) -> None:
    ranking = Ranking(prompt(), (BAD, GOOD, FAIR), (2, 0, 1))
    (item,) = prompt_pairs([ranking], encoder, 0.5)
    assert {(p.first, p.second) for p in item.pairs} == {(1, 0), (2, 0), (1, 2)}


def test_a_completion_against_itself_says_nothing(encoder: Encoder) -> None:
    assert prompt_pairs([Comparison(prompt(), GOOD, GOOD, "a")], encoder, 0.5) == []


def test_the_words_of_a_prompt_make_the_group_not_its_id(encoder: Encoder) -> None:
    """Else a prompt under two ids is in training and held out, and two under one id are mixed."""
    verdicts = [
        Comparison(prompt(id="1"), GOOD, BAD, "a"),
        Comparison(prompt(id="2"), GOOD, FAIR, "a"),
        Comparison(prompt("duck", id="1"), FAIR, BAD, "a"),
    ]
    fox, duck = prompt_pairs(verdicts, encoder, 0.5)
    assert (len(fox.rows), len(duck.rows)) == (3, 2)
    assert duck.rows[0].prompt == encoder.prompt(prompt("duck"))


def test_pairs_find_their_rows_in_every_micro_batch(encoder: Encoder) -> None:
    verdicts = [
        *(Comparison(prompt(n), GOOD, BAD, "a") for n in ("fox", "duck", "bear")),
        Comparison(prompt("bear"), FAIR, BAD, "b"),
        Comparison(prompt("crab"), FAIR, GOOD, "tie"),
    ]
    batch, pairs = collate_pairs(prompt_pairs(verdicts, encoder, 0.5), pad_id=0)
    assert len(pairs) == 5
    whole = pairs.within(batch.row_B)
    expected = {
        (tuple(batch.input_ids_BT[a].tolist()), tuple(batch.input_ids_BT[b].tolist()), float(t))
        for a, b, t in zip(whole.first_N, whole.second_N, whole.target_N, strict=True)
    }
    found = []
    for part in micro_batches(batch, 30):
        here = pairs.within(part.row_B)
        for a, b, t in zip(here.first_N, here.second_N, here.target_N, strict=True):
            width = batch.input_ids_BT.shape[1]
            first, second = (
                torch.nn.functional.pad(
                    part.input_ids_BT[i], (0, width - part.input_ids_BT.shape[1])
                )
                for i in (a, b)
            )
            found.append((tuple(first.tolist()), tuple(second.tolist()), float(t)))
    assert len(found) == 5
    assert set(found) == expected


def test_a_prompts_pairs_share_one_weight_and_strength_becomes_the_target(
    encoder: Encoder,
) -> None:
    verdicts = [
        Comparison(prompt(), GOOD, BAD, "a", strength=0.5),
        Comparison(prompt(), BAD, FAIR, "b", strength=None),
        Comparison(prompt(), GOOD, FAIR, "tie", strength=0.9),
    ]
    (item,) = prompt_pairs(verdicts, encoder, 0.5, use_strength=True)
    assert [pair.target for pair in item.pairs] == [0.75, 1.0, 0.5]
    assert [pair.weight for pair in item.pairs] == pytest.approx([1 / 3, 1 / 3, 1 / 6])


def test_a_verdicts_own_weight_multiplies_and_zero_leaves_it_out(encoder: Encoder) -> None:
    verdicts = [
        Comparison(prompt(), GOOD, BAD, "a", weight=0.5),
        Comparison(prompt(), GOOD, FAIR, "tie", weight=2.0),
        Comparison(prompt(), FAIR, BAD, "a"),
    ]
    (item,) = prompt_pairs(verdicts, encoder, 0.25)
    assert [pair.weight for pair in item.pairs] == pytest.approx([0.5 / 3, 0.5 / 3, 1 / 3])
    assert [pair.verdict_weight for pair in item.pairs] == [0.5, 2.0, 1.0]
    _, pairs = collate_pairs([item], pad_id=0)
    assert pairs.verdict_weight_N.tolist() == [0.5, 2.0, 1.0]
    assert prompt_pairs([replace(verdicts[0], weight=0.0)], encoder, 0.25) == []
    (whole,) = prompt_pairs([Ranking(prompt(), (GOOD, BAD), (0, 1), weight=0.5)], encoder, 0.25)
    assert whole.pairs[0].weight == 0.5


@pytest.mark.parametrize(
    ("choice", "soft", "winner", "target"),
    [("a", 0.75, GOOD, 0.75), ("b", 0.25, BAD, 0.75), ("tie", 0.5, GOOD, 0.5), ("a", 0, BAD, 1)],
)
def test_a_soft_label_is_the_target_and_says_who_is_first(
    encoder: Encoder, choice, soft: float, winner: Completion, target: float
) -> None:
    verdict = Comparison(prompt(), GOOD, BAD, choice, strength=0.1, soft_label=soft)
    for side in (verdict, verdict.swap()):
        (item,) = prompt_pairs([side], encoder, 1.0, use_strength=True)
        (pair,) = item.pairs
        assert pair.target == target
        if target > 0.5:
            assert item.rows[pair.first].response == encoder.row([], winner).response
