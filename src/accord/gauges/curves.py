"""From the metrics of a stage to named charts: what to show first, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accord.gauges.svg import Panel, Series

HELDOUT = "heldout/"
HIDDEN = frozenset({"step", "time"})


@dataclass(frozen=True, slots=True)
class _Chart:
    metrics: tuple[str, ...]
    title: str
    hint: str = ""
    guide: float | None = None
    labels: tuple[str, ...] = ()


_CHARTS = (
    _Chart(("sft/loss",), "Loss", "cross-entropy per response token, nats"),
    _Chart(("reward/loss",), "Loss", "Bradley-Terry; 0.693 is guessing", 0.6931),
    _Chart(
        ("reward/accuracy", "heldout/accuracy", "heldout/length_accuracy"),
        "Pair accuracy",
        "0.5 is guessing; 'length' prefers the longer answer",
        0.5,
        ("training", "held-out", "length"),
    ),
    _Chart(("reward/margin",), "Score margin", "chosen minus rejected"),
    _Chart(("heldout/ece",), "Calibration error", "held-out gap of promise and outcome"),
    _Chart(("objective/score",), "Reward model score", "before the KL penalty"),
    _Chart(("objective/gold",), "Gold score", "what the raters truly want"),
    _Chart(("objective/kl",), "KL to the reference", "nats a completion"),
    _Chart(("objective/reward",), "Reward", "score minus the KL penalty"),
    _Chart(("objective/entropy",), "Entropy", "nats a completion"),
    _Chart(("objective/length",), "Length", "tokens a completion"),
    _Chart(("objective/eos_rate",), "Finished", "ended by themselves"),
    _Chart(("policy/clip_fraction",), "Clip fraction", "tokens where the ratio was clipped"),
    _Chart(("policy/approx_kl",), "KL of one update", "new policy to old, nats a token"),
    _Chart(("policy/ratio",), "Ratio", "new to old probability; should stay near 1", 1.0),
    _Chart(
        ("value/explained_variance",), "Explained variance", "of the returns; 1 is perfect", 0.0
    ),
    _Chart(("value/loss",), "Value loss", "half the squared error"),
    _Chart(("objective/kl_coef",), "KL coefficient"),
    _Chart(("dpo/loss",), "Loss", "0.693 at the start", 0.6931),
    _Chart(("dpo/accuracy",), "Pair accuracy", "implicit rewards; 0.5 is guessing", 0.5),
    _Chart(
        ("dpo/chosen_reward", "dpo/rejected_reward"),
        "Implicit rewards",
        "beta times the log-ratio to the reference",
        0.0,
        ("chosen", "rejected"),
    ),
    _Chart(("dpo/margin",), "Reward margin", "chosen minus rejected"),
)


def panels(stage: str, rows: Sequence[Mapping[str, float]]) -> tuple[list[Panel], list[Panel]]:
    """The charts of one stage: the ones to look at, and all other metrics under their own names.

    ``heldout/<name>`` is drawn into the chart of ``<stage>/<name>``. A metric that was never logged
    has no chart.

    Args:
        stage: the stage's name.
        rows: what :func:`accord.tracking.read_metrics` returns: "step" and metrics.
    """
    logged = {name: None for row in rows for name in row if name not in HIDDEN}
    drawn: set[str] = set()
    first = []
    for chart in _CHARTS:
        if chart.metrics[0] not in logged:
            continue
        labels = chart.labels or tuple(_last(name) for name in chart.metrics)
        named = {n: label for n, label in zip(chart.metrics, labels, strict=True) if n in logged}
        heldout = HELDOUT + _last(chart.metrics[0])
        if not chart.labels and chart.metrics[0].startswith(f"{stage}/") and heldout in logged:
            named = {chart.metrics[0]: "training", heldout: "held-out"}
        series = [Series(label, _points(rows, name)) for name, label in named.items()]
        drawn.update(named)
        first.append(Panel(chart.title, tuple(series), chart.hint, chart.guide))
    rest = [
        Panel(name, (Series(_last(name), _points(rows, name)),))
        for name in logged
        if name not in drawn
    ]
    return first, rest


def _last(name: str) -> str:
    return name.rsplit("/", maxsplit=1)[-1]


def _points(rows: Sequence[Mapping[str, float]], name: str) -> tuple[tuple[float, float], ...]:
    return tuple((row["step"], row[name]) for row in rows if name in row)
