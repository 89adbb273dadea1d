"""The probe against another optimiser, and against what it must do at its limits."""

import torch

from accord.algorithms import bradley_terry_probe


def problem(num_rows=40, num_features=6, num_pairs=150):
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1.0, 10.0, 0.1, 3.0, 1.0, 1.0])[:num_features]
    features = 5 + scales * torch.randn(num_rows, num_features, generator=generator)
    first, second = torch.randint(0, num_rows, (2, num_pairs), generator=generator)
    keep = first != second
    first, second = first[keep], second[keep]
    truth = torch.tensor([1.0, -0.2, 5.0, 0.0, 0.5, 0.0])[:num_features]
    margin = (features[first] - features[second]) @ truth
    target = (torch.rand(len(margin), generator=generator) < margin.sigmoid()).float()
    weight = torch.rand(len(margin), generator=generator)
    return features, first, second, target, weight


def test_it_is_the_minimum_that_another_optimiser_finds():
    features, first, second, target, weight = problem()
    got = bradley_terry_probe(features, first, second, target, weight)
    spread = features.double().std(dim=0, correction=0) * features.shape[1] ** 0.5
    w = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([w], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14)

    def loss():
        optimiser.zero_grad()
        margin = (features[first] - features[second]).double() @ (w / spread)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            margin, target.double(), weight.double(), reduction="sum"
        )
        total = entropy + 0.5 * (w**2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    torch.testing.assert_close(got, (w / spread).detach(), atol=1e-6, rtol=1e-5)


def test_turning_pairs_round_changes_nothing_and_swapping_verdicts_turns_the_sign():
    features, first, second, target, weight = problem()
    got = bradley_terry_probe(features, first, second, target, weight)
    turned = bradley_terry_probe(features, second, first, 1 - target, weight)
    against = bradley_terry_probe(features, first, second, 1 - target, weight)
    torch.testing.assert_close(turned, got)
    torch.testing.assert_close(against, -got)


def test_no_evidence_gives_no_score_and_a_constant_feature_no_weight():
    features, first, second, target, weight = problem()
    assert not bradley_terry_probe(features, first, second, target, 0 * weight).any()
    even = torch.full_like(target, 0.5)
    assert bradley_terry_probe(features, first, second, even, weight).abs().max() < 1e-12
    features[:, 2] = 7.0
    got = bradley_terry_probe(features, first, second, target, weight)
    assert got[2] == 0
    assert got.isfinite().all()


def test_more_features_than_pairs_is_well_posed():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(12, 64, generator=generator)
    first, second = torch.arange(0, 12, 2), torch.arange(1, 12, 2)
    got = bradley_terry_probe(features, first, second, torch.ones(6), torch.ones(6))
    margins = (features[first] - features[second]).double() @ got
    assert (margins > 0).all()
    assert margins.max() < 2  # the prior holds scores near one another
