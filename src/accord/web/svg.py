"""The lead's charts as SVG text made on the server: no script, no style attribute, no library.

Colours and fonts come from ``/static/lead.css`` by class, so that a strict content security policy
holds and light and dark follow the page. Every text is escaped on its way in. What a chart shows is
also in its ``aria-label`` or in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from markupsafe import Markup, escape

ROW = 30
LABEL, VALUE, MARGIN = 210, 150, 8
WIDTH = 720
Unit: TypeAlias = Literal["percent", "plain", "points"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; ``value`` None where it is not defined, ``note`` then says why.

    ``low`` and ``high`` are None where the interval is unknown. ``num`` counts what it rests on.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    num: int = 0
    note: str = ""
    flag: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """The range of a chart, a shaded band in it (or None) and a dashed guide (or None)."""

    low: float = 0.0
    high: float = 1.0
    band: tuple[float, float] | None = None
    guide: float | None = None
    unit: Unit = "percent"


def figure(value: float | None, unit: Unit = "percent") -> str:
    """A number as the pages write it: 72 %, 0.45, 1,034, or an en dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = {"percent": f"{100 * value:.0f} %", "plain": f"{value:.2f}", "points": f"{value:,.0f}"}
    return text[unit].replace("-", "−")


def interval(estimate: Estimate, unit: Unit = "percent") -> str:
    """``72 % (68 to 76)``, or why there is no figure."""
    if estimate.value is None or not math.isfinite(estimate.value):
        return estimate.note or "–"
    text = figure(estimate.value, unit)
    if estimate.low is None or estimate.high is None:
        return text
    low, high = figure(estimate.low, unit), figure(estimate.high, unit)
    return f"{text} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def intervals(title: str, estimates: Sequence[Estimate], axis: Axis) -> Markup:
    """Rows of a dot with its whiskers on one axis: label, picture, figure.

    Args:
        title: what a screen reader hears first.
        estimates: one row each; flagged ones are drawn in the warning colour.
        axis: range, band and guide, in the unit of the values.
    """
    height = ROW * len(estimates) + 26
    spoken = "; ".join(f"{e.label}: {interval(e, axis.unit)}" for e in estimates)
    parts = [
        f'<svg class="chart intervals" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}. {spoken}")}">'
    ]
    bottom = ROW * len(estimates) + 4
    if axis.band is not None:
        left, right = _x(axis.band[0], axis), _x(axis.band[1], axis)
        parts.append(
            f'<rect class="band" x="{left:.1f}" y="0" width="{right - left:.1f}" '
            f'height="{bottom}"/>'
        )
    if axis.guide is not None:
        parts.append(f'<path class="guide" d="M{_x(axis.guide, axis):.1f} 0V{bottom}"/>')
    parts += [_row(i, estimate, axis) for i, estimate in enumerate(estimates)]
    parts.append(_scale(axis, bottom))
    return Markup("".join(parts) + "</svg>")


def _x(value: float, axis: Axis) -> float:
    share = (value - axis.low) / (axis.high - axis.low)
    return LABEL + min(max(share, 0.0), 1.0) * (WIDTH - LABEL - VALUE)


def _row(number: int, estimate: Estimate, axis: Axis) -> str:
    y = ROW * number + ROW / 2
    tone = " flag" if estimate.flag else ""
    parts = [
        f'<g class="estimate{tone}"><title>{escape(estimate.label)}: '
        f"{escape(interval(estimate, axis.unit))}, from {estimate.num:,}</title>"
        f'<text class="end ink" x="{LABEL - 12}" y="{y + 4:.1f}">{escape(_short(estimate.label))}'
        "</text>"
    ]
    if estimate.value is not None and math.isfinite(estimate.value):
        if estimate.low is not None and estimate.high is not None:
            low, high = _x(estimate.low, axis), _x(estimate.high, axis)
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 4:.1f}v8'
                f'M{high:.1f} {y - 4:.1f}v8"/>'
            )
        parts.append(f'<circle cx="{_x(estimate.value, axis):.1f}" cy="{y:.1f}" r="4.5"/>')
        said = interval(estimate, axis.unit)
    else:
        said = "no figure yet"
    parts.append(f'<text x="{WIDTH - VALUE + 12}" y="{y + 4:.1f}">{escape(said)}</text></g>')
    return "".join(parts)


