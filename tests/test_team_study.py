"""The simulated team at a real server, in small; its raters, pairs and intervals by themselves."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from accord import artifacts
from accord.artifacts import Artifact
from accord.client import Response, Task, Turn
from accord.types import Comparison, Completion, Sample
from accord.worlds import tiny

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
study = importlib.import_module("team_study")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Eight answers to each of 24 prompts, right and wrong, polite and rude."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("samples") / "samples"
    with artifacts.write(folder, "samples") as place:
        rows = []
        for prompt in tiny.prompts()[::24]:
            chosen = rng.choice(tiny.responses(prompt), 8, replace=False)
            rows.append(Sample(prompt, tuple(Completion(str(text)) for text in chosen)))
        artifacts.write_records(place, rows)
    return artifacts.read(folder)


def test_a_team_labels_a_round_over_http(samples: Artifact, tmp_path: Path) -> None:
    items = study.pairs(samples, 0, 60)
    assert len({(c.prompt.id, c.a.text, c.b.text) for c in items}) == 60
    found = study.label(tmp_path / "studio", items, 0)
    assert found["judgments"] == 180
    assert sum(rater["num"] for rater in found["raters"].values()) == 180
    plain, weighted = (
        list(artifacts.read(Path(found["frozen"][name])).records())
        for name in ("unweighted", "weights")
    )
    assert len(plain) == len(weighted) == 180
    assert {c.weight for c in plain if isinstance(c, Comparison)} == {None}
    assert len({c.weight for c in weighted if isinstance(c, Comparison)}) > 1


def verdicts(number: int, samples: Artifact) -> list[tuple[float, int, str]]:
    """What a rater says: the left's gold less the right's, its phrases less, the outcome."""
    said = []
    for pair in study.pairs(samples, 3, 600):
        task = Task(
            assignment="x",
            task="compare",
            question="",
            prompt=(Turn(role="user", text=pair.prompt.text),),
            responses=tuple(
                Response(slot=s, text=c.text) for s, c in (("a", pair.a), ("b", pair.b))
            ),
            guideline=1,
        )
        outcome = study.Person(number, 0, None).verdict(task)["outcome"]
        gap = study.gold(pair.prompt, pair.a.text) - study.gold(pair.prompt, pair.b.text)
        phrases = [c.text.endswith(study.PHRASE) for c in (pair.a, pair.b)]
        said.append((gap, phrases[0] - phrases[1], outcome))
    return said


def test_each_rater_has_the_fault_that_is_planted(samples: Artifact) -> None:
    def share(number: int, wanted: str, *, phrase: int | None = None, clear: bool = True) -> float:
        rows = [
            outcome
            for gap, phrases, outcome in verdicts(number, samples)
            if (gap > 1.0 if clear else gap < -1.0) and (phrase is None or phrases == phrase)
        ]
        return rows.count(wanted) / len(rows)

    assert share(7, "a") > 0.9 and share(7, "a", clear=False) < 0.1  # a healthy one
    assert 0.35 < share(0, "a") < 0.65  # careless
    assert 0.5 < share(2, "a", clear=False) < 0.75  # the left, however bad
    assert share(3, "a", phrase=-1) < share(7, "a", phrase=-1)  # the sycophant misses the phrase


def test_a_gain_is_paired_and_has_an_interval() -> None:
    base = np.array([[[6.0, 10.0]] * 30])
    better = base + np.array([1.0, 0.0])
    found = study.accuracy(better, base, 0)
    assert found["accuracy"] == pytest.approx(0.7)
    assert (found["gain"], found["low"], found["high"]) == pytest.approx((0.1, 0.1, 0.1))
