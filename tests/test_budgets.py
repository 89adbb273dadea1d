"""The sizes and habits the design promises, measured: a budget that is passed fails here."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "accord"
FILES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
HEAVY = ("torch", "transformers", "peft", "pandas", "pyarrow", "datasets", "tensorboard")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines(path: Path) -> int:
    """Number of lines of a file."""
    return len(path.read_text("utf-8").splitlines())


def name(path: Path) -> str:
    """A path as messages show it."""
    return str(path.relative_to(ROOT))


def long_functions(tree: ast.AST, limit: int) -> dict[str, int]:
    """Functions longer than ``limit`` lines, decorators left out."""
    lengths = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, Function)
    }
    return {function: length for function, length in lengths.items() if length > limit}


def broad_excepts(tree: ast.AST) -> list[int]:
    """Lines of handlers that catch everything."""
    broad = {"Exception", "BaseException"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or broad & {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
        )
    ]


def guards(tree: ast.AST) -> int:
    """Calls of ``hasattr`` and ``getattr``."""
    return sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"hasattr", "getattr"}
        for node in ast.walk(tree)
    )


def undocumented(tree: ast.Module) -> list[str]:
    """Public classes, functions and methods without a docstring; the module counts as one.

    A body of ``...`` (an overload, a protocol's member) is documented at its implementation.
    """
    missing = [] if ast.get_docstring(tree) else ["module"]
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    while scopes:
        for node in scopes.pop().body:
            if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                continue
            stub = ast.unparse(node.body[-1]) == "..."
            if not ast.get_docstring(node) and not stub:
                missing.append(f"{node.name} (line {node.lineno})")
            if isinstance(node, ast.ClassDef):
                scopes.append(node)
    return missing


def test_the_package_is_at_most_two_levels_deep() -> None:
    deep = [name(path) for path in FILES if len(path.relative_to(SOURCE.parent).parts) - 1 > 2]
    assert deep == []


def test_no_file_is_longer_than_400_lines() -> None:
    assert {name(path): lines(path) for path in FILES if lines(path) > 400} == {}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_functions_are_short(path: Path) -> None:
    long = long_functions(ast.parse(path.read_text("utf-8")), limit=60)
    loops = 1 if path.parent.name == "stages" else 0
    assert len(long) <= loops, f"{name(path)}: at most 60 lines a function: {long}"
    assert all(length <= 100 for length in long.values()), f"{name(path)}: {long}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_public_symbol_has_a_docstring(path: Path) -> None:
    assert undocumented(ast.parse(path.read_text("utf-8"))) == [], name(path)


def test_nothing_catches_everything() -> None:
    found = {name(p): broad_excepts(ast.parse(p.read_text("utf-8"))) for p in FILES}
    assert {path: where for path, where in found.items() if where} == {}


def test_attributes_are_known_not_guessed() -> None:
    found = {name(path): guards(ast.parse(path.read_text("utf-8"))) for path in FILES}
    allowed = 0.5 * sum(map(lines, FILES)) / 1000
    where = {path: count for path, count in found.items() if count}
    assert sum(found.values()) <= allowed, f"hasattr/getattr: {where}, allowed {allowed:.1f}"


def test_tests_are_about_as_long_as_the_source() -> None:
    source, tests = sum(map(lines, FILES)), sum(map(lines, TESTS))
    assert tests >= 0.9 * source, f"{tests} test lines for {source} source lines"


def test_the_checkers_see_what_they_look_for() -> None:
    planted = ast.parse(
        '"""Module."""\n'
        "def long():\n" + "    x = 1\n" * 61 + "try:\n    pass\nexcept (ValueError, Exception):\n"
        "    hasattr(x, 'y')\n"
        "try:\n    pass\nexcept OSError:\n    pass\nexcept:\n    pass\n"
        "class Public:\n    def method(self): pass\n    def _private(self): pass\n"
    )
    assert long_functions(planted, 60) == {"long": 62}
    assert broad_excepts(planted) == [66, 72]
    assert guards(planted) == 1
    assert undocumented(planted) == [
        "long (line 2)",
        "Public (line 74)",
        "method (line 75)",
    ]


def test_the_top_of_the_package_is_small() -> None:
    accord = importlib.import_module("accord")
    public: set[str] = set(vars(accord).get("__all__", ())) or {
        key
        for key, value in vars(accord).items()
        if not key.startswith("_") and not isinstance(value, ModuleType)
    }
    assert len(public) <= 40, sorted(public)


def test_config_sections_are_small() -> None:
    config = importlib.import_module("accord.config")
    sections = [
        value
        for value in vars(config).values()
        if inspect.isclass(value) and issubclass(value, BaseModel) and value is not BaseModel
    ]
    assert len(sections) >= 9
    for section in sections:
        assert len(section.model_fields) <= 25, section.__name__
        for field, info in section.model_fields.items():
            assert info.description, f"{section.__name__}.{field} has no docstring"


def python(code: str) -> tuple[str, float]:
    """Run code in a fresh interpreter: its output and its CPU seconds, user and system."""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT
    )
    assert child.stdout is not None
    output = child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, output
    return output, usage.ru_utime + usage.ru_stime


HELP = "import sys; sys.argv = ['accord', '--help']; from accord.cli import main; main()"
SHOW_HEAVY = f"import sys; print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))"


def test_import_accord_is_light() -> None:
    output, _ = python(f"import accord; {SHOW_HEAVY}")
    assert output.splitlines()[-1] == "HEAVY []"


def test_help_is_light() -> None:
    output, _ = python(f"import atexit; atexit.register(lambda: exec({SHOW_HEAVY!r})); {HELP}")
    assert "Usage" in output
    assert output.splitlines()[-1] == "HEAVY []"


def test_help_takes_at_most_half_a_second_of_cpu() -> None:
    python(HELP)  # bytecode is compiled once
    best = min(python(HELP)[1] for _ in range(5))
    assert best <= 0.5, f"accord --help takes {best:.2f} s of CPU time"
