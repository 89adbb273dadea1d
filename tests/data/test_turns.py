"""Turns from transcripts, messages and plain texts; shared prompts of pairs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.data.report import RowError
from accord.data.turns import (
    MARKER,
    answer,
    content_id,
    conversation,
    make_prompt,
    messages,
    shared_text,
    split_pair,
    text,
    transcript,
    transcript_pair,
)
from accord.types import Message

USER, BOT = "user", "assistant"
words = st.text(min_size=1, max_size=30).filter(lambda s: s.strip() and not MARKER.search(s))


def reason(caught: pytest.ExceptionInfo[RowError]) -> str:
    return caught.value.reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "missing field"),
        ("", "empty field"),
        (" \u2003\n", "empty field"),
        (3, "wrong type"),
        (True, "wrong type"),
        ([], "wrong type"),
        ({}, "wrong type"),
    ],
)
def test_text_refuses_what_is_no_text(value: object, expected: str) -> None:
    with pytest.raises(RowError) as caught:
        text(value, "field")
    assert reason(caught) == expected
    assert "'field'" in str(caught.value)


def test_a_transcript_becomes_its_turns() -> None:
    assert transcript("\n\nHuman: Hi\n\nthere\n\nAssistant: Yes?\n\nHuman: Bye ", "chosen") == (
        Message(USER, "Hi\n\nthere"),
        Message(BOT, "Yes?"),
        Message(USER, "Bye"),
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Human: no blank line before", "broken conversation"),
        ("preface\n\nHuman: Hi\n\nAssistant: x", "broken conversation"),
        ("\n\nHuman: Hi\n\nAssistant:", "empty field"),
        ("\n\nHuman:\n\nAssistant: x", "empty field"),
    ],
)
def test_a_broken_transcript_is_refused(value: str, expected: str) -> None:
    with pytest.raises(RowError) as caught:
        transcript(value, "chosen")
    assert reason(caught) == expected


def written(turns: list[tuple[str, str]]) -> str:
    names = {USER: "Human", BOT: "Assistant"}
    return "".join(f"\n\n{names[role]}: {content}" for role, content in turns)


@given(st.lists(st.tuples(st.sampled_from([USER, BOT]), words), min_size=1, max_size=5))
def test_written_transcripts_come_back(turns: list[tuple[str, str]]) -> None:
    expected = tuple(Message(role, content.strip()) for role, content in turns)  # type: ignore[arg-type]
    assert transcript(written(turns), "chosen") == expected


@given(
    st.lists(st.tuples(st.sampled_from([USER, BOT]), words), min_size=0, max_size=4),
    st.lists(st.tuples(st.sampled_from([USER, BOT]), words), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from([USER, BOT]), words), min_size=1, max_size=3),
)
def test_the_quick_way_through_a_pair_says_what_the_slow_one_says(
    head: list[tuple[str, str]], one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    chosen, rejected = written(head + one), written(head + other)

    def slow() -> object:
        try:
            return split_pair(transcript(chosen, "chosen"), transcript(rejected, "rejected"))
        except RowError as error:
            return str(error)

    def quick() -> object:
        try:
            return transcript_pair(chosen, rejected)
        except RowError as error:
            return str(error)

    assert quick() == slow()


def test_the_prompt_of_a_pair_is_the_longest_common_prefix() -> None:
    head = (Message(USER, "a"), Message(BOT, "b"), Message(USER, "c"))
    prompt, chosen, rejected = split_pair((*head, Message(BOT, "x")), (*head, Message(BOT, "y")))
    assert (prompt, chosen, rejected) == (head, "x", "y")


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("ab", "ab", "identical pair"),
        ("abab", "acab", "early divergence"),
        ("ab", "abab", "early divergence"),
        ("aba", "abc", "broken conversation"),
        ("", "ab", "empty field"),
    ],
)
def test_pairs_without_one_differing_last_answer(chosen: str, rejected: str, expected: str) -> None:
    def turns(letters: str) -> list[Message]:
        return [Message(BOT if i % 2 else USER, letter) for i, letter in enumerate(letters)]

    with pytest.raises(RowError) as caught:
        split_pair(turns(chosen), turns(rejected))
    assert reason(caught) == expected


def test_a_pair_without_a_prompt_is_refused() -> None:
    with pytest.raises(RowError, match="share no turn"):
        split_pair([Message(BOT, "x")], [Message(BOT, "y")])


def test_early_divergence_names_the_turn() -> None:
    with pytest.raises(RowError, match="part at turn 2 of 4 and 4"):
        split_pair(
            [Message(USER, "a"), Message(BOT, "b"), Message(USER, "c"), Message(BOT, "d")],
            [Message(USER, "a"), Message(BOT, "x"), Message(USER, "c"), Message(BOT, "d")],
        )


def test_messages_speak_openai_sharegpt_and_openassistant() -> None:
    rows = [
        {"role": "system", "content": "Be kind."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello"},
        {"role": "prompter", "content": "And?", "extra": None},
    ]
    assert messages(rows, "messages") == (
        Message("system", "Be kind."),
        Message(USER, "Hi"),
        Message(BOT, "Hello"),
        Message(USER, "And?"),
    )


def test_a_blank_system_turn_says_nothing() -> None:
    rows = [{"role": "system", "content": ""}, {"role": "user", "content": "Hi"}]
    assert messages(rows, "messages") == (Message(USER, "Hi"),)


@pytest.mark.parametrize(
    ("value", "expected", "where"),
    [
        (None, "missing field", "'m'"),
        ([], "empty field", "'m'"),
        ("text", "wrong type", "'m'"),
        (["text"], "wrong type", "'m[0]'"),
        ([{"content": "x"}], "missing field", "'m[0].role'"),
        ([{"role": "user"}], "missing field", "'m[0].content'"),
        ([{"role": "user", "content": ""}], "empty field", "'m[0].content'"),
        ([{"role": "user", "content": ["x"]}], "wrong type", "'m[0].content'"),
        ([{"role": ["user"], "content": "x"}], "wrong type", "'m[0].role'"),
        ([{"role": "tool", "content": "x"}], "unknown role", "'m[0]'"),
    ],
)
def test_bad_messages_say_which_and_why(value: object, expected: str, where: str) -> None:
    with pytest.raises(RowError) as caught:
        messages(value, "m")
    assert reason(caught) == expected
    assert where in str(caught.value)


def test_a_prompt_may_be_text_messages_or_an_open_transcript() -> None:
    assert conversation("Hi", "prompt") == (Message(USER, "Hi"),)
    assert conversation([{"role": "user", "content": "Hi"}], "prompt") == (Message(USER, "Hi"),)
    assert conversation("\n\nHuman: Hi\n\nAssistant:", "prompt") == (Message(USER, "Hi"),)
    assert conversation("\n\nHuman: Hi", "prompt") == (Message(USER, "\n\nHuman: Hi"),)
    with pytest.raises(RowError, match="empty field"):
        conversation([{"role": "system", "content": ""}], "prompt")


def test_an_answer_may_be_text_a_message_or_a_list_of_one() -> None:
    turn = {"role": "assistant", "content": "Yes"}
    assert answer("Yes", "c") == answer(turn, "c") == answer([turn], "c") == "Yes"
    for value in ([turn, turn], [{"role": "user", "content": "Yes"}]):
        with pytest.raises(RowError, match="not one assistant turn"):
            answer(value, "c")
    with pytest.raises(RowError, match="a boolean, not text"):
        answer(True, "c")


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("The sky is blue", "The sky is green", ("The sky is", " blue", " green")),
        ("The sky is blue", "The sky is black", ("The sky is", " blue", " black")),
        ("Count: one two", "Count: one", ("Count:", " one two", " one")),
    ],
)
def test_shared_text_is_cut_at_a_word(
    chosen: str, rejected: str, expected: tuple[str, str, str]
) -> None:
    assert shared_text(chosen, rejected) == expected


def test_texts_that_share_nothing_have_no_prompt() -> None:
    with pytest.raises(RowError, match="share no first words"):
        shared_text("blue", "black")
    with pytest.raises(RowError, match="identical pair"):
        shared_text("same words", "same words")


@given(words, words)
def test_shared_text_loses_no_character(chosen: str, rejected: str) -> None:
    try:
        prompt, one, other = shared_text(chosen, rejected)
    except RowError:
        return
    assert (prompt + one, prompt + other) == (chosen, rejected)


def test_equal_conversations_share_an_id_and_others_do_not() -> None:
    one = make_prompt([Message(USER, "a"), Message(BOT, "b")])
    assert one.id == make_prompt([Message(USER, "a"), Message(BOT, "b")], tags=("x",)).id
    assert len(one.id) == 16
    others = [
        [Message(USER, "ab")],
        [Message(BOT, "a"), Message(USER, "b")],
        [Message(USER, "a"), Message(BOT, "b"), Message(USER, "b")],
        [Message("system", "a"), Message(BOT, "b")],
    ]
    assert one.id not in {content_id(turns) for turns in others}
    assert make_prompt([Message(USER, "a")], "mine").id == "mine"
