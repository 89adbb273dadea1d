"""The mathematics of learning from people, as pure functions of tensors.

Nothing here knows a model, a config or a device, and nothing but torch is imported. Shape letters
in names: B batch, T tokens, V vocabulary, N comparisons or flattened tokens, K candidates.
Per-token tensors are aligned with the input: ``logprobs_BT[b, t]`` is log p(token t | tokens < t)
and ``values_BT[b, t]`` the value of the state before token t. Each loss returns the loss and a dict
of detached scalar metrics, both a sum over a denominator, so that micro-batches given the full
batch's denominator add up to the full batch.
"""

from .advantages import gae
from .best_of_n import bon_expected, bon_kl
from .checks import first_nonfinite
from .kl import k1, k2, k3, sequence_kl
from .masking import last_index, masked_mean, masked_sum, masked_var, masked_whiten
from .policy_losses import ppo_policy_loss
from .preference_losses import bradley_terry_loss, dpo_loss
from .probe import bradley_terry_probe
from .reward_shaping import (
    AdaptiveKL,
    FixedKL,
    apply_missing_eos_penalty,
    clip_scores,
    normalize,
    shaped_rewards,
)
from .sequence import entropy, sampling_logits, sequence_logprobs, token_logprobs
from .sft_losses import sft_loss
from .value_losses import affine_fit, explained_variance, ppo_value_loss

__all__ = [
    "AdaptiveKL",
    "FixedKL",
    "affine_fit",
    "apply_missing_eos_penalty",
    "bon_expected",
    "bon_kl",
    "bradley_terry_loss",
    "bradley_terry_probe",
    "clip_scores",
    "dpo_loss",
    "entropy",
    "explained_variance",
    "first_nonfinite",
    "gae",
    "k1",
    "k2",
    "k3",
    "last_index",
    "masked_mean",
    "masked_sum",
    "masked_var",
    "masked_whiten",
    "normalize",
    "ppo_policy_loss",
    "ppo_value_loss",
    "sampling_logits",
    "sequence_kl",
    "sequence_logprobs",
    "sft_loss",
    "shaped_rewards",
    "token_logprobs",
]
