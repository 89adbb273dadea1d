import math

import pytest
import torch

from accord.algorithms import entropy, sampling_logits, sequence_logprobs, token_logprobs

LOGITS = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).log().repeat(3, 1)  # 1/8, 2/8, 5/8
TARGETS = torch.tensor([0, 1, 2])


def probabilities(**settings):
    return token_logprobs(LOGITS, TARGETS, **settings).exp().tolist()


def test_full_softmax_by_hand():
    assert probabilities() == pytest.approx([1 / 8, 2 / 8, 5 / 8])


def test_temperature_by_hand():
    """At one half every probability is squared before it is normalised."""
    assert probabilities(temperature=0.5) == pytest.approx([1 / 30, 4 / 30, 25 / 30])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"top_k": 1}, [0, 0, 1]),
        ({"top_k": 2}, [0, 2 / 7, 5 / 7]),
        ({"top_k": 3}, [1 / 8, 2 / 8, 5 / 8]),
        ({"top_k": 99}, [1 / 8, 2 / 8, 5 / 8]),
        ({"top_p": 0.6}, [0, 0, 1]),
        ({"top_p": 0.7}, [0, 2 / 7, 5 / 7]),
        ({"top_p": 0.9}, [1 / 8, 2 / 8, 5 / 8]),
        ({"top_p": 1e-9}, [0, 0, 1]),
        ({"top_k": 2, "top_p": 0.7}, [0, 0, 1]),  # 5/7 is enough once two are left
        ({"temperature": 0.5, "top_p": 0.8}, [0, 0, 1]),  # 25/30 is enough when sharpened
    ],
)
def test_top_k_and_top_p_by_hand(settings, expected):
    assert probabilities(**settings) == pytest.approx(expected)


def test_top_p_keeps_the_order_of_the_vocabulary():
    logits = torch.tensor([[5.0, 1.0, 2.0], [1.0, 5.0, 2.0]]).log()
    kept = sampling_logits(logits, top_p=0.7).isfinite()
    assert kept.tolist() == [[True, False, True], [False, True, True]]


def test_bug_sampling_with_top_k_but_training_on_the_full_softmax():
    """The first ratio of an update must be 1; the full softmax makes it 7/8 for every token."""
    sampled = LOGITS[1:], TARGETS[1:]
    sampler = token_logprobs(*sampled, top_k=2)
    wrong = (token_logprobs(*sampled) - sampler).exp().tolist()
    right = (token_logprobs(*sampled, top_k=2) - sampler).exp().tolist()
    assert wrong == pytest.approx([7 / 8, 7 / 8])
    assert right == [1, 1]


def test_samples_follow_the_log_probabilities():
    logits = torch.randn(1, 5)
    settings = {"temperature": 0.8, "top_k": 4, "top_p": 0.95}
    probs = sampling_logits(logits, **settings).softmax(1)
    draws = torch.multinomial(probs[0], 200_000, replacement=True)
    frequencies = torch.bincount(draws, minlength=5) / 200_000
    expected = token_logprobs(logits.repeat(5, 1), torch.arange(5), **settings).exp()
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=5e-3)


def test_half_precision_is_raised_and_double_kept():
    logits = torch.randn(4, 50).bfloat16()
    targets = torch.arange(4)
    raised = token_logprobs(logits, targets, temperature=0.7)
    assert raised.dtype == torch.float32
    exact = token_logprobs(logits.double(), targets, temperature=0.7)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(raised.double(), exact, rtol=0, atol=1e-5)


def test_an_ignored_target_is_an_error_not_a_silent_zero():
    with pytest.raises((RuntimeError, IndexError)):
        token_logprobs(LOGITS, torch.tensor([0, -100, 1]))


def test_sequence_logprobs_by_hand_with_padding():
    nan = torch.nan
    logprobs = torch.tensor([[nan, -1.0, -2.0], [-3.0, nan, nan]])
    assert sequence_logprobs(logprobs, logprobs.isfinite()).tolist() == [-3, -3]


def test_entropy_by_hand():
    exact = -sum(p * math.log(p) for p in (1 / 8, 2 / 8, 5 / 8))
    assert entropy(LOGITS).tolist() == pytest.approx([exact] * 3)
    two = -sum(p * math.log(p) for p in (2 / 7, 5 / 7))
    assert entropy(LOGITS, top_k=2).tolist() == pytest.approx([two] * 3)
    assert entropy(torch.zeros(1, 7), temperature=0.3).item() == pytest.approx(math.log(7))
    assert entropy(torch.tensor([[0.0, -torch.inf]])).item() == 0


def test_gradients_stay_finite_where_tokens_are_excluded():
    logits = LOGITS.clone().requires_grad_()
    loss = entropy(logits, top_k=2).sum() + token_logprobs(logits, TARGETS.clamp(1), top_k=2).sum()
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[:, 0].tolist() == [0, 0, 0]


def test_the_door():
    with pytest.raises(ValueError, match="temperature is 0"):
        token_logprobs(LOGITS, TARGETS, temperature=0.0)
    with pytest.raises(ValueError, match="top_k is -1"):
        sampling_logits(LOGITS, top_k=-1)
    with pytest.raises(ValueError, match="top_p is 0"):
        sampling_logits(LOGITS, top_p=0.0)
    with pytest.raises(ValueError, match="2 dimensions"):
        entropy(LOGITS[None])