def _short(label: str, limit: int = 28) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"


def _scale(axis: Axis, bottom: float) -> str:
    marks = [axis.low, axis.high]
    marks += [axis.guide] if axis.guide is not None else []
    marks += list(axis.band or ())
    shown: list[float] = []
    parts = [f'<path class="frame" d="M{LABEL} {bottom}H{WIDTH - VALUE}"/>']
    for mark in marks:
        if any(abs(_x(mark, axis) - x) < 34 for x in shown):
            continue
        shown.append(_x(mark, axis))
        parts.append(
            f'<text class="mid" x="{shown[-1]:.1f}" y="{bottom + 17}">'
            f"{escape(figure(mark, axis.unit))}</text>"
        )
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Point:
    """One batch: its share, the limits that chance keeps it in, and whether it is outside."""

    label: str
    value: float
    low: float
    high: float
    out: bool = False


def control_chart(title: str, points: Sequence[Point]) -> Markup:
    """Shares by batch within their control limits; a batch outside is in the warning colour."""
    width, height, left, top, bottom = WIDTH, 190, 52, 12, 28
    low = max(0.0, min([p.low for p in points] + [p.value for p in points]) - 0.04)
    high = min(1.0, max([p.high for p in points] + [p.value for p in points]) + 0.04)
    step = (width - left - 8) / max(len(points), 1)

    def y(value: float) -> float:
        return top + (high - value) / ((high - low) or 1.0) * (height - top - bottom)

    spoken = "; ".join(
        f"{p.label}: {figure(p.value)}{' (outside the limits)' if p.out else ''}" for p in points
    )
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(f"{title}. {spoken}")}">'
    ]
    for i, p in enumerate(points):
        parts.append(
            f'<rect class="band" x="{left + i * step:.1f}" y="{y(p.high):.1f}" '
            f'width="{step:.1f}" height="{y(p.low) - y(p.high):.1f}"/>'
        )
    for mark in (low, high):
        parts.append(
            f'<text class="end" x="{left - 8}" y="{y(mark) + 4:.1f}">{escape(figure(mark))}</text>'
        )
    middles = [left + (i + 0.5) * step for i in range(len(points))]
    path = "".join(
        f"{'L' if i else 'M'}{x:.1f} {y(p.value):.1f}"
        for i, (x, p) in enumerate(zip(middles, points, strict=True))
    )
    parts.append(f'<path class="curve" d="{path}"/>')
    every = max(1, math.ceil(len(points) / 8))
    for i, (x, p) in enumerate(zip(middles, points, strict=True)):
        parts.append(
            f'<circle class="{"dot flag" if p.out else "dot"}" cx="{x:.1f}" '
            f'cy="{y(p.value):.1f}" r="4.5"><title>{escape(p.label)}: {escape(figure(p.value))}, '
            f"expected {escape(figure(p.low))} to {escape(figure(p.high))}</title></circle>"
        )
        if i % every == 0:
            parts.append(f'<text class="mid" x="{x:.1f}" y="{height - 8}">{escape(p.label)}</text>')
    return Markup("".join(parts) + "</svg>")


def bars(title: str, heights: Sequence[tuple[str, float]], unit: str = "") -> Markup:
    """Counts as upright bars with their first and last label, such as judgments per hour."""
    width, height, base = WIDTH, 110, 88
    most = max((value for _, value in heights), default=0.0) or 1.0
    step = width / max(len(heights), 1)
    spoken = "; ".join(f"{label}: {value:g} {unit}".rstrip() for label, value in heights)
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(f"{title}. {spoken}")}">'
    ]
    for i, (label, value) in enumerate(heights):
        tall = value / most * (base - 8)
        parts.append(
            f'<rect class="bar" x="{i * step + 1:.1f}" y="{base - tall:.1f}" '
            f'width="{max(step - 2, 1):.1f}" height="{tall:.1f}" rx="1.5"><title>'
            f"{escape(label)}: {value:g} {escape(unit)}</title></rect>"
        )
    parts.append(f'<path class="frame" d="M0 {base}H{width}"/>')
    if heights:
        parts.append(
            f'<text x="0" y="{height - 6}">{escape(heights[0][0])}</text>'
            f'<text class="end" x="{width}" y="{height - 6}">{escape(heights[-1][0])}</text>'
        )
    return Markup("".join(parts) + "</svg>")
