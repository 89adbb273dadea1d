"""Freeze a recipe's data into artifacts, and hold prompts out before anything is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accord import artifacts, data, worlds
from accord.artifacts import Artifact
from accord.config import Recipe
from accord.data.screen import source_of
from accord.engine.schedule import shuffled
from accord.errors import ConfigError, DataError
from accord.types import Comparison, Demonstration, Message, Prompt, Ranking, Record, to_dict

BUILT_IN = "builtin:"
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Inputs:
    """The artifacts a run starts from; ``comparisons`` only when they were brought along."""

    demonstrations: Artifact | None
    prompts: Artifact
    heldout_prompts: Artifact
    comparisons: Artifact | None


def inputs(recipe: Recipe, out: Path) -> Inputs:
    """Read, check and freeze demonstrations, prompts and comparisons.

    ``data.eval_fraction`` of the prompts is held out; demonstrations and comparisons about a
    held-out prompt are left out too, and counted in the artifact's metrics. A prompt given twice
    counts once, so no copy of a held-out one is left to train on. Prompts with a tag ``user:...``
    are held out by user (Ouyang et al. 2022, A.2), so the share may be a little larger.

    Raises:
        ConfigError: no source for prompts.
        DataError: bad rows beyond ``data.max_bad_rows``, each reported as ``file:line: reason``.
    """
    demonstrations = _demonstrations(recipe)
    comparisons = _comparisons(recipe)
    prompts = _prompts(recipe, demonstrations, comparisons)
    heldout, train = _hold_out(prompts, recipe)
    unseen = {prompt.messages for prompt in heldout}

    def freeze(name: str, kind: str, records: Sequence[Record], dropped: int) -> Artifact:
        config = {"part": name, "records": _digest(records)}
        made = artifacts.current(out / name, kind, parents={}, config=config, seed=recipe.seed)
        if made is not None:
            return made
        metrics = {"num_records": len(records), "num_about_heldout_prompts": dropped}
        with artifacts.write(
            out / name, kind, config=config, seed=recipe.seed, metrics=metrics
        ) as folder:
            artifacts.write_records(folder, records)
        return artifacts.read(out / name)

    kept_demonstrations = _without(demonstrations, unseen)
    kept_comparisons = _without(comparisons, unseen)
    return Inputs(
        demonstrations=freeze(
            "demonstrations",
            "demonstrations",
            kept_demonstrations,
            len(demonstrations) - len(kept_demonstrations),
        )
        if demonstrations
        else None,
        prompts=freeze("prompts", "prompts", train, 0),
        heldout_prompts=freeze("heldout_prompts", "prompts", heldout, 0),
        comparisons=freeze(
            "comparisons",
            "comparisons",
            kept_comparisons,
            len(comparisons) - len(kept_comparisons),
        )
        if comparisons
        else None,
    )


def _hold_out(prompts: Sequence[Prompt], recipe: Recipe) -> tuple[list[Prompt], list[Prompt]]:
    """Held-out prompts and the others, each in their order."""
    order = shuffled(len(prompts), recipe.seed, "heldout-prompts")
    num_heldout = max(1, round(len(prompts) * recipe.data.eval_fraction))
    users = [source_of(prompt, ("user:",)) for prompt in prompts]
    places: dict[str, list[int]] = {}
    for i, user in enumerate(users):
        places.setdefault(user, []).append(i)
    held: set[int] = set()
    for i in order:
        if len(held) < num_heldout:
            held.update(places[users[i]] if users[i] else (i,))
    if len(held) >= len(prompts):
        by = " by user" if any(users) else ""
        raise DataError(f"data.prompts: {len(prompts)} prompts are too few to hold some out{by}")
    heldout = [prompt for i, prompt in enumerate(prompts) if i in held]
    return heldout, [prompt for i, prompt in enumerate(prompts) if i not in held]


def _digest(records: Sequence[Record]) -> str:
    """Hash of the records, so that an edited file is noticed under the same name."""
    state = hashlib.sha256()
    for record in records:
        state.update(json.dumps(to_dict(record), sort_keys=True).encode())
    return state.hexdigest()


def _demonstrations(recipe: Recipe) -> list[Demonstration]:
    source = recipe.data.demonstrations
    if source is None:
        return []
    if source.startswith(BUILT_IN):
        return worlds.get(source.removeprefix(BUILT_IN)).demonstrations()
    return data.read_demonstrations(source, **_options(recipe))


def _comparisons(recipe: Recipe) -> list[Comparison | Ranking]:
    source = recipe.data.comparisons
    return [] if source is None else data.read_comparisons(source, **_options(recipe))


def _prompts(
    recipe: Recipe,
    demonstrations: Sequence[Demonstration],
    comparisons: Sequence[Comparison | Ranking],
) -> list[Prompt]:
    source = recipe.data.prompts
    if source is not None and source.startswith(BUILT_IN):
        return worlds.get(source.removeprefix(BUILT_IN)).prompts()
    given = (
        [r.prompt for r in (*comparisons, *demonstrations)]
        if source is None
        else data.read_prompts(source, **_options(recipe))
    )
    found = {prompt.messages: prompt for prompt in given}
    if not found:
        raise ConfigError(
            "data.prompts: no prompts; name a file, a hub dataset, or builtin:tiny, "
            "or give data.comparisons or data.demonstrations to take their prompts"
        )
    return list(found.values())


def _options(recipe: Recipe) -> dict[str, Any]:
    return {
        "columns": recipe.data.columns,
        "format": recipe.data.format,
        "max_bad_rows": recipe.data.max_bad_rows,
        "bad_rows_path": Path(recipe.out) / "bad-rows.txt",
    }


def _without(records: Sequence[Any], unseen: set[tuple[Message, ...]]) -> list[Any]:
    return [record for record in records if record.prompt.messages not in unseen]
