"""Tracking: files that survive kill -9, resume without duplicates, and views read back."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from accord.errors import ArtifactError, ConfigError
from accord.tracking import Tracker, read_metrics


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=terminal, width=120), screen


def _quiet(folder: Path, trackers: tuple[str, ...] = ()) -> Tracker:
    return Tracker(folder, "ppo", 10, quiet=True, trackers=trackers)


def test_metrics_are_json_lines(tmp_path: Path) -> None:
    with _quiet(tmp_path) as tracker:
        tracker.log(1, {"objective/score": 0.5, "objective/kl": 0})
        tracker.log(2, {"objective/score": 1.5})
        assert len(_lines(tmp_path / "metrics.jsonl")) == 2  # on disk before the tracker closes
    first, second = _lines(tmp_path / "metrics.jsonl")
    assert first.pop("time") <= second.pop("time")
    assert first == {"step": 1, "objective/score": 0.5, "objective/kl": 0.0}
    assert second == {"step": 2, "objective/score": 1.5}


def test_non_finite_numbers_are_legal_json(tmp_path: Path) -> None:
    with _quiet(tmp_path) as tracker:
        tracker.log(1, {"a": math.nan, "b": math.inf, "c": -math.inf})
        tracker.samples(1, [{"prompt": "x", "score": math.nan}])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for name in ("metrics.jsonl", "samples.jsonl"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)
    (step,) = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(step["a"])
    assert (step["b"], step["c"]) == (math.inf, -math.inf)


def test_read_metrics_merges_lines_of_one_step(tmp_path: Path) -> None:
    with _quiet(tmp_path) as tracker:
        tracker.log(1, {"loss": 3.0})
        tracker.log(2, {"loss": 2.0})
        tracker.log(2, {"heldout": 2.5})
    steps = read_metrics(tmp_path / "metrics.jsonl")
    assert [(s["step"], s["loss"], s.get("heldout")) for s in steps] == [
        (1.0, 3.0, None),
        (2.0, 2.0, 2.5),
    ]
    with pytest.raises(ArtifactError, match="no metrics here"):
        read_metrics(tmp_path / "elsewhere.jsonl")


def test_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "lo')
    assert [s["step"] for s in read_metrics(path)] == [1.0]
    with _quiet(tmp_path) as tracker:  # even without truncate, nothing is glued to the torn line
        tracker.log(2, {"loss": 2.0})
    assert [(s["step"], s["loss"]) for s in read_metrics(path)] == [(1.0, 3.0), (2.0, 2.0)]
    path.write_text('{"step": 1')
    with _quiet(tmp_path):
        assert path.read_bytes() == b""


def test_truncate_forgets_later_steps(tmp_path: Path) -> None:
    with _quiet(tmp_path) as tracker:
        for step in range(1, 6):
            tracker.log(step, {"loss": step})
            tracker.samples(step, [{"completion": "a\rb\u2028c\n\udcff", "score": 0.1}])
    before = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    with _quiet(tmp_path) as tracker:
        tracker.truncate(3)
        tracker.log(4, {"loss": -4})
    after = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    assert after[:3] == before[:3]
    assert [s["loss"] for s in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, -4]
    assert [s["step"] for s in _lines_by_newline(tmp_path / "samples.jsonl")] == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl", "samples.jsonl"]


def _lines_by_newline(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").rstrip("\n").split("\n")]


@pytest.mark.parametrize("line", [b"\x00\x00", b"[1]", b'{"loss": 1}', b"\xff"])
def test_foreign_line_is_reported_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl:2: not a line of a tracker"):
        read_metrics(path)
    with _quiet(tmp_path) as tracker, pytest.raises(ArtifactError, match="delete that line"):
        tracker.truncate(1)


def test_kill_9_loses_no_finished_line(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, pathlib, signal, sys
        from accord.tracking import Tracker
        with Tracker(pathlib.Path(sys.argv[1]), "sft", 9, quiet=True) as tracker:
            for step in range(1, 6):
                tracker.log(step, {"loss": 1 / step})
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert [s["step"] for s in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    (events,) = (tmp_path / "tensorboard").iterdir()  # TensorBoard orders files by their second
    events.rename(events.with_name("events.out.tfevents.0000000001.first"))
    with _quiet(tmp_path, ("tensorboard",)) as tracker:
        tracker.truncate(3)
        tracker.log(4, {"loss": 44.0})
    assert _scalars(tmp_path, "loss") == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
        (4, 44.0),
    ]


def _scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_reads_scalars_and_samples_back(tmp_path: Path) -> None:
    with _quiet(tmp_path, ("tensorboard",)) as tracker:
        tracker.log(1, {"objective/kl": 0.25, "value/loss": math.nan})
        tracker.log(2, {"objective/kl": 0.5})
        tracker.samples(2, [{"prompt": "a|b", "completion": "two\nlines"}])
    assert _scalars(tmp_path, "objective/kl") == [(1, 0.25), (2, 0.5)]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert math.isnan(events.Scalars("value/loss")[0].value)
    assert events.SummaryMetadata("ppo/samples").plugin_data.plugin_name == "text"
    (text,) = events.Tensors("ppo/samples")[0].tensor_proto.string_val
    assert text.decode().splitlines() == [
        "| prompt | completion |",
        "| --- | --- |",
        "| a\\|b | two<br>lines |",
    ]


def test_tracker_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"unknown tracker 'tensorbord'.*choose from tensorboard"):
        _quiet(tmp_path, ("tensorbord",))
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv("ACCORD_TRACKERS", "wandb, tensorboard")
    with pytest.raises(ConfigError, match=r"pip install 'accord\[wandb\]'"):
        Tracker(tmp_path, "sft", 1, quiet=True)
    monkeypatch.setenv("ACCORD_TRACKERS", "")
    with Tracker(tmp_path, "sft", 1, quiet=True):
        pass
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_hosted_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    calls: list[tuple[str, Any, Any]] = []
    fake: Any = types.ModuleType(package)
    fake.init = lambda **options: calls.append(("init", options, None))
    fake.log = lambda metrics, step: calls.append(("log", metrics, step))
    fake.finish = lambda: calls.append(("finish", None, None))
    monkeypatch.setitem(sys.modules, package, fake)
    with _quiet(tmp_path / "run" / "ppo.partial", (package,)) as tracker:
        tracker.truncate(0)
        tracker.log(1, {"objective/kl": 0.25})
        tracker.samples(1, [{"prompt": "p"}])
    assert [call[0] for call in calls] == ["init", "log", "finish"]
    assert calls[0][1]["project"] == "accord"
    assert calls[0][1]["name"] == "run-ppo"
    assert calls[0][1]["resume"] == "allow"
    assert ("id" in calls[0][1]) == (package == "wandb")
    assert calls[1][1:] == ({"objective/kl": 0.25}, 1)


def test_plain_lines_when_standard_output_is_no_terminal(tmp_path: Path) -> None:
    console, screen = _console()
    with Tracker(tmp_path, "sft", 500, trackers=(), console=console) as tracker:
        for step in range(1, 401):
            tracker.log(step, {"sft/loss": 1 / step, "sft/accuracy": 0.5})
        tracker.message("[saved] checkpoint")
    lines = screen.getvalue().splitlines()
    assert len(lines) == 3  # the first step, the message, and where it stopped
    assert lines[0].startswith("sft 1/500  ")
    assert lines[0].endswith("loss 1  accuracy 0.5")
    assert lines[1] == "[saved] checkpoint"
    assert lines[2].startswith("sft 400/500  ")
    assert " step/s, 0:0" in lines[2]


def test_rate_counts_only_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("accord.tracking.time.monotonic", lambda: now[0])
    console, screen = _console()
    with Tracker(tmp_path, "ppo", 50, trackers=(), console=console, show=("b",)) as tracker:
        tracker.truncate(40)
        for step in range(41, 51):
            now[0] += 12.0
            tracker.log(step, {"a": 1.0, "b": 2.0})
    lines = screen.getvalue().splitlines()
    assert lines[0] == "ppo 41/50  12.0 s/step, 1:48 left  b 2"
    assert lines[-1] == "ppo 50/50  12.0 s/step, took 2:00  b 2"


def test_live_bar_on_a_terminal(tmp_path: Path) -> None:
    console, screen = _console(terminal=True)
    with Tracker(tmp_path, "dpo", 2, trackers=(), console=console) as tracker:
        tracker.log(1, {"dpo/loss": 0.693})
        tracker.log(2, {"dpo/loss": 0.5})
    shown = screen.getvalue()
    assert "2/2" in shown and "loss 0.5" in shown


def test_samples_table_is_readable_and_safe(tmp_path: Path) -> None:
    console, screen = _console()
    row = {
        "prompt": "[bold]hi[/bold]",
        "completion": "\x1b[2Jgone\u3000\udcff" + "x" * 1000,
        "score": 1.23456,
        "finished": True,
    }
    with Tracker(tmp_path, "ppo", None, trackers=(), console=console) as tracker:
        tracker.samples(5, [row])
        tracker.samples(6, [])
        tracker.log(6, {})
    shown = screen.getvalue()
    assert "ppo step 5" in shown and "[bold]hi[/bold]" in shown
    assert "1.23" in shown and "yes" in shown and "…" in shown
    assert "\x1b" not in shown
    (saved,) = _lines(tmp_path / "samples.jsonl")
    assert saved == {"step": 5, **row}  # the file keeps what the model wrote


def test_import_is_light_and_logging_is_cheap(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import pathlib, sys, time
        from accord.tracking import Tracker
        assert not {"torch", "tensorboard", "numpy"} & set(sys.modules)
        with Tracker(pathlib.Path(sys.argv[1]), "sft", 200, quiet=True) as tracker:
            start = time.perf_counter()
            for step in range(1, 201):
                tracker.log(step, {f"metric/{i}": float(i) for i in range(30)})
            print((time.perf_counter() - start) / 200)
        assert not {"torch", "tensorflow"} & set(sys.modules)
    """)
    environment = {**os.environ, "ACCORD_TRACKERS": "tensorboard"}
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert float(run.stdout) < 0.02  # seconds a step; about 0.001 on an idle machine
