"""Which metric is drawn where."""

from __future__ import annotations

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
