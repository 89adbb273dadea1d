"""How a round gives its items out: defaults as the papers have them, and limits that make sense."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from accord.store.settings import RoundSettings


def test_the_defaults_are_one_rater_an_item_and_a_pool_of_three() -> None:
    usual = RoundSettings()
    assert (usual.overlap, usual.calibration_overlap, usual.calibration_share) == (1, 3, 0.15)
    assert 0.10 <= usual.calibration_share <= 0.20  # Stiennon et al. 2020, C.2
    assert (usual.training_items, usual.escalate_spread, usual.escalate_raters) == (0, None, 2)
    assert usual.gold_share + usual.attention_share + usual.anchor_share < 0.2
    assert usual.lease_seconds == 15 * 60
    assert not usual.show_draft


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("overlap", 0),
        ("overlap", 1.5),
        ("calibration_share", -0.01),
        ("calibration_share", 1.01),
        ("calibration_share", float("nan")),
        ("calibration_overlap", 0),
        ("gold_share", 2),
        ("batch_size", 0),
        ("lease_seconds", 0),
        ("lease_seconds", 86_401),
        ("escalate_spread", 0),
        ("escalate_spread", 9),
        ("escalate_raters", 0),
        ("training_items", -1),
        ("training_pass", 1.1),
        ("policies", ("",)),
        ("overlaps", 2),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(field: str, bad: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        RoundSettings.model_validate({field: bad})
    (problem,) = caught.value.errors()
    assert problem["loc"][0] == field


@pytest.mark.parametrize(
    ("field", "edge"),
    [
        ("lease_seconds", 1),
        ("lease_seconds", 86_400),
        ("escalate_spread", 1),
        ("escalate_spread", 8),
        ("training_pass", 0.0),
        ("training_pass", 1.0),
        ("random_floor", 1.0),
        ("batch_size", 1),
        ("seed", -5),
    ],
)
def test_edges_are_allowed(field: str, edge: Any) -> None:
    assert getattr(RoundSettings.model_validate({field: edge}), field) == edge


def test_settings_survive_the_database_as_json() -> None:
    one = RoundSettings(overlap=2, escalate_spread=3, policies=("a", "b"), seed=11)
    again = RoundSettings.model_validate_json(one.model_dump_json())
    assert again == one
    assert again.policies == ("a", "b")


def test_settings_do_not_change_under_a_round() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RoundSettings().overlap = 2  # type: ignore[misc]
