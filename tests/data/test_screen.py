"""Intake: copies, too much of one source, personal data; each left out with its reason."""

from __future__ import annotations

import pytest

from accord.data.screen import find_personal, load_scan, screen, source_of
from accord.errors import ConfigError
from accord.types import Comparison, Completion, Demonstration, Message, Prompt, Sample


def ask(name: str, text: str, *tags: str) -> Prompt:
    return Prompt(name, (Message("user", text),), tags)


def kept(found: object) -> list[str]:
    return [prompt.id for prompt in found.kept]  # type: ignore[attr-defined]


def test_prompts_that_begin_alike_are_one_whatever_their_case_and_spaces() -> None:
    long = "word " * 40  # 200 characters
    rows = [
        ask("a", "Why  is the sky blue?"),
        ask("b", "why is\nthe SKY blue?"),
        ask("c", "Why is the sky blue today?"),
        ask("d", f"{long} and then this"),
        ask("e", f"{long} and then that"),
        ask("f", f"{long[:190]} otherwise"),
    ]
    found = screen(rows)
    assert kept(found) == ["a", "c", "d", "f"]
    assert [(row.row, row.prompt_id, row.why) for row in found.dropped] == [
        (2, "b", "copies of another: a"),
        (5, "e", "copies of another: d"),
    ]
    assert kept(screen(rows, drop_duplicates=False)) == list("abcdef")
    assert found.summary() == "4 of 6 are kept; 2 left out, copies of another"


def test_who_spoke_counts() -> None:
    one = Prompt("a", (Message("user", "x"), Message("assistant", "y"), Message("user", "z")))
    two = Prompt("b", (Message("user", "x"), Message("user", "y"), Message("user", "z")))
    assert kept(screen([one, two])) == ["a", "b"]


def test_pairs_about_one_prompt_are_copies_only_with_the_same_answers() -> None:
    prompt = ask("p", "Why?")

    def pair(a: str, b: str) -> Comparison:
        return Comparison(prompt, Completion(a), Completion(b), "a")

    found = screen([pair("x", "y"), pair("y", "x"), pair("x", "z")])
    assert [(c.a.text, c.b.text) for c in found.kept] == [("x", "y"), ("x", "z")]
    samples = [Sample(prompt, (Completion("x"),)), Sample(prompt, (Completion("y"),))]
    assert len(screen(samples).kept) == 2
    assert len(screen([Demonstration(prompt, "So."), Demonstration(prompt, "So.")]).kept) == 1


def test_a_source_gives_no_more_than_its_cap_and_copies_do_not_count() -> None:
    rows = [
        ask("a", "one", "lang:en", "user:7"),
        ask("b", "ONE", "user:7"),
        ask("c", "two", "user:7", "source:web"),
        ask("d", "three", "user:7"),
        ask("e", "four", "source:web"),
        *(ask(f"free{i}", f"free {i}") for i in range(5)),
    ]
    found = screen(rows, cap=2)
    assert kept(found) == ["a", "c", "e", *(f"free{i}" for i in range(5))]
    whys = [(row.prompt_id, row.why) for row in found.dropped]
    assert whys == [("b", "copies of another: a"), ("d", "over the cap of 2 a source: user:7")]


def test_the_source_is_the_first_tag_that_says_one() -> None:
    assert source_of(ask("a", "x", "lang:en", "source:web", "user:7")) == "source:web"
    assert source_of(ask("a", "x", "source:web", "user:7"), ("user:",)) == "user:7"
    assert source_of(ask("a", "x", "lang:en")) == ""


def test_the_scan_reads_prompt_and_answers_and_goes_first() -> None:
    read: list[str] = []

    def scan(text: str) -> str | None:
        read.append(text)
        return "a name" if "Ada" in text else None

    rows = [
        Demonstration(ask("a", "Who?"), "Ada did."),
        Demonstration(ask("b", "Who?"), "She did."),
        Demonstration(ask("c", "Is it Ada?"), "No."),
    ]
    found = screen(rows, scan=scan)
    assert [row.prompt.id for row in found.kept] == ["b"]
    assert read == ["Who?\nAda did.", "Who?\nShe did.", "Is it Ada?\nNo."]
    assert {row.why for row in found.dropped} == {"with personal data: a name"}
    assert "Ada" not in str(found.dropped)  # the report repeats nothing of it


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("write to ada.l+x@mail.example.org today", "an e-mail address"),
        ("call +49 170 1234567", "a telephone number"),
        ("call (555) 123-4567.", "a telephone number"),
        ("pay with 4111 1111 1111 1111", "a card number"),
        ("pay with 4111111111111111", "a card number"),
        ("order 4111111111111112", None),  # no card: the check digit is wrong
        ("on 2024-01-02 at 10:30", None),
        ("pi is 3.14159265358979", None),
        ("it costs 1 000 000 000 crowns", None),
        ("version 1.2.3 of @decorator", None),
        ("3 + 4 = 7 and 10 - 2 = 8", None),
    ],
)
def test_what_the_coarse_scan_finds(text: str, what: str | None) -> None:
    assert find_personal(text) == what


def test_a_scan_is_named_or_ones_own() -> None:
    assert load_scan("personal") is find_personal
    assert load_scan("accord.data.screen:find_personal") is find_personal
    for wrong in ("", "nothing", "no.such.module:f", "accord.data.screen:nothing", ":f"):
        with pytest.raises(ConfigError, match="no scan"):
            load_scan(wrong)
