"""Imports point one way: the import graph of the source against the layers of the design."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "accord"

BASE = {"base"}
MIDDLE = {"algorithms", "feedback", "worlds", "data", "models", "engine", "gauges"}
ALLOWED = {
    "base": BASE,
    "algorithms": set(),
    "feedback": BASE,
    "worlds": BASE | {"feedback"},
    "data": BASE,
    "models": BASE | {"algorithms", "data", "worlds"},
    "engine": BASE | {"models", "algorithms"},
    "gauges": BASE | {"algorithms", "feedback"},
    "stages": BASE | MIDDLE | {"store"},
    "store": BASE | {"feedback", "data"},
    "web": BASE | {"data", "feedback", "store"},
    "doctor": BASE | MIDDLE,
    "cli": BASE | MIDDLE | {"doctor", "stages", "store", "web"},
}
STAGES = {"sft", "sample", "collect", "reward", "ppo", "rloo", "dpo", "evaluate"}
MAY_CHAIN_STAGES = {"run", "round"}

HEAVY = {"torch", "transformers", "peft", "pandas", "pyarrow", "datasets", "gguf", "tensorboard"}
NEVER_HEAVY = {"feedback", "worlds", "store", "web"}
LATE_HEAVY = {"base", "data", "doctor", "cli"}
"""Layers that may import a heavy package only inside a function."""


@dataclass(frozen=True)
class Import:
    """One imported module, where it is imported, and whether importing the file imports it."""

    module: str
    line: int
    eager: bool


def imports(tree: ast.Module, package: str) -> Iterator[Import]:
    """Every import of a module of ``package``, with relative imports made absolute."""

    def visit(node: ast.AST, eager: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, eager)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            prefix = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (prefix, node.module) if part)
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", node.lineno, eager)
        late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, eager and not late and not typing_only)

    yield from visit(tree, True)


def layer(parts: tuple[str, ...]) -> str:
    """The layer of a module path below ``accord``: its folder, ``cli``, ``doctor`` or ``base``."""
    first = parts[0] if parts else ""
    if first.startswith("cli_"):
        return "cli"
    return first if first in ALLOWED else "base"


def violations(root: Path) -> list[str]:
    """Every import in the package at ``root`` the layers forbid, as ``file:line: why``."""
    found: list[str] = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
            package = ".".join(("accord", *parts))
        else:
            package = ".".join(("accord", *parts[:-1]))
        here = layer(parts)
        for item in imports(ast.parse(path.read_text("utf-8")), package):
            why = complaint(here, parts, item)
            if why:
                found.append(f"{path.relative_to(root)}:{item.line}: {why}")
    return found


def complaint(here: str, parts: tuple[str, ...], item: Import) -> str | None:
    """Why a module in layer ``here`` may not import ``item`` (None: it may)."""
    top, *below = item.module.split(".")
    if top != "accord":
        if here == "algorithms" and top != "torch" and top not in sys.stdlib_module_names:
            return f"algorithms imports {top}; it may import torch alone"
        if top in HEAVY and here in NEVER_HEAVY:
            return f"{here} imports {top}; it must run without it"
        if top in HEAVY and here in LATE_HEAVY and item.eager:
            return f"{here} imports {top} when it is imported; move the import into the function"
        return None
    there = layer(tuple(below))
    if there != here and there not in ALLOWED[here]:
        return f"{here} imports {there} ({item.module})"
    if here == there == "stages" and len(below) > 1 and len(parts) > 1:
        stage, me = below[1], parts[-1]
        if stage in STAGES and stage != me and me not in MAY_CHAIN_STAGES:
            return f"stage {me} imports stage {stage}; only {sorted(MAY_CHAIN_STAGES)} may"
    return None


def test_every_import_of_accord_points_one_way() -> None:
    assert violations(SOURCE) == []


@pytest.mark.parametrize(
    ("file", "code", "expected"),
    [
        ("algorithms/kl.py", "import torch\nimport math", None),
        ("algorithms/kl.py", "import numpy", "algorithms/kl.py:1: algorithms imports numpy"),
        ("algorithms/kl.py", "from accord.types import Prompt", "algorithms imports base"),
        ("feedback/simulate.py", "def f():\n    import torch", "simulate.py:2: feedback imports"),
        ("feedback/simulate.py", "import numpy\nfrom accord.config import Recipe", None),
        ("config.py", "import torch", "base imports torch when it is imported"),
        ("config.py", "def f():\n    import torch", None),
        (
            "config.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
            None,
        ),
        ("config.py", "try:\n    import pandas\nexcept ImportError:\n    pass", "imports pandas"),
        ("data/readers.py", "from accord import engine", "data imports engine"),
        ("data/readers.py", "from .. import engine", "data imports engine (accord.engine)"),
        ("data/readers.py", "from . import tables", None),
        ("data/__init__.py", "from .tables import read\nfrom ..errors import DataError", None),
        ("stages/ppo.py", "from accord.stages.sft import run", "stage ppo imports stage sft"),
        ("stages/ppo.py", "from . import sft", "stage ppo imports stage sft"),
        ("stages/run.py", "from accord.stages import ppo, sft", None),
        ("stages/__init__.py", "from accord.stages.ppo import ppo", None),
        ("stages/run.py", "from accord import cli", "stages imports cli"),
        ("engine/sampler.py", "from accord.stages import ppo", "engine imports stages"),
        ("web/server.py", "from accord.models import load", "web imports models"),
        ("store/rounds.py", "from accord.stages import collect", "store imports stages"),
        ("cli_studio.py", "def f():\n    from accord.web import app", None),
        ("cli.py", "import transformers", "cli imports transformers when it is imported"),
        ("cli.py", "from accord import stages", None),
    ],
)
def test_the_checker_sees_a_planted_violation(
    tmp_path: Path, file: str, code: str, expected: str | None
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    found = violations(tmp_path)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert expected in found[0]
