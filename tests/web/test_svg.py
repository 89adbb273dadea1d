"""Charts against hand-placed figures: where a dot lies, what is said, what cannot get in."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from accord.web.svg import (
    LABEL,
    VALUE,
    WIDTH,
    Axis,
    Estimate,
    Point,
    Unit,
    bars,
    control_chart,
    figure,
    interval,
    intervals,
)


def shapes(svg: str, name: str) -> list[dict[str, str]]:
    """Attributes of every element of one kind, in the order of the drawing."""
    return [dict(e.attrib) for e in ElementTree.fromstring(svg).iter(name)]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.724, "percent", "72 %"),
        (-0.05, "percent", "−5 %"),
        (0.4551, "plain", "0.46"),
        (1034.4, "points", "1,034"),
        (None, "percent", "–"),
        (float("nan"), "percent", "–"),
    ],
)
def test_figures_read_as_people_write_them(value: float | None, unit: Unit, expected: str) -> None:
    assert figure(value, unit) == expected


def test_an_interval_says_its_figure_or_why_there_is_none() -> None:
    assert interval(Estimate("a", 0.72, 0.68, 0.76)) == "72 % (68 to 76)"
    assert interval(Estimate("a", 0.72)) == "72 %"
    assert interval(Estimate("a", None, note="one rater")) == "one rater"
    assert interval(Estimate("a", 0.1, -0.2, 0.4), unit="plain") == "0.10 (−0.20 to 0.40)"


def test_dots_and_whiskers_lie_where_the_values_are() -> None:
    svg = intervals("Agreement", [Estimate("raters", 0.5, 0.25, 0.75, 40)], Axis(0, 1))
    plot = WIDTH - LABEL - VALUE
    (dot,) = shapes(svg, "circle")
    assert float(dot["cx"]) == pytest.approx(LABEL + plot / 2)
    whisker = next(p["d"] for p in shapes(svg, "path") if p["class"] == "whisker")
    low, high = re.match(r"M([\d.]+) [\d.]+H([\d.]+)", whisker).groups()  # type: ignore[union-attr]
    assert float(low) == pytest.approx(LABEL + plot / 4, abs=0.1)
    assert float(high) == pytest.approx(LABEL + plot * 3 / 4, abs=0.1)


def test_the_band_covers_its_range_and_values_outside_the_axis_stay_on_it() -> None:
    svg = intervals("x", [Estimate("a", 1.4)], Axis(0, 1, band=(0.63, 0.77)))
    (band,) = [r for r in shapes(svg, "rect") if r["class"] == "band"]
    plot = WIDTH - LABEL - VALUE
    assert float(band["x"]) == pytest.approx(LABEL + 0.63 * plot, abs=0.1)
    assert float(band["width"]) == pytest.approx(0.14 * plot, abs=0.1)
    assert float(shapes(svg, "circle")[0]["cx"]) == pytest.approx(LABEL + plot)


def test_a_missing_value_draws_no_dot_and_says_so() -> None:
    svg = intervals("x", [Estimate("kappa", None, note="one category only")], Axis())
    assert shapes(svg, "circle") == []
    assert "no figure yet" in svg
    assert "one category only" in svg  # for a screen reader, in the label


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_no_name_becomes_markup(evil: str) -> None:
    drawn = [
        intervals(evil, [Estimate(evil, 0.5, 0.4, 0.6, note=evil)], Axis()),
        control_chart(evil, [Point(evil, 0.5, 0.4, 0.6)]),
        bars(evil, [(evil, 3.0)], evil),
    ]
    for svg in drawn:
        tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {"svg", "g", "text", "path", "circle", "rect", "title"}


def test_nothing_needs_an_inline_style() -> None:
    drawn = [
        intervals("a", [Estimate("b", 0.5, 0.4, 0.6, flag=True)], Axis(band=(0.6, 0.7), guide=0.5)),
        control_chart("a", [Point("1", 0.5, 0.4, 0.6), Point("2", 0.9, 0.4, 0.6, out=True)]),
        bars("a", [("1", 3.0), ("2", 0.0)], "judgments"),
    ]
    assert all("style" not in svg and "<script" not in svg for svg in drawn)


def test_points_outside_the_limits_are_marked() -> None:
    points = [Point("batch 1", 0.5, 0.4, 0.6), Point("batch 2", 0.9, 0.4, 0.6, out=True)]
    svg = control_chart("Drift", points)
    dots = shapes(svg, "circle")
    assert [dot["class"] for dot in dots] == ["dot", "dot flag"]
    assert float(dots[1]["cy"]) < float(dots[0]["cy"])
    assert "batch 2: 90 % (outside the limits)" in svg


def test_limits_are_drawn_where_they_are() -> None:
    svg = control_chart("Drift", [Point("1", 0.5, 0.4, 0.6), Point("2", 0.5, 0.3, 0.7)])
    narrow, wide = (float(r["height"]) for r in shapes(svg, "rect"))
    assert wide / narrow == pytest.approx(2.0, rel=0.01)


def test_bars_are_as_tall_as_their_share_of_the_tallest() -> None:
    heights = [float(r["height"]) for r in shapes(bars("x", [("a", 4), ("b", 1)]), "rect")]
    assert heights[1] / heights[0] == pytest.approx(0.25)
    assert shapes(bars("x", []), "rect") == []
