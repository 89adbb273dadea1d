"""Text into HTML: Markdown that models and people wrote, and the pages' templates.

Whatever a model wrote is hostile until it has passed here. HTML in the source is shown, never
parsed; what the Markdown parser makes of the rest goes through an allow-list once more, so that a
mistake in either alone executes nothing. Images become their text, because a picture's address is
a request to someone else's server; in a response links become text for the same reason.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import nh3
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from starlette.requests import Request
from starlette.responses import HTMLResponse

HERE = Path(__file__).parent
STATIC = HERE / "static"
MAX_MARKDOWN_CHARS = 40_000
"""Longer texts are shown as they are: Markdown's worst cases grow faster than the text does."""

TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "ul", "ol", "li", "em", "strong", "s"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES: dict[str, set[str]] = {"*": set(), "ol": {"start"}}
"""The star is there because nh3 would let ``title`` and ``lang`` by on every tag."""


def _heading(renderer: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    """Headings stay below the page's own."""
    level = min(6, int(tokens[i].tag[1]) + 2)
    return f"<h{level}>" if tokens[i].nesting == 1 else f"</h{level}>\n"


def _image(renderer: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    return f"[image: {escape(tokens[i].content)}]"


def _link(renderer: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    """A link as its words followed by its address, unless the words are the address."""
    if tokens[i].nesting == 1:
        address = str(tokens[i].attrs.get("href", ""))
        shown = tokens[i + 1].content if i + 1 < len(tokens) else ""
        env.setdefault("links", []).append("" if shown == address else f" ({escape(address)})")
        return ""
    return str(env["links"].pop())


def _parser(*, links: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 20})
    parser.enable(["table", "strikethrough"])
    rules = {"heading_open": _heading, "heading_close": _heading, "image": _image}
    if not links:
        rules |= {"link_open": _link, "link_close": _link}
    for name, rule in rules.items():
        parser.add_render_rule(name, rule)
    return parser


_RESPONSE, _GUIDELINE = _parser(links=False), _parser(links=True)


@lru_cache(maxsize=2048)
def response_html(text: str) -> str:
    """What a model or a rater wrote, as HTML that runs nothing and asks no other server.

    Kept for the 2,048 texts shown last: an item goes to several raters.
    """
    if len(text) > MAX_MARKDOWN_CHARS:
        return f"<pre>{escape(text, quote=False)}</pre>"
    html: str = _RESPONSE.render(text)
    return nh3.clean(html, tags=TAGS, attributes=ATTRIBUTES, link_rel=None)


@lru_cache(maxsize=256)
def guideline_html(text: str) -> str:
    """Markdown that a researcher wrote: the same, with links that can be followed."""
    if len(text) > MAX_MARKDOWN_CHARS:
        return f"<pre>{escape(text, quote=False)}</pre>"
    html: str = _GUIDELINE.render(text)
    return nh3.clean(
        html,
        tags=TAGS | {"a"},
        attributes=ATTRIBUTES | {"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )


def changed_html(old: str, new: str) -> str:
    """The new guideline with what was added and removed since the old one marked.

    Paragraphs are compared whole, because a rater reads a rule, not its letters.
    """
    before, after = _blocks(old), _blocks(new)
    parts: list[str] = []
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    for change, i1, i2, j1, j2 in matcher.get_opcodes():
        if change == "equal":
            parts += [guideline_html(block) for block in after[j1:j2]]
            continue
        parts += [f"<del>{guideline_html(block)}</del>" for block in before[i1:i2]]
        parts += [f"<ins>{guideline_html(block)}</ins>" for block in after[j1:j2]]
    return "\n".join(parts)


def _blocks(text: str) -> list[str]:
    """Paragraphs, parted at blank lines; a fenced code block stays in one piece."""
    blocks: list[str] = []
    fenced = False
    for block in re.split(r"\n[ \t]*\n", text.strip()):
        if fenced:
            blocks[-1] += f"\n\n{block}"
        else:
            blocks.append(block)
        fenced ^= len(re.findall(r"^ {0,3}```", block, flags=re.MULTILINE)) % 2 == 1
    return [block for block in blocks if block.strip()]


@lru_cache(maxsize=1)
def static_version() -> str:
    """A hash over every static file: it is part of their addresses, so they may be kept forever."""
    digest = hashlib.sha256()
    for path in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(STATIC)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file, with the version that lets a browser keep it."""
    return f"/static/v-{static_version()}/{name}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static
    return environment


TEMPLATES = _environment()


def page(request: Request, template: str, /, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page from a template; it always knows who looks at it (``account``) and the CSRF token.

    ``account`` is None and ``csrf`` empty before login; a form that needs another token passes it.
    """
    state = request.scope.get("state", {})
    known = {
        "account": state.get("account"),
        "csrf": state.get("csrf", ""),
        "site": request.app.state.settings.title,
    }
    return HTMLResponse(TEMPLATES.get_template(template).render(known | context), status)
