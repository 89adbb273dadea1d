"""Markdown becomes HTML that runs nothing, asks nobody and still reads well."""

from __future__ import annotations

import json
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.web.render import (
    MAX_MARKDOWN_CHARS,
    TAGS,
    TEMPLATES,
    changed_html,
    guideline_html,
    response_html,
    static,
    static_version,
)

PAYLOADS: list[str] = json.loads((Path(__file__).parent / "xss_payloads.json").read_text("utf-8"))


class Seen(HTMLParser):
    """Every tag, attribute and character of text that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.other: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)


def check_response(html: str) -> Seen:
    """Only the tags of running text, and no attribute but where a list starts."""
    seen = Seen(html)
    assert seen.tags <= TAGS, seen.tags - TAGS
    assert not seen.other
    assert all(
        (tag, name) == ("ol", "start") and value.isdecimal() for tag, name, value in seen.attributes
    ), seen.attributes
    return seen


def check_guideline(html: str) -> None:
    """The same, and links with an address that a browser opens as a page or a letter."""
    seen = Seen(html)
    assert seen.tags <= TAGS | {"a"}
    assert not seen.other
    for tag, name, value in seen.attributes:
        assert (tag, name) in {("ol", "start"), ("a", "href"), ("a", "rel")}
        if name == "href":
            assert urlsplit(value).scheme in {"http", "https", "mailto"}, value


def test_the_corpus_is_large() -> None:
    assert len(set(PAYLOADS)) >= 300


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_no_payload_becomes_active(number: int) -> None:
    payload = PAYLOADS[number]
    check_response(response_html(payload))
    check_guideline(guideline_html(payload))
    check_guideline_change(changed_html(payload, f"new {payload}"))
    name = TEMPLATES.from_string('<i title="{{ name }}">{{ name }}</i>').render(name=payload)
    seen = Seen(name)
    assert seen.tags == {"i"}
    assert [attribute[:2] for attribute in seen.attributes] == [("i", "title")]


def check_guideline_change(html: str) -> None:
    """A change is a guideline between marks."""
    for mark in ("<ins>", "</ins>", "<del>", "</del>"):
        html = html.replace(mark, "")
    check_guideline(html)


def test_payloads_together_are_no_worse_than_alone() -> None:
    for joint in ("\n\n", "\n", " ", ""):
        check_response(response_html(joint.join(PAYLOADS)))


@given(
    st.text(alphabet=st.sampled_from(list("<>&\"'`*_[]()!:/\\#|-~=\n javascriptonerr0\0\u202e")))
)
def test_no_text_becomes_active(text: str) -> None:
    check_response(response_html(text))
    check_guideline(guideline_html(text))


@given(st.text(alphabet="abc äß漢字<&", max_size=60))
def test_plain_text_is_shown_letter_by_letter(text: str) -> None:
    shown = " ".join(Seen(response_html(text)).text.split())
    assert shown == " ".join(text.split())


def test_html_is_shown_not_parsed() -> None:
    assert response_html("a <b>c</b>") == "<p>a &lt;b&gt;c&lt;/b&gt;</p>\n"


def test_what_markdown_is_for() -> None:
    html = response_html(
        "# Title\n\nOne\nline, *soft*, **hard**, ~~gone~~ and `code`.\n\n3. three\n4. four\n\n"
        "> said\n\n```python\nif a < b:\n    pass\n```\n\n|a|b|\n|-|-|\n|1|2|\n"
    )
    for piece in (
        "<h3>Title</h3>",
        "<p>One<br>\nline, <em>soft</em>, <strong>hard</strong>, <s>gone</s> and",
        "<code>code</code>",
        '<ol start="3">',
        "<blockquote>\n<p>said</p>",
        "<pre><code>if a &lt; b:\n    pass\n</code></pre>",
        "<th>a</th>",
        "<td>2</td>",
    ):
        assert piece in html, html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (
            "[the *page*](https://a.example/?b=1&c)",
            "the <em>page</em> (https://a.example/?b=1&amp;c)",
        ),
        ("<https://a.example>", "https://a.example"),
        ("![a cat](https://a.example/cat.png)", "[image: a cat]"),
        ("[![a cat](c.png)](https://a.example)", "[image: a cat] (https://a.example)"),
        ("[a](b) [c](d)", "a (b) c (d)"),
    ],
)
def test_links_and_images_of_a_response_are_text(text: str, html: str) -> None:
    assert response_html(text) == f"<p>{html}</p>\n"


def test_links_of_a_guideline_can_be_followed_but_not_within_the_studio() -> None:
    html = guideline_html("[a](https://a.example) [b](/logout)")
    assert '<a href="https://a.example" rel="noopener noreferrer nofollow">a</a>' in html
    assert "/logout" not in html


def test_headings_stay_below_those_of_the_page() -> None:
    assert Seen(response_html("# a\n\n## b\n\n###### c")).tags == {"h3", "h4", "h6"}


def test_very_long_text_is_shown_as_it_is() -> None:
    text = "*a* <b>\n" * (MAX_MARKDOWN_CHARS // 4)
    html = response_html(text)
    assert html.startswith("<pre>*a* &lt;b&gt;")
    assert Seen(html).tags == {"pre"}
    assert Seen(html).text == text
    assert Seen(guideline_html(text)).text == text


@pytest.mark.parametrize("piece", ["[", "![a", "[a](b", "*a_", "`a", "> ", "- ", "&", "<a ", "~~a"])
def test_hostile_markdown_takes_bounded_time(piece: str) -> None:
    text = piece * (MAX_MARKDOWN_CHARS // len(piece))
    start = time.process_time()
    check_response(response_html(text))
    assert time.process_time() - start < 3


def test_changes_are_marked_by_paragraph() -> None:
    old = "Be kind.\n\nBe brief.\n\n```\na\n\nb\n```"
    new = "Be kind.\n\nBe right.\n\n```\na\n\nb\n```\n\nAsk."
    html = changed_html(old, new)
    assert "<del><p>Be brief.</p>\n</del>" in html
    assert "<ins><p>Be right.</p>\n</ins>" in html
    assert "<ins><p>Ask.</p>\n</ins>" in html
    assert "<pre><code>a\n\nb\n</code></pre>" in html
    assert html.count("Be kind.") == 1


def test_an_unchanged_guideline_has_no_marks() -> None:
    html = changed_html("a\n\nb", "a\n\nb\n")
    assert "<ins>" not in html
    assert "<del>" not in html


def test_static_addresses_carry_the_version() -> None:
    assert static("style.css") == f"/static/v-{static_version()}/style.css"
    assert len(static_version()) == 12
