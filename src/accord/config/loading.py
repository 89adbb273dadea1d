"""From presets, a recipe file and the command line to one checked :class:`Recipe`, and back."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from rich.table import Table
from rich.text import Text

from accord.config.recipe import Recipe
from accord.config.tree import Key, Layer, Tree, merge, parse, parse_override, read
from accord.errors import ConfigError

PRESETS = Path(__file__).parents[1] / "presets"
COMMAND_LINE = "command line"


def load(
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    preset: str | Sequence[str] | None = None,
) -> Recipe:
    """Read a recipe and check all of it.

    Values win in this order: overrides, recipe file, ``preset``, the recipe's own ``preset:``,
    defaults.

    Args:
        path: a YAML file; None for defaults.
        overrides: ``section.key=value``, the value in YAML; the last of equal keys wins.
        preset: names of presets to lay over those that the recipe names.

    Raises:
        ConfigError: every problem, one a line, with file and line, and the nearest known name.
    """
    recipe = read(Path(path)) if path is not None else Layer({}, {})
    command_line = _overrides(overrides)
    own = command_line.tree.get("preset", recipe.tree.get("preset"))
    where = _origin((command_line, recipe), ("preset",))
    asked = [preset] if isinstance(preset, str) else list(preset or ())
    names = [*(name for name in _names(own, where) if name not in asked), *asked]
    layers = [*(_preset(name, where) for name in names), recipe, command_line]
    problems = [
        problem for layer in layers for problem in _unknown(layer.tree, Recipe, (), layer.origins)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    tree: dict[str, Tree] = {}
    for layer in layers:
        tree = merge(tree, _without_empty_sections(layer.tree))
    if names:
        tree["preset"] = names[0] if len(names) == 1 else list(names)
    layers.reverse()
    try:
        loaded = Recipe.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_messages(error, layers))) from error
    for key, _ in _leaves(loaded):
        origin = _origin(layers, key)
        if origin:
            loaded._sources[".".join(key)] = origin
    return loaded


def presets() -> dict[str, str]:
    """Name -> one line on what it is (the first comment of its file), sorted by name."""
    return {
        path.stem: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        for path in sorted(PRESETS.glob("*.yaml"))
    }


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML, every value written out; ``load`` gives an equal one back."""
    text: str = yaml.safe_dump(
        recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=1000
    )
    return text


def explain(recipe: Recipe) -> Table:
    """A table for the terminal: each value of the resolved recipe and where it came from."""
    table = Table("key", "value", "from", title="resolved recipe", title_justify="left")
    section = ""
    for key, value in _leaves(recipe):
        if key[0] != section and len(key) > 1:
            section = key[0]
            table.add_section()
        source = recipe.source(".".join(key))
        style = "dim" if source == "default" else ""
        shown = value if isinstance(value, str) else json.dumps(value)
        table.add_row(Text(".".join(key)), Text(shown), Text(source), style=style)
    return table


def _overrides(overrides: Sequence[str]) -> Layer:
    tree: dict[str, Tree] = {}
    origins: dict[Key, str] = {}
    for text in overrides:
        key, value = parse_override(text)
        branch: Tree = value
        for part in reversed(key):
            branch = {part: branch}
        assert isinstance(branch, dict)
        tree = merge(tree, branch)
        for length in range(1, len(key)):
            origins[key[:length]] = COMMAND_LINE
        origins.update((below, COMMAND_LINE) for below in _keys(value, key))
    return Layer(tree, origins)


def _keys(tree: Tree, key: Key) -> Iterator[Key]:
    yield key
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield from _keys(below, (*key, name))


def _names(value: object, where: str) -> list[str]:
    if value is None:
        return []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}: preset must be a name or a list of names, not {value!r}")
    return list(names)


@cache
def _preset(name: str, where: str) -> Layer:
    path = PRESETS / f"{name}.yaml"
    known = list(presets())
    if name not in known:
        at = f"{where}: " if where else ""
        raise ConfigError(
            f"{at}unknown preset {name!r}{_did_you_mean(name, known)}; known: {', '.join(known)}"
        )
    text = path.read_text(encoding="utf-8")
    layer, lines = parse(text, name), text.splitlines()
    origins = {}
    for key, place in layer.origins.items():
        _, _, comment = lines[int(place.rpartition(":")[2]) - 1].partition(" # ")
        origins[key] = f"preset {name}" + (f" ({comment.strip()})" if comment else "")
    return Layer(layer.tree, origins)


def _unknown(
    tree: Mapping[str, Tree], model: type[BaseModel], key: Key, origins: Mapping[Key, str]
) -> Iterator[str]:
    """Messages for keys that no field has and sections that are no mapping."""
    section = f" in {'.'.join(key)}" if key else ""
    for name, value in tree.items():
        place = origins[(*key, name)]
        field = model.model_fields.get(name)
        if field is None:
            hint = _did_you_mean(name, list(model.model_fields)) or _elsewhere(name)
            yield f"{place}: unknown key {name!r}{section}{hint}"
            continue
        below = _section(field)
        if below is not None:
            if isinstance(value, dict):
                yield from _unknown(value, below, (*key, name), origins)
            elif value is not None:
                yield f"{place}: {name} is a section; write its keys below it, not {value!r}"


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _elsewhere(name: str) -> str:
    found = [
        f"{key}.{name}"
        for key, field in Recipe.model_fields.items()
        if (section := _section(field)) and name in section.model_fields
    ]
    return f"; there is {' and '.join(found)}" if found else ""


def _without_empty_sections(tree: Mapping[str, Tree]) -> dict[str, Tree]:
    """Drop sections whose keys are all commented out: YAML reads those as null."""
    return {
        key: value
        for key, value in tree.items()
        if value is not None or _section(Recipe.model_fields[key]) is None
    }


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section; None for a field that holds a value."""
    below = field.annotation
    return below if isinstance(below, type) and issubclass(below, BaseModel) else None


def _messages(error: ValidationError, layers: Sequence[Layer]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        key = tuple(str(part) for part in problem["loc"])
        context = problem.get("ctx", {})
        if problem["type"] == "cross_field":
            keys = [(*key, *field.split(".")) for field in context["fields"]]
            places = (place for place in (_origin(layers, k) for k in keys) if place)
            section = f"{'.'.join(key)}: " if key else ""
            yield f"{next(places, 'defaults')}: {section}{problem['msg']}"
            continue
        while key and not _origin_exact(layers, key):
            key = key[:-1]  # pydantic adds the branch of a union to the path
        reason = problem["msg"].replace("Input should be", "must be").partition(", unable")[0]
        given = "null" if problem["input"] is None else repr(problem["input"])
        yield f"{_origin(layers, key)}: {'.'.join(key)} {reason}, not {given}"


def _origin(layers: Sequence[Layer], key: Key) -> str:
    """Where the highest layer that sets ``key`` does so; "" if none does."""
    while key:
        if place := _origin_exact(layers, key):
            return place
        if len(key) <= 2:
            return ""
        key = key[:-1]
    return ""


def _origin_exact(layers: Sequence[Layer], key: Key) -> str:
    return next((layer.origins[key] for layer in layers if key in layer.origins), "")


def _leaves(model: BaseModel, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name in type(model).model_fields:
        value = model.__dict__[name]
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*key, name))
        else:
            yield (*key, name), value
