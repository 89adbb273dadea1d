"""The chat format: one template with its system message inside, cut where it may be cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import ModelError
from accord.models.chat import CHATML, PLAIN, ChatFormat, chat_format, encode_completion
from accord.models.encode import Encoder
from accord.models.tiny import make_tokenizer
from accord.types import Completion, Demonstration, Message, Prompt

CONVERSATION = Prompt(
    "1",
    (
        Message("user", "where does the fox live ?"),
        Message("assistant", "the fox lives in the forest ."),
        Message("user", "how big is the fox ?"),
    ),
)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def text(tokenizer, chat: ChatFormat, *messages: tuple[str, str]) -> str:
    """What plain transformers makes of a conversation."""
    return tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        chat_template=chat.template,
        add_generation_prompt=True,
        tokenize=False,
    )


def test_chatml_by_hand(tokenizer) -> None:
    chat = chat_format(tokenizer, "chatml", "Be brief.")
    assert text(tokenizer, chat, ("user", "Hi"), ("assistant", "Yes?"), ("user", "Bye")) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_conversation_with_a_system_message_keeps_its_own(tokenizer) -> None:
    chat = chat_format(tokenizer, "chatml", "Be brief.")
    spoken = text(tokenizer, chat, ("system", "Be long."), ("user", "Hi"))
    assert "Be long." in spoken
    assert "Be brief." not in spoken


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_any_system_message_is_said_word_for_word(system: str) -> None:
    tokenizer = make_tokenizer()
    fixed = chat_format(tokenizer, "chatml", system)
    given_each_time = chat_format(tokenizer, "chatml", None)
    assert text(tokenizer, fixed, ("user", "Hi")) == text(
        tokenizer, given_each_time, ("system", system), ("user", "Hi")
    )


@pytest.mark.parametrize(
    "system",
    [
        'it\'s "quoted"',
        "two\nlines",
        "c:\\new\\tab",
        "{{ messages }}",
        "{% raw %}",
        "é 漢 🙂",
        "a\rb",
    ],
)
def test_odd_system_messages(tokenizer, system: str) -> None:
    spoken = text(tokenizer, chat_format(tokenizer, "chatml", system), ("user", "Hi"))
    assert spoken.startswith(f"<|im_start|>system\n{system}<|im_end|>\n")


def test_the_template_begins_where_it_began(tokenizer, tmp_path: Path) -> None:
    source = "\n  {% for m in messages %}\n{{ m['content'] }}\n{% endfor %}"
    path = tmp_path / "odd.jinja"
    path.write_text(source)
    plain = chat_format(tokenizer, str(path), None)
    fixed = chat_format(tokenizer, str(path), "Sys")
    assert text(tokenizer, fixed, ("user", "Hi")) == text(
        tokenizer, plain, ("system", "Sys"), ("user", "Hi")
    )


def test_plain_and_the_tokenizers_own(tokenizer) -> None:
    assert chat_format(tokenizer, "plain", None) == ChatFormat(PLAIN)
    assert chat_format(tokenizer, "chatml", None) == ChatFormat(CHATML)
    assert chat_format(tokenizer, None, None) == ChatFormat(tokenizer.chat_template)
    assert text(tokenizer, ChatFormat(PLAIN), ("user", "a b\n")) == "a b\n"


def test_no_template_is_an_error_that_says_what_to_set() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match=r"model\.template to plain, chatml"):
        chat_format(tokenizer, None, None)
    with pytest.raises(ModelError, match=r"no file 'chatlm'"):
        chat_format(tokenizer, "chatlm", None)


def test_tokens_are_those_of_transformers(tokenizer) -> None:
    chat = chat_format(tokenizer, None, None)
    expected = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in CONVERSATION.messages],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert chat.encode(tokenizer, CONVERSATION) == expected
    decoded = tokenizer.decode(expected)
    assert decoded.startswith("<user> where does the fox live ? <assistant> the fox")
    assert decoded.endswith("how big is the fox ? <assistant>")


def test_a_template_may_refuse_a_role(tokenizer) -> None:
    prompt = Prompt("1", (Message("system", "x"), Message("user", "hi")))
    with pytest.raises(Exception, match="knows no system"):
        chat_format(tokenizer, None, None).encode(tokenizer, prompt)


def encoder(tokenizer, max_prompt_tokens: int = 64, max_tokens: int = 128) -> Encoder:
    chat = chat_format(tokenizer, None, None)
    return Encoder(tokenizer, chat, tokenizer.eos_token_id, max_prompt_tokens, max_tokens)


def test_prompts_are_cut_on_the_left(tokenizer) -> None:
    whole = encoder(tokenizer).prompt(CONVERSATION)
    assert encoder(tokenizer, 5).prompt(CONVERSATION) == whole[-5:]
    assert tokenizer.decode(whole[-3:]) == "fox ? <assistant>"


def test_completions_are_cut_on_the_right_and_then_lack_their_eos(tokenizer) -> None:
    words = tokenizer("the fox is red .", add_special_tokens=False)["input_ids"]
    eos = tokenizer.eos_token_id

    def made(max_tokens: int, finished: bool = True) -> list[int]:
        return encode_completion(
            tokenizer, "the fox is red .", eos, finished=finished, max_tokens=max_tokens
        )

    assert made(6) == [*words, eos]
    assert made(5) == words
    assert made(3) == words[:3]
    assert made(9, finished=False) == words


def test_rows_share_what_prompt_and_completion_may_hold(tokenizer) -> None:
    small = encoder(tokenizer, 4, 6)
    row = small.row(small.prompt(CONVERSATION), Completion("the fox is red ."), group=3)
    assert (len(row.prompt), len(row.response), row.group) == (4, 2, 3)


def test_demonstrations_are_groups_that_end(tokenizer) -> None:
    rows = encoder(tokenizer).demonstrations(
        [Demonstration(CONVERSATION, "it is small ."), Demonstration(CONVERSATION, "small")]
    )
    assert [row.group for row in rows] == [0, 1]
    assert all(row.response[-1] == tokenizer.eos_token_id for row in rows)
