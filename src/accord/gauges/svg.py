"""Small line charts as SVG text: no script, no library, the same bytes for the same data.

Colours are CSS variables (``--ink --muted --line --hover --c0 .. --c5``), so the page that holds a
chart decides about light and dark; :func:`svg_curves` brings its own for a file that stands alone.
Every text and attribute is escaped on its way in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import escape

WIDTH, HEIGHT = 300, 186
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 44, 24
MAX_COLUMNS = 200
SMOOTH_FROM = 30
FEW_POINTS = 12
NUM_COLOURS = 6

LIGHT = (
    "--ink:#1c2024;--muted:#60646c;--line:#e2e3e5;--hover:#1c202412;--paper:#ffffff;"
    "--c0:#8b8d98;--c1:#2f6fed;--c2:#d9650b;--c3:#12876a;--c4:#8e4ec6;--c5:#b5306b"
)
DARK = (
    "--ink:#edeef0;--muted:#a0a5ae;--line:#33363d;--hover:#ffffff14;--paper:#16181d;"
    "--c0:#989ba6;--c1:#6ea0ff;--c2:#ff9a4d;--c3:#3fc79f;--c4:#c08cf0;--c5:#f27eb0"
)
CHART_STYLE = (
    ".chart text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--muted)}"
    ".chart .title{font-size:12.5px;font-weight:600;fill:var(--ink)}"
    ".chart .last{font-size:12.5px;font-weight:600;text-anchor:end}"
    ".chart .end{text-anchor:end}.chart .mid{text-anchor:middle}"
    ".chart .frame{stroke:var(--line);fill:none}"
    ".chart .guide{stroke:var(--muted);stroke-dasharray:3 3;fill:none}"
    ".chart .curve{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    ".chart .raw{fill:none;stroke-width:1;opacity:.35;stroke-linejoin:round}"
    ".chart rect{fill:transparent}.chart rect:hover{fill:var(--hover)}"
)


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a label for the legend, and (step, value) points in order of their steps."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One small chart; ``guide`` is a value worth a dashed line, such as 0.5 for an accuracy."""

    title: str
    series: tuple[Series, ...]
    hint: str = ""
    guide: float | None = None


def number(value: float, aligned: bool = False) -> str:
    """Three digits that a person can read: 0.693, 12.5, 1,340; two for 2.0e-5.

    ``aligned`` keeps trailing zeros (0.770, 26.0), for columns of numbers.
    """
    if not math.isfinite(value):
        return str(value)
    if 1000 <= abs(value) < 1e6:
        text = f"{value:,.0f}"
    elif 0 < abs(value) < 1e-3:
        text = f"{value:.1e}".replace("e-0", "e-")
    else:
        text = f"{value:#.3g}".rstrip(".") if aligned else f"{value:.3g}"
    return text.replace("-", "−")


def svg_panel(panel: Panel, colour: int = 1) -> str:
    """One chart as an ``<svg>`` element; hovering a step shows its numbers.

    Long runs are averaged into at most 200 columns. From 30 points on the line is a moving average
    and the points stay visible behind it. Values that are not finite break the line and are
    named in its title.

    Args:
        panel: what to draw.
        colour: number of the first series' colour, counted on for the others.
    """
    label = f"{panel.title}: {panel.hint}" if panel.hint else panel.title
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{_panel(panel, colour)}</svg>'
    )


def svg_curves(panels: Sequence[Panel], columns: int = 3, title: str = "") -> str:
    """A grid of charts as one SVG file that stands alone, for a README; light and dark."""
    gap, head = 18, 34 if title else 8
    columns = min(columns, max(len(panels), 1))
    rows = -(-len(panels) // columns)
    width = columns * (WIDTH + gap) + gap
    height = head + rows * (HEIGHT + gap)
    body = "".join(
        f'<g transform="translate({gap + (i % columns) * (WIDTH + gap)} '
        f'{head + (i // columns) * (HEIGHT + gap)})">{_panel(panel, 1)}</g>'
        for i, panel in enumerate(panels)
    )
    heading = f'<text class="title" x="{gap}" y="22" style="font-size:15px">{escape(title)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><style>:root{{{LIGHT}}}'
        f"@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}{CHART_STYLE}</style>"
        f'<rect width="{width}" height="{height}" rx="8" style="fill:var(--paper)"/>'
        f"{heading if title else ''}{body}</svg>\n"
    )


def _panel(panel: Panel, colour: int) -> str:
    parts = [f'<text class="title" x="0" y="13">{escape(panel.title)}</text>']
    drawn = [_columns(series.points) for series in panel.series]
    finite = [y for points in drawn for _, y in points if math.isfinite(y)]
    if not finite:
        return "".join([*parts, f'<text x="0" y="{TOP}">no finite value was logged</text>'])
    steps = [x for series in panel.series for x, _ in series.points]
    scale = _Scale(min(steps), max(steps), finite, panel.guide)
    parts.append(scale.axes())
    if panel.guide is not None:
        y = scale.y(panel.guide)
        parts.append(
            f'<path class="guide" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}">'
            f"<title>{escape(number(panel.guide))}</title></path>"
        )
    for i, points in enumerate(drawn):
        parts.append(_lines(points, scale, (colour + i) % NUM_COLOURS))
    parts.append(_legend(panel, [points[-1][1] for points in drawn], colour))
    parts.append(_hover(panel, drawn, scale))
    return "".join(parts)


