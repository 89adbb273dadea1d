"""What a run tells its user, and what the machine says of itself."""

from __future__ import annotations

import importlib.metadata
import math
from pathlib import Path

import pytest

from accord import artifacts
from accord.config import load
from accord.stages import doctor
from accord.stages.summary import summary
from accord.types import Reading


def test_a_stage_says_where_it_is_and_how_it_went(tmp_path: Path) -> None:
    metrics = {"loss": 0.123456, "steps": 40, "early": True, "note": "x", "none": None}
    with artifacts.write(tmp_path / "sft", "policy", metrics=metrics) as folder:
        (folder / "weights").write_bytes(b"1")
    lines = summary(load(None), artifacts.read(tmp_path / "sft"), 90.0).splitlines()
    assert lines[1] == f"policy: {tmp_path / 'sft'}"
    assert lines[2].startswith("  1.5 minutes, peak memory ")
    assert 0.0 < float(lines[2].split()[-2]) < 200.0
    assert lines[3:] == ["  loss: 0.1235", "  steps: 40"]  # numbers alone


def test_a_report_says_who_won_and_where_to_look(tmp_path: Path) -> None:
    with artifacts.write(tmp_path / "report", "report", metrics={"x": 1.0}) as folder:
        won = Reading("win_rate/gold raters", 0.75, (0.61, 0.86), "PASS", 40)
        lost = Reading("win_rate/judge", 0.25, (0.1, 0.4), "FAIL", 40)
        unknown = Reading("win_rate/nobody", math.nan, None, "NOT_APPLICABLE", 0)
        kl = Reading("kl/sequence", 3.0, (2.0, 4.0), "NOT_APPLICABLE", 40)
        artifacts.write_records(folder, [won, kl, unknown], "readings-ppo.jsonl")
        artifacts.write_records(folder, [lost], "readings-dpo.jsonl")
        artifacts.write_records(folder, [kl], "readings-sft.jsonl")
    recipe = load(None, [f"out={tmp_path}"])
    said = summary(recipe, artifacts.read(tmp_path / "report"), 3.0)
    won_or_lost = [line for line in said.splitlines() if "against sft" in line]
    assert won_or_lost == [
        "  dpo against sft, judge: wins 25% (10% to 40%) FAIL",
        "  ppo against sft, gold raters: wins 75% (61% to 86%) PASS",
    ]
    for place in ("report/index.html", "sft", "ppo", "recipe.yaml"):
        assert str(tmp_path / place) in said
    assert "x: 1" not in said  # the readings say it better


def test_the_doctor_names_versions_rates_and_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "gguf":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "_gigaflops", lambda dtype: 123.4)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path / "models"))
    monkeypatch.delenv("OMP_WAIT_POLICY")
    doctor.report()
    rows = {
        cells[1].strip(): cells[2].strip()
        for line in capsys.readouterr().out.splitlines()
        if len(cells := line.replace("┃", "│").split("│")) == 4
    }
    assert rows["torch"] == real("torch")
    assert rows["gguf"] == "not installed"
    assert rows["OMP_WAIT_POLICY"] == "not set (spinning)"
    assert rows["cache"] == str(tmp_path / "models")
    assert rows["matrix product, torch.bfloat16"] == "123 GFLOP/s"


def test_a_rate_is_operations_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    clock = iter([0.0, 0.1, 0.2, 0.3])  # two products are begun before 0.25 s are over
    monkeypatch.setattr(doctor.time, "perf_counter", lambda: next(clock))
    rate = doctor._gigaflops(torch.float32, size=8, seconds=0.25)
    assert rate == pytest.approx(2 * 8**3 * 2 / 0.3 / 1e9)
