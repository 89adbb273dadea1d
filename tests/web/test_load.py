"""The load benchmark in small: ``benchmarks/studio_load.py`` serves, loads and tells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "studio_load.py"


@pytest.mark.parametrize("before", [0, 100])
def test_a_steady_load_is_answered_without_an_error(before: int, tmp_path: Path) -> None:
    """In a fresh studio, and in one where raters judged before."""
    sizes = ["--items", "100", "--judgments", str(before), "--raters", "4", "--folder", tmp_path]
    command = [sys.executable, BENCHMARK, *sizes, "--rates", "10", "--seconds", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    start, rate = (json.loads(line) for line in done.stdout.splitlines() if "_s" in line)
    assert 0 < start["start_s"] < 60
    assert rate["errors"] == 0, rate["first_error"]
    assert 5 < rate["done_per_second"] < 12
    assert rate["memory_mb"] > start["idle_mb"] / 2 > 10
    assert rate["server_cpu_ms"] > 0
