"""YAML as a tree of text that remembers its lines.

Scalars stay text until the field's own type converts them. So none of YAML 1.1's traps exist:
``1e-5`` is a number where a number is wanted, ``no`` is text where text is wanted, and the
revision ``0012345`` keeps its zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

from accord.errors import ConfigError

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | str | None"
Key: TypeAlias = tuple[str, ...]

_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class Layer:
    """One source of values: the tree and, for each key in it, where it stands."""

    tree: dict[str, Tree]
    origins: dict[Key, str]


def parse(text: str, name: str) -> Layer:
    """A YAML document as a layer.

    Args:
        text: the document.
        name: how messages call it; lines are given as ``name:LINE``.

    Raises:
        ConfigError: not YAML, a key twice, a key that is no text, or no mapping at the top.
    """
    root = _compose(text, name)
    origins: dict[Key, str] = {}
    tree = None if root is None else _convert(root, (), origins, name)
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{name}:1: a recipe is made of sections, such as `ppo:`; found {tree!r}")
    return Layer(tree or {}, origins)


def read(path: Path) -> Layer:
    """A YAML file as a layer.

    Raises:
        ConfigError: it cannot be read, or :func:`parse` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
    return parse(text, str(path))


def parse_override(text: str) -> tuple[Key, Tree]:
    """``ppo.kl_coef=0.1`` as a key and a value in YAML.

    Text that is no YAML, or would be a mapping without braces (``You are: kind``), stays text.

    Raises:
        ConfigError: no ``=``, or an empty part in the key.
    """
    dotted, equals, value = text.partition("=")
    key = tuple(part.strip() for part in dotted.removeprefix("--").split("."))
    if not equals or not all(key):
        raise ConfigError(
            f"command line: {text!r} is not an override; write section.key=value, "
            "for example ppo.kl_coef=0.1"
        )
    value = value.strip()
    if value.startswith(("{", "[", '"', "'")):
        root = _compose(value, f"command line ({text})")
        return key, None if root is None else _convert(root, (), {}, f"command line ({text})")
    return key, None if value in ("", "~", "null", "Null", "NULL") else value


def merge(low: Mapping[str, Tree], high: Mapping[str, Tree]) -> dict[str, Tree]:
    """``low`` with the values of ``high`` over it, section by section."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{name}: not valid YAML: {reason}") from error
    return root


def _convert(node: yaml.Node, key: Key, origins: dict[Key, str], name: str) -> Tree:
    origins.setdefault(key, f"{name}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == _NULL else str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_convert(item, (*key, str(i)), origins, name) for i, item in enumerate(node.value)]
    tree: dict[str, Tree] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{name}:{line}: a key must be plain text")
        below = (*key, str(key_node.value))
        if below[-1] in tree:
            first = origins[below].rpartition(":")[2]
            raise ConfigError(
                f"{name}:{line}: {'.'.join(below)!r} is set twice (first on line {first}); "
                "keep one of them"
            )
        origins[below] = f"{name}:{line}"
        tree[below[-1]] = _convert(value_node, below, origins, name)
    return tree
