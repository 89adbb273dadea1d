"""Task schemas from YAML: the presets that ship, and files of a user's own."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

from accord.config.tree import Layer, parse, read
from accord.errors import ConfigError
from accord.store.task import Label, PairLabel, TaskSchema

SCHEMAS = Path(__file__).parent / "schemas"
INNER: dict[str, type[BaseModel]] = {"response_labels": Label, "pair_labels": PairLabel}


def presets() -> dict[str, str]:
    """Name -> one line on what it asks (the first comment of its file), sorted by name."""
    return {
        path.stem: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        for path in sorted(SCHEMAS.glob("*.yaml"))
    }


def load_schema(name: str | Path) -> TaskSchema:
    """A preset by name, or a user's own YAML file.

    Raises:
        ConfigError: no such preset or file, or every problem in it, one a line, with its place.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return _build(read(path))
    if str(name) not in presets():
        raise ConfigError(
            f"unknown task schema {str(name)!r}; use one of {', '.join(presets())}, "
            "or the path of your own .yaml file"
        )
    return _build(parse((SCHEMAS / f"{name}.yaml").read_text("utf-8"), f"schemas/{name}.yaml"))


def _build(layer: Layer) -> TaskSchema:
    try:
        return TaskSchema.model_validate(layer.tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(error, layer))) from error


def _problems(error: ValidationError, layer: Layer) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        key = tuple(str(part) for part in problem["loc"])
        fields = problem.get("ctx", {}).get("fields", ())
        exact = next(((f,) for f in fields if (f,) in layer.origins), key)
        while exact and exact not in layer.origins:
            exact = exact[:-1]
        place = layer.origins.get(exact, "task schema")
        if problem["type"] == "extra_forbidden":
            inner = INNER.get(key[0]) if len(key) > 1 else TaskSchema
            known = (inner or TaskSchema).model_fields
            near = difflib.get_close_matches(key[-1], list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            yield f"{place}: unknown key {key[-1]!r}; {hint}"
            continue
        yield f"{place}: {'.'.join(key)} {problem['msg']}".replace("Input should be", "must be")