class _Scale:
    """From data to the drawing; an axis that shows only where the data begin and end."""

    def __init__(
        self, first: float, last: float, values: Sequence[float], guide: float | None
    ) -> None:
        self.first, self.last = first, last
        self.low, self.high = min(values), max(values)
        shown = [*values] if guide is None else [*values, guide]
        self._bottom, self._top = min(shown), max(shown)
        if self._bottom == self._top:
            pad = abs(self._top) * 0.1 or 1.0
            self._bottom, self._top = self._bottom - pad, self._top + pad

    def x(self, step: float) -> float:
        share = (step - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self._bottom) / (self._top - self._bottom)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> str:
        floor, bottom = HEIGHT - BOTTOM + 6, HEIGHT - 4
        low, high = self.y(self.low), self.y(self.high)
        parts = [
            f'<path class="frame" d="M{LEFT - 6} {high:.1f}V{low:.1f}M{LEFT} {floor}'
            f'H{WIDTH - RIGHT}"/>',
            f'<text class="end" x="{LEFT - 10}" y="{high + 4:.1f}">{number(self.high)}</text>',
            f'<text x="{LEFT}" y="{bottom}">{number(self.first)}</text>',
        ]
        if low - high >= 12:
            parts.append(
                f'<text class="end" x="{LEFT - 10}" y="{low + 4:.1f}">{number(self.low)}</text>'
            )
        if self.last > self.first:
            parts.append(
                f'<text class="mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom}">step</text>'
                f'<text class="end" x="{WIDTH - RIGHT}" y="{bottom}">{number(self.last)}</text>'
            )
        return "".join(parts)


def _columns(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MAX_COLUMNS points: means of neighbours; a column is as broken as its worst value."""
    size = -(-len(points) // MAX_COLUMNS)
    groups = [points[i : i + size] for i in range(0, len(points), size or 1)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    half = max(1, len(points) // 24)
    smooth = []
    for i, (x, _) in enumerate(points):
        near = [y for _, y in points[max(0, i - half) : i + half + 1]]
        smooth.append((x, sum(near) / len(near)))
    return smooth


def _path(points: Sequence[tuple[float, float]], scale: _Scale) -> str:
    path, pen = [], "M"
    for x, y in points:
        if not math.isfinite(y):
            pen = "M"
            continue
        path.append(f"{pen}{scale.x(x):.1f} {scale.y(y):.1f}")
        pen = "L"
    return "".join(path)


def _lines(points: Sequence[tuple[float, float]], scale: _Scale, colour: int) -> str:
    paint = f'style="stroke:var(--c{colour})"'
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if not finite:
        return ""
    dot = "".join(
        f'<circle cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="2.6" '
        f'style="fill:var(--c{colour})"/>'
        for x, y in (finite if len(finite) <= FEW_POINTS else finite[-1:])
    )
    if len(finite) < SMOOTH_FROM or len(finite) < len(points):
        return f'<path class="curve" {paint} d="{_path(points, scale)}"/>{dot}'
    return (
        f'<path class="raw" {paint} d="{_path(points, scale)}"/>'
        f'<path class="curve" {paint} d="{_path(_smooth(points), scale)}"/>{dot}'
    )


def _legend(panel: Panel, last: Sequence[float], colour: int) -> str:
    """The last value; then what it means, or which line is which."""
    if len(panel.series) == 1:
        return (
            f'<text class="last" style="fill:var(--c{colour % NUM_COLOURS})" '
            f'x="{WIDTH - RIGHT}" y="13">{number(last[0])}</text>'
            f'<text x="0" y="30">{escape(panel.hint)}</text>'
        )
    x, parts = 0.0, []
    for i, (series, value) in enumerate(zip(panel.series, last, strict=True)):
        text = f"{series.label} {number(value)}"
        parts.append(
            f'<circle cx="{x + 4:.0f}" cy="26" r="3.5" '
            f'style="fill:var(--c{(colour + i) % NUM_COLOURS})"/>'
            f'<text x="{x + 11:.0f}" y="30">{escape(text)}</text>'
        )
        x += 24 + 6.2 * len(text)
    return "".join(parts)


def _hover(panel: Panel, drawn: Sequence[Sequence[tuple[float, float]]], scale: _Scale) -> str:
    at: dict[float, list[str]] = {}
    for series, points in zip(panel.series, drawn, strict=True):
        for x, y in points:
            at.setdefault(x, []).append(f"{series.label} {number(y)}")
    steps = sorted(at)
    edges = [scale.x(x) for x in steps]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    bounds = [LEFT - 4.0, *middles, WIDTH - RIGHT + 4.0]
    return "".join(
        f'<rect x="{bounds[i]:.1f}" y="{TOP - 6}" '
        f'width="{bounds[i + 1] - bounds[i]:.1f}" height="{HEIGHT - TOP - BOTTOM + 12}">'
        f"<title>{escape(f'step {step:.0f}: ' + ', '.join(at[step]))}</title></rect>"
        for i, step in enumerate(steps)
    )
