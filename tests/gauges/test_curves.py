"""Which metric is drawn where."""

from __future__ import annotations

import math

from accord.gauges.curves import panels


def _rows(*names: str) -> list[dict[str, float]]:
    return [{"step": s, "time": 1.0, **dict.fromkeys(names, s)} for s in (1.0, 2.0)]


def test_known_metrics_come_first_in_their_order() -> None:
    rows = _rows("optimizer/learning_rate", "value/loss", "objective/kl", "objective/score")
    first, rest = panels("ppo", rows)
    assert [p.title for p in first] == ["Reward model score", "KL to the reference", "Value loss"]
    assert [p.title for p in rest] == ["optimizer/learning_rate"]
    assert first[0].series[0].points == ((1.0, 1.0), (2.0, 2.0))


def test_heldout_is_drawn_into_the_chart_of_its_stage() -> None:
    rows = [*_rows("sft/loss"), {"step": 3.0, "heldout/loss": 9.0}]
    (loss,), rest = panels("sft", rows)
    assert [s.label for s in loss.series] == ["training", "held-out"]
    assert loss.series[1].points == ((3.0, 9.0),)
    assert rest == []
    (loss,), _ = panels("dpo", _rows("dpo/loss", "heldout/loss"))
    assert (loss.title, len(loss.series), loss.guide) == ("Loss", 2, 0.6931)


def test_reward_accuracy_stands_beside_its_baseline() -> None:
    rows = _rows("reward/accuracy", "heldout/accuracy", "heldout/length_accuracy", "heldout/x")
    (accuracy,), rest = panels("reward", rows)
    assert [s.label for s in accuracy.series] == ["training", "held-out", "length"]
    assert [p.title for p in rest] == ["heldout/x"]
    (alone,), _ = panels("reward", _rows("reward/accuracy"))
    assert len(alone.series) == 1


def test_two_rewards_share_a_chart_and_nothing_is_lost() -> None:
    rows = _rows("dpo/chosen_reward", "dpo/rejected_reward", "heldout/chosen_reward")
    (rewards,), rest = panels("dpo", rows)
    assert [s.label for s in rewards.series] == ["chosen", "rejected"]
    assert [p.title for p in rest] == ["heldout/chosen_reward"]
    assert panels("ppo", []) == ([], [])


def test_a_gap_in_one_metric_is_no_gap_in_another() -> None:
    rows = [
        {"step": 2.0, "time": 0.1, "dpo/loss": 0.7},
        {"step": 4.0, "time": 0.2, "heldout/loss": 0.6},
        {"step": 6.0, "time": 0.3, "dpo/loss": math.nan, "heldout/loss": 0.5},
    ]
    (loss,), rest = panels("dpo", rows)
    training, heldout = loss.series
    assert [step for step, _ in training.points] == [2.0, 6.0]
    assert math.isnan(training.points[1][1])  # shown as a break, not left out
    assert heldout.points == ((4.0, 0.6), (6.0, 0.5))
    assert rest == []


def test_heldout_alone_keeps_its_name_and_another_stage_s_loss_is_its_own() -> None:
    first, rest = panels("sft", _rows("heldout/loss"))
    assert (first, [p.title for p in rest]) == ([], ["heldout/loss"])
    first, rest = panels("ppo", _rows("sft/loss", "heldout/loss"))
    assert [(p.title, len(p.series)) for p in first] == [("Loss", 1)]
    assert [p.title for p in rest] == ["heldout/loss"]


def test_every_logged_metric_is_drawn_exactly_once() -> None:
    names = ("reward/loss", "reward/accuracy", "reward/margin", "heldout/accuracy", "heldout/loss")
    names += ("heldout/length_accuracy", "heldout/ece", "heldout/margin", "optimizer/norm", "x")
    first, rest = panels("reward", _rows(*names))
    assert sum(len(p.series) for p in (*first, *rest)) == len(names)
    titles = [p.title for p in (*first, *rest)]
    assert len(set(titles)) == len(titles)
