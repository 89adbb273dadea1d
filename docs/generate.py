"""Fill the generated parts of README.md and docs/*.md from the source they describe.

    python docs/generate.py            rewrite the parts that are out of date
    python docs/generate.py --check    only say which pages are

A generated part stands between ``<!-- begin KIND ARGUMENTS -->`` and ``<!-- end -->``:

    config SECTION           the table of a recipe section's fields, from accord.config
    source FILE FUNCTION [FIRST LAST]   a function's code, or its lines from FIRST to LAST
    presets                  the presets and what each one sets
    verbs                    the command line's verbs
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
import textwrap
import types
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "accord"
PART = re.compile(
    r"(?P<begin><!-- begin (?P<what>[^>]*?) -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.S
)


def pages() -> list[Path]:
    """The pages a reader sees, README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def render(text: str) -> str:
    """The page with every generated part made anew."""

    def part(match: re.Match[str]) -> str:
        kind, *arguments = shlex.split(match["what"])
        body = {"config": config, "source": source, "presets": presets, "verbs": verbs}[kind](
            *arguments
        )
        return f"{match['begin']}{body.rstrip()}\n{match['end']}"

    return PART.sub(part, text)


def config(section: str) -> str:
    """A table of one recipe section: field, type, default, meaning."""
    from accord.config import Recipe

    model = Recipe if section == "recipe" else Recipe.model_fields[section].annotation
    assert model is not None
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, info in model.model_fields.items():
        if section == "recipe" and name in SECTIONS:
            continue
        default = info.get_default(call_default_factory=True)
        meaning = " ".join((info.description or "").split())
        kind = type_name(info.annotation)
        rows.append(f"| `{name}` | {kind} | `{value_name(default)}` | {cell(meaning)} |")
    return "\n".join(rows)


SECTIONS = {
    "model", "data", "sft", "sample", "collect", "studio", "webhook", "reward", "ppo", "dpo",
    "evaluate",
}  # fmt: skip


def type_name(annotation: Any) -> str:
    """A type as a reader of recipes knows it: ``int``, ``text``, ``"linear"`` or ``"cosine"``."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(a) for a in arguments if a is not type(None)) + (
            " or none" if type(None) in arguments else ""
        )
    if origin is typing.Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (list, tuple):
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return "mapping"
    return {str: "text", int: "int", float: "number", bool: "true or false"}.get(
        annotation, cell(str(annotation))
    )


def value_name(value: Any) -> str:
    """A default as YAML writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def cell(text: str) -> str:
    """Text that stays inside its table cell."""
    return text.replace("``", "`").replace("|", "\\|")


def source(file: str, function: str, first: str = "", last: str = "") -> str:
    """A function's code without its docstring, or its lines from ``first`` to ``last``.

    ``first`` and ``last`` are how a line of the body starts; the line of ``last`` is included.
    """
    text = (SOURCE / file).read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            keep = list(range(node.lineno - 1, node.end_lineno or node.lineno))
            if ast.get_docstring(node):
                doc = node.body[0]
                keep = [i for i in keep if not doc.lineno - 1 <= i < (doc.end_lineno or 0)]
            lines = [line for i, line in enumerate(text.splitlines()) if i in keep]
            if first:
                starts = [line.strip().startswith(first) for line in lines]
                ends = [line.strip().startswith(last or first) for line in lines]
                begin = starts.index(True)
                lines = lines[begin : ends.index(True, begin) + 1]
            code = textwrap.dedent("\n".join(lines))
            return f"```python\n# src/accord/{file}: {function}\n{code}\n```"
    raise LookupError(f"{file} has no function {function}")


def presets() -> str:
    """A table of the packaged presets: the first comment line of each file."""
    from accord.config import presets

    rows = [f"| `{name}` | {cell(line)} |" for name, line in presets().items()]
    return "\n".join(["| preset | what it is |", "|---|---|", *rows])


def verbs() -> str:
    """A table of the command line's verbs."""
    from typer.main import get_command

    from accord import cli

    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    rows = ["| command | what it does |", "|---|---|"]
    for name, command in commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join(
            p.metavar or (p.name.upper() if p.required else f"[{p.name.upper()}]")
            for p in arguments
        )
        first = (command.help or "").strip().split("\n\n")[0]
        rows.append(f"| `accord {name} {usage}".rstrip() + f"` | {cell(' '.join(first.split()))} |")
    return "\n".join(rows)


def main() -> int:
    """Rewrite stale pages; with ``--check``, exit 1 if there are any."""
    check = "--check" in sys.argv[1:]
    stale = []
    for page in pages():
        text = page.read_text("utf-8")
        fresh = render(text)
        if fresh != text:
            stale.append(page)
            if not check:
                page.write_text(fresh, "utf-8")
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'out of date' if check else 'rewritten'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
