"""Charts: well-formed XML, numbers at the right height, nothing unescaped."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from accord.gauges.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_COLUMNS,
    RIGHT,
    TOP,
    WIDTH,
    Panel,
    Series,
    number,
    svg_curves,
    svg_panel,
)


def _panel(*values: float, guide: float | None = None) -> Panel:
    points = tuple((float(i + 1), value) for i, value in enumerate(values))
    return Panel("Loss", (Series("training", points),), "nats", guide)


def _parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in _parse(svg).iter() if element.tag.endswith("text")]


def _curve(svg: str, css_class: str = "curve") -> list[tuple[float, float]]:
    (path,) = [e for e in _parse(svg).iter() if e.get("class") == css_class]
    return [
        (float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.get("d", ""))
    ]


@pytest.mark.parametrize(
    ("value", "short", "aligned"),
    [
        (0.6931, "0.693", "0.693"),
        (0.77, "0.77", "0.770"),
        (26.0, "26", "26.0"),
        (200.0, "200", "200"),
        (1340.4, "1,340", "1,340"),
        (2e-5, "2.0e−5", "2.0e−5"),
        (-12.34, "−12.3", "−12.3"),
        (0.0, "0", "0.00"),
        (math.nan, "nan", "nan"),
    ],
)
def test_number(value: float, short: str, aligned: str) -> None:
    assert (number(value), number(value, aligned=True)) == (short, aligned)


def test_extremes_touch_the_frame_and_the_middle_is_in_the_middle() -> None:
    points = _curve(svg_panel(_panel(4.0, 0.0, 2.0)))
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    expected = [(left, top), ((left + right) / 2, bottom), (right, (top + bottom) / 2)]
    assert points == [pytest.approx(point, abs=0.06) for point in expected]
    assert {"4", "0", "1", "3", "step", "Loss", "nats", "2"} <= set(
        _texts(svg_panel(_panel(4, 0, 2)))
    )


def test_guide_stretches_the_axis() -> None:
    (curve,) = {y for _, y in _curve(svg_panel(_panel(1.0, 1.0, guide=0.5)))}
    assert curve == TOP
    svg = svg_panel(_panel(1.0, 1.0, guide=0.5))
    (guide,) = [e for e in _parse(svg).iter() if e.get("class") == "guide"]
    assert guide.get("d") == f"M{LEFT} {HEIGHT - BOTTOM:.1f}H{WIDTH - RIGHT}"


def test_every_step_has_its_number_on_hover() -> None:
    series = (
        Series("chosen", ((1.0, 0.25), (2.0, 0.5))),
        Series("rejected", ((1.0, -0.25),)),
    )
    svg = svg_panel(Panel("Implicit rewards", series))
    titles = [e.text for e in _parse(svg).iter() if e.tag.endswith("title")]
    assert titles == ["step 1: chosen 0.25, rejected −0.25", "step 2: chosen 0.5"]
    assert {"chosen 0.5", "rejected −0.25"} <= set(_texts(svg))


def test_values_that_are_not_finite_break_the_line() -> None:
    svg = svg_panel(_panel(1.0, math.nan, 2.0, math.inf))
    (path,) = [e for e in _parse(svg).iter() if e.get("class") == "curve"]
    assert path.get("d", "").count("M") == 2
    assert "step 2: training nan" in svg and "step 4: training inf" in svg
    assert "no finite value" in svg_panel(_panel(math.nan, math.nan))
    assert "no finite value" in svg_panel(Panel("Empty", (Series("none", ()),)))


def test_long_runs_are_averaged_and_smoothed() -> None:
    svg = svg_panel(_panel(*[float(i % 2) for i in range(10 * MAX_COLUMNS)]))
    raw = _curve(svg, "raw")
    assert len(raw) == MAX_COLUMNS
    assert {y for _, y in raw} == {(TOP + HEIGHT - BOTTOM) / 2}  # ten neighbours average to 1/2
    smooth = _curve(svg_panel(_panel(*[float(i) for i in range(60)])))
    assert len(smooth) == 60
    interior = [y for _, y in smooth[5:-5]]
    steps = [a - b for a, b in itertools.pairwise(interior)]
    assert steps == [pytest.approx(steps[0], abs=0.11)] * len(steps)  # a straight line stays one


def test_one_point_and_a_constant_have_an_axis() -> None:
    assert len(_curve(svg_panel(_panel(3.0)))) == 1
    assert len({y for _, y in _curve(svg_panel(_panel(0.0, 0.0)))}) == 1


def test_svg_file_stands_alone() -> None:
    panels = [_panel(1.0, 2.0), _panel(2.0, 1.0), _panel(0.0, 1.0), _panel(5.0)]
    svg = svg_curves(panels, columns=3, title="PPO & <friends>")
    root = _parse(svg)
    assert sum(e.get("class") == "curve" for e in root.iter()) == 4
    assert "PPO & <friends>" in _texts(svg)
    assert "prefers-color-scheme:dark" in svg and "http" not in svg.replace("http://www.w3.org", "")
    assert svg == svg_curves(panels, columns=3, title="PPO & <friends>")
    assert _parse(svg_curves([])).get("width")


def test_text_cannot_become_markup() -> None:
    evil = "</text><script>alert(1)</script>\"'"
    panel = Panel(evil, (Series(evil, ((1.0, 1.0),)), Series(evil, ((1.0, 2.0),))), evil)
    for svg in (svg_panel(panel), svg_curves([panel], title=evil)):
        assert "<script" not in svg
        assert evil in _texts(svg)
