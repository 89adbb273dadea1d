"""What the reward model says of the items that people judge: one score each, each its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accord.stages.studio import score
from accord.types import Sample


def test_scores_do_not_depend_on_what_stands_beside(loop) -> None:
    found = [r for r in loop["samples"].records() if isinstance(r, Sample)][:6]
    args = (loop.recipe, loop["sft"], loop["reward"])
    together = score(*args, found)
    assert [len(row) for row in together] == [len(s.completions) for s in found]
    alone = score(*args, [replace(s, completions=s.completions[-1:]) for s in found])
    assert [row[-1] for row in together] == pytest.approx([row[0] for row in alone], abs=1e-4)
    turned = score(*args, [replace(s, completions=s.completions[::-1]) for s in found])
    for row, mirrored in zip(together, turned, strict=True):
        assert row == pytest.approx(mirrored[::-1], abs=1e-4)
    assert len({round(x, 4) for row in together for x in row}) > 6
