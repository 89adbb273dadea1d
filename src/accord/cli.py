"""The command line: one short function per verb; heavy imports only inside them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from accord import cli_lead as cli_lead  # adds its commands to `accord studio`
from accord.cli_studio import load_recipe, studio
from accord.errors import AccordError

if TYPE_CHECKING:
    from accord.data.export import Shape

app = typer.Typer(
    name="accord",
    help="Reinforcement learning from human feedback, end to end.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(studio, name="studio")

RecipeArgs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE.yaml] [SECTION.FIELD=VALUE]...",
        help="A recipe file, and settings that win over it.",
        show_default=False,
    ),
]
PresetOption = Annotated[
    list[str] | None,
    typer.Option(help="Start from a preset (tiny, quickstart, instructgpt, ...); may repeat."),
]
OutOption = Annotated[str | None, typer.Option(help="Folder for the run's artifacts.")]
RatersOption = Annotated[
    str | None, typer.Option(help="Who judges: simulated, or studio for people.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print every setting and where it comes from; do nothing.")
]


@app.command()
def run(
    recipe: RecipeArgs = None,
    preset: PresetOption = None,
    out: OutOption = None,
    raters: RatersOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Run a recipe's whole loop; what is finished is not done again."""
    _execute(_with_raters(recipe, raters), preset, out, dry_run, only=None)


def _stage_command(name: str, help_text: str) -> Callable[..., None]:
    def command(
        recipe: RecipeArgs = None,
        preset: PresetOption = None,
        out: OutOption = None,
        dry_run: DryRunOption = False,
    ) -> None:
        _execute(recipe, preset, out, dry_run, only=name)

    command.__doc__ = help_text
    return app.command(name)(command)


_stage_command("sft", "Fine-tune the base model on demonstrations.")
_stage_command("sample", "Draw candidates for every prompt from the SFT policy.")


@app.command()
def collect(
    recipe: RecipeArgs = None,
    preset: PresetOption = None,
    out: OutOption = None,
    raters: RatersOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Have the candidates compared by raters, simulated ones or people."""
    _execute(_with_raters(recipe, raters), preset, out, dry_run, only="collect")


for _name, _help in {
    "reward": "Train the reward model, and the held-out judge.",
    "ppo": "Tune the policy against the reward model with PPO.",
    "dpo": "Tune the policy on the comparisons directly with DPO.",
    "evaluate": "Compare the policies on held-out prompts and write the report.",
}.items():
    _stage_command(_name, _help)


@app.command()
def chat(
    policy: Annotated[str, typer.Argument(help="A policy folder, or a model's name.")],
    other: Annotated[str | None, typer.Argument(help="A second one, to hear both.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0)] = 0.7,
    max_tokens: Annotated[int, typer.Option(min=1)] = 200,
    seed: int = 0,
) -> None:
    """Talk to a policy, or to two; /reset starts anew, Ctrl-D ends."""
    from accord.config import load
    from accord.stages.chat import chat as talk

    recipe = load(None, [f"seed={seed}", "model.max_tokens=2048", "data.max_prompt_tokens=1536"])
    talk(recipe, [p for p in (policy, other) if p is not None], _lines(), temperature, max_tokens)


@app.command()
def verify(path: Path) -> None:
    """Check an artifact and its ancestors: files, hashes, parents."""
    from accord import artifacts

    problems = artifacts.verify(path)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{path}: sound")


@app.command()
def lineage(path: Path) -> None:
    """Show what an artifact was made from, as a tree."""
    from rich.console import Console

    from accord import artifacts

    Console(soft_wrap=True).print(artifacts.lineage(path))


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="An artifact, a data file, or a hub dataset.")],
    dest: Annotated[Path, typer.Argument(help="A .jsonl or .parquet file.")],
    shape: Annotated[str, typer.Option(help="For example trl-preference or nemo-rank.")],
) -> None:
    """Write feedback in a shape that other libraries read."""
    from accord import data

    count = data.export(data.read(source).records, dest, shape=cast("Shape", shape))
    typer.echo(f"{count} rows in {dest}")


@app.command()
def doctor() -> None:
    """Say what this machine offers and what is missing."""
    from accord.stages.doctor import report

    report()


def main() -> None:
    """Entry point: errors become one message on stderr and exit code 1."""
    # Spinning OpenMP threads collapse beside any other busy process; waiting ones do not.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
    except AccordError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        sys.exit(1)


def _execute(
    words: list[str] | None,
    preset: list[str] | None,
    out: str | None,
    dry_run: bool,
    only: str | None,
) -> None:
    recipe = load_recipe(words, preset, out)
    if dry_run:
        from rich.console import Console

        from accord.config import explain

        Console().print(explain(recipe))
        return
    from accord.cli_serve import people
    from accord.stages.run import run as run_recipe
    from accord.stages.summary import summary

    start = time.monotonic()
    try:
        artifact = run_recipe(recipe, only, people)
    except KeyboardInterrupt as stop:  # typer would end here without a word
        typer.echo("\nstopped; the same command goes on from the last finished step", err=True)
        raise typer.Exit(130) from stop
    typer.echo(summary(recipe, artifact, time.monotonic() - start))


def _with_raters(words: list[str] | None, raters: str | None) -> list[str] | None:
    return words if raters is None else [*(words or []), f"collect.raters={raters}"]


def _lines() -> Iterator[str]:
    while True:
        if sys.stdin.isatty():
            sys.stdout.write("\nyou> ")
            sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        yield line


if __name__ == "__main__":
    main()
