"""What a run says while it works: metrics, samples, a progress bar, a tracker.

The truth is two append-only files beside the checkpoint, ``metrics.jsonl`` and ``samples.jsonl``;
TensorBoard (default), wandb and trackio are views of them. Each line is one ``write`` to a file
opened for appending, so ``kill -9`` costs at most a torn last line, which the next start drops.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from accord.errors import ArtifactError, ConfigError

PLAIN_LINE_SECONDS = 10.0
CELL_CHARS = 280
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Tracker:
    """Record one stage's metrics and samples and show its progress; a context manager.

    ``step`` counts finished steps, from 1.

    Args:
        folder: where ``metrics.jsonl``, ``samples.jsonl`` and ``tensorboard/`` go; made if absent.
        stage: the stage's name, shown on the bar.
        total_steps: steps of the whole stage; None when it is not known in advance.
        quiet: print nothing (the files are still written).
        trackers: views to feed, of "tensorboard", "wandb" and "trackio". None takes the comma
            separated ``ACCORD_TRACKERS``, and TensorBoard where that is not set; () feeds none.
        show: the metrics shown beside the bar; empty shows the first four that were logged.
        console: where to print; None is standard output.

    Raises:
        ConfigError: an unknown tracker, or one whose package is not installed.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        total_steps: int | None,
        quiet: bool = False,
        *,
        trackers: Sequence[str] | None = None,
        show: Sequence[str] = (),
        console: Console | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stage = stage
        self.total_steps = total_steps
        self._show = tuple(show)
        self._console = console or Console(quiet=quiet)
        self._metrics = _Lines(folder / "metrics.jsonl")
        self._samples = _Lines(folder / "samples.jsonl")
        if trackers is None:
            trackers = os.environ.get("ACCORD_TRACKERS", "tensorboard").replace(",", " ").split()
        self._views = [_view(name, folder, stage) for name in trackers]
        self._latest: dict[str, float] = {}
        self._first_step = 0
        self._started = time.monotonic()
        self._printed = -math.inf
        self._unprinted = ""
        self._bar = _bar(self._console, stage, total_steps) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        """Start the clock and the bar."""
        self._started = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print the last line, close the files and the views; an exception passes through."""
        if self._bar is not None:
            self._bar.stop()
        elif self._unprinted:
            self._console.print(Text(self._unprinted), soft_wrap=True)
        self._metrics.close()
        self._samples.close()
        for view in self._views:
            view.close()

    def truncate(self, step: int) -> None:
        """Forget every line after ``step``, the last finished step of the restored checkpoint.

        Call it once, before the first :meth:`log` of a resumed run: the steps that are run again
        are then not recorded twice.

        Raises:
            ArtifactError: a line that is not the JSON of a tracker.
        """
        self._metrics.truncate(step)
        self._samples.truncate(step)
        for view in self._views:
            view.truncate(step)
        self._first_step = step
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one step; NaN and infinities are kept as "nan", "inf", "-inf".

        Logging a step twice adds to it (training metrics first, held-out ones later).
        """
        now = time.time()
        values = {name: float(value) for name, value in metrics.items()}
        self._metrics.append({"step": step, "time": round(now, 3), **values})
        for view in self._views:
            view.log(step, now, values)
        self._latest |= values
        self._progress(step)

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record completions of one step and print them as a table a person can read.

        Args:
            step: the step that made them.
            rows: one mapping each, with the same keys: ``prompt``, ``completion``, ``score``, ...
        """
        for row in rows:
            self._samples.append({"step": step, **row})
        if not rows:
            return
        for view in self._views:
            view.text(step, time.time(), f"{self.stage}/samples", _markdown_table(rows))
        self._console.print(_rich_table(f"{self.stage} step {step}", rows))

    def message(self, text: str) -> None:
        """Print one line above the bar; square brackets are plain text."""
        self._console.print(Text(_printable(text)))

    def _progress(self, step: int) -> None:
        rate, summary = self._rate(step), self._summary()
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=step, rate=rate, metrics=summary)
            return
        total = "" if self.total_steps is None else f"/{self.total_steps}"
        self._unprinted = f"{self.stage} {step}{total}  {rate}  {summary}"
        now = time.monotonic()
        if step == self.total_steps or now - self._printed >= PLAIN_LINE_SECONDS:
            self._console.print(Text(self._unprinted), soft_wrap=True)
            self._printed, self._unprinted = now, ""

    def _rate(self, step: int) -> str:
        """Steps a second of this process (a resumed run starts afresh) and the time left."""
        seconds = time.monotonic() - self._started
        done = step - self._first_step
        if done <= 0 or seconds <= 0:
            return ""
        pace = f"{done / seconds:.2f} step/s" if done >= seconds else f"{seconds / done:.1f} s/step"
        if self.total_steps is None:
            return pace
        left = max(self.total_steps - step, 0) * seconds / done
        return f"{pace}, {_clock(left)} left" if left else f"{pace}, took {_clock(seconds)}"

    def _summary(self) -> str:
        names = self._show or tuple(self._latest)[:4]
        shown = [(n.split("/")[-1], self._latest[n]) for n in names if n in self._latest]
        return "  ".join(f"{name} {value:.3g}" for name, value in shown)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The metrics of a stage, one mapping a step in order; lines of one step are merged.

    A torn last line is left out; "nan", "inf" and "-inf" come back as floats.

    Raises:
        ArtifactError: there is no such file, or a line that is not the JSON of a tracker.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: no metrics here; was the stage run with this folder?")
    steps: dict[int, dict[str, float]] = {}
    for row in _read_lines(path):
        values = {name: float(value) for name, value in row.items()}
        steps.setdefault(int(row["step"]), {}).update(values)
    return [steps[step] for step in sorted(steps)]


class _Lines:
    """A JSON-lines file that is only appended to, a whole line in one system call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = self._open()

    def _open(self) -> int:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):
            os.ftruncate(file, data.rfind(b"\n") + 1)
        return file

    def append(self, row: Mapping[str, Any]) -> None:
        bad = {k: str(v) for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
        text = json.dumps({**row, **bad}, ensure_ascii=False, allow_nan=False) + "\n"
        line = text.encode("utf-8", "backslashreplace")
        while line:
            line = line[os.write(self._file, line) :]

    def truncate(self, step: int) -> None:
        rows = _read_lines(self.path)
        if all(row["step"] <= step for row in rows):
            return
        self.close()
        lines = self.path.read_bytes().splitlines(keepends=True)
        temporary = self.path.with_suffix(".tmp")
        kept = [line for line, row in zip(lines, rows, strict=False) if row["step"] <= step]
        with temporary.open("wb") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        self._file = self._open()

    def close(self) -> None:
        os.close(self._file)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not (isinstance(row, dict) and isinstance(row.get("step"), int)):
            raise ArtifactError(
                f"{path}:{number}: not a line of a tracker ({line[:60]!r}); "
                "the file was changed or the disk lost data: delete that line to go on"
            )
        rows.append(row)
    return rows


class _View(Protocol):
    """Somewhere metrics are also shown."""

    def log(self, step: int, now: float, metrics: Mapping[str, float]) -> None: ...
    def text(self, step: int, now: float, tag: str, markdown: str) -> None: ...
    def truncate(self, step: int) -> None: ...
    def close(self) -> None: ...


class _TensorBoard:
    """TensorBoard's own event file writer and protobufs; neither torch nor TensorFlow."""

    def __init__(self, folder: Path) -> None:
        proto = "tensorboard.compat.proto."
        self._event = _optional(f"{proto}event_pb2", "tensorboard")
        self._summary = _optional(f"{proto}summary_pb2", "tensorboard")
        self._tensor = _optional(f"{proto}tensor_pb2", "tensorboard")
        writer = _optional("tensorboard.summary.writer.event_file_writer", "tensorboard")
        self._writer = writer.EventFileWriter(str(folder / "tensorboard"))

    def _add(self, step: int, now: float, **content: Any) -> None:
        self._writer.add_event(self._event.Event(step=step, wall_time=now, **content))
        self._writer.flush()

    def log(self, step: int, now: float, metrics: Mapping[str, float]) -> None:
        value = self._summary.Summary.Value
        values = [value(tag=tag, simple_value=number) for tag, number in metrics.items()]
        self._add(step, now, summary=self._summary.Summary(value=values))

    def text(self, step: int, now: float, tag: str, markdown: str) -> None:
        plugin = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        tensor = self._tensor.TensorProto(
            dtype="DT_STRING", string_val=[markdown.encode("utf-8", "backslashreplace")]
        )
        metadata = self._summary.SummaryMetadata(plugin_data=plugin)
        value = self._summary.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
        self._add(step, now, summary=self._summary.Summary(value=[value]))

    def truncate(self, step: int) -> None:
        """A session start makes TensorBoard drop the earlier files' events from there on."""
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        self._add(step + 1, time.time(), session_log=start)

    def close(self) -> None:
        self._writer.close()


class _Hosted:
    """wandb or trackio, which share the calls ``init``, ``log`` and ``finish``."""

    def __init__(self, package: str, folder: Path, stage: str) -> None:
        self._package = _optional(package, package)
        name = f"{folder.resolve().parent.name}-{stage}"
        identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        same_run = {"id": identity} if package == "wandb" else {}
        self._package.init(project="accord", name=name, resume="allow", **same_run)

    def log(self, step: int, now: float, metrics: Mapping[str, float]) -> None:
        self._package.log(dict(metrics), step=step)

    def text(self, step: int, now: float, tag: str, markdown: str) -> None:
        """Nothing: the table is in ``samples.jsonl``, and a hosted log of it is slow."""

    def truncate(self, step: int) -> None:
        """Nothing: a hosted run keeps its history; steps that are run again overwrite or add."""

    def close(self) -> None:
        self._package.finish()


def _view(name: str, folder: Path, stage: str) -> _View:
    match name:
        case "tensorboard":
            return _TensorBoard(folder)
        case "wandb" | "trackio":
            return _Hosted(name, folder, stage)
    raise ConfigError(
        f"unknown tracker {name!r} (argument trackers or ACCORD_TRACKERS); "
        "choose from tensorboard, wandb, trackio"
    )


def _optional(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tracker {package!r} needs a package that is not installed ({error.name}); run: "
            f"pip install 'accord[{package}]', or choose others with ACCORD_TRACKERS"
        ) from error


def _bar(console: Console, stage: str, total_steps: int | None) -> Progress:
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", style="cyan", markup=False),
        TextColumn("{task.fields[metrics]}", style="bold", markup=False),
        console=console,
    )
    bar.add_task(stage, total=total_steps, rate="", metrics="")
    return bar


def _rich_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in rows[0]))
    return table


def _markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    for row in rows:
        cells = [_cell(row[name]) for name in rows[0]]
        lines.append([cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    text = _printable(str(value))
    return text if len(text) <= CELL_CHARS else text[: CELL_CHARS - 1] + "…"


def _printable(text: str) -> str:
    """Model output may hold terminal control sequences; show them, never send them."""
    return _CONTROL.sub("�", text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
