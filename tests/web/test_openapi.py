"""Generated requests against the API: a short run of the benchmark, a fault that it must find."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from accord.web import lead_ops

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
api_fuzz = importlib.import_module("api_fuzz")


def test_no_generated_request_breaks_the_server() -> None:
    found = api_fuzz.fuzz(80)
    assert found["failed"] == []
    assert found["operations"] >= 40 and found["requests"] >= 80
    assert found["answers"]["200"] >= 10  # many reach what they ask for


def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(lead_ops, "freeze", broken)
    (operation,) = (o for o in api_fuzz.operations() if o.path.endswith("/freeze"))
    one = api_fuzz.Fuzz(operation, cases=8, seed=0)
    one.run(tmp_path)
    assert one.failed and {row["status"] for row in one.failed} == {500}
