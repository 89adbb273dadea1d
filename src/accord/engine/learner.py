"""The local learner: one network, one AdamW, micro-batches that add up to the full batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from accord.config import TrainingConfig
from accord.engine.protocols import Loss, Metrics, Outputs
from accord.errors import NonFiniteError
from accord.models.batch import TokenBatch, micro_batches
from accord.models.network import PolicyNetwork, ScalarNetwork


@dataclass(frozen=True)
class AdamSettings:
    """AdamW (Loshchilov & Hutter 2019) and the gradient clip."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    @classmethod
    def of(cls, config: TrainingConfig) -> AdamSettings:
        """What a stage's section says."""
        return cls(
            (config.adam_beta1, config.adam_beta2),
            config.adam_eps,
            config.weight_decay,
            config.max_grad_norm,
        )


class LocalLearner:
    """Trains one network on this machine.

    Args:
        network: a policy (per-token log-probabilities) or a scalar model (per-token head).
        adam: optimizer settings.
        micro_batch_tokens: padded tokens in one forward and backward; memory, never results,
            depends on it.
        dump_folder: where the batch is saved when something is not finite.
        temperature: sampling temperature, applied again when log-probabilities are computed.
    """

    def __init__(
        self,
        network: PolicyNetwork | ScalarNetwork,
        adam: AdamSettings,
        *,
        micro_batch_tokens: int,
        dump_folder: Path,
        temperature: float = 1.0,
    ) -> None:
        self.network = network
        self.micro_batch_tokens = micro_batch_tokens
        self.temperature = temperature
        self._dump_folder = dump_folder
        self._max_grad_norm = adam.max_grad_norm
        self._parameters = network.trainable()
        self._optimizer = torch.optim.AdamW(
            list(self._parameters.values()),
            lr=0.0,
            betas=adam.betas,
            eps=adam.eps,
            weight_decay=adam.weight_decay,
            fused=True,
        )

    def forward(self, batch: TokenBatch) -> Tensor:
        """Per-token outputs without gradient (B, T); see :class:`Outputs`."""
        return per_token(self.network, batch, self.micro_batch_tokens, self.temperature)

    def step(self, batch: TokenBatch, loss: Loss, learning_rate: float) -> Metrics:
        """One optimizer step on ``batch``.

        Args:
            batch: the full batch; it is cut into micro-batches whose losses add up.
            loss: pure function; its sums must be divided by the full batch's denominator.
            learning_rate: for this step.

        Returns:
            The loss's metrics, summed over micro-batches, with "optimizer/grad_norm".

        Raises:
            NonFiniteError: loss or gradient is not finite; weights are as before the step and the
                batch lies in the dump folder.
        """
        self._optimizer.zero_grad(set_to_none=True)
        metrics: Metrics = {}
        for part in micro_batches(batch, self.micro_batch_tokens):
            part = part.to(self.network.device)
            with self.network.training():
                outputs = Outputs(_forward(self.network, part, self.temperature))
                value, part_metrics = loss(outputs, part)
                if not torch.isfinite(value):
                    raise self._not_finite("loss", value, part)
                value.backward()  # type: ignore[no-untyped-call]
            for name, metric in part_metrics.items():
                metrics[name] = metrics.get(name, 0.0) + float(metric)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._max_grad_norm)
        if not torch.isfinite(norm):
            raise self._not_finite("gradient norm", norm, batch)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        return {**metrics, "optimizer/grad_norm": float(norm)}

    def state(self) -> dict[str, Tensor]:
        """Trained parameters and AdamW's moments, by name, ready for safetensors."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            tensors[f"weight.{name}"] = parameter.detach()
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore :meth:`state` bit for bit."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"weight.{name}"])
                moments = {
                    key: tensors[f"adam.{key}.{name}"]
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"adam.{key}.{name}" in tensors
                }
                if moments:
                    self._optimizer.state[parameter] = {
                        key: value.clone().to(parameter.device) for key, value in moments.items()
                    }

    def _not_finite(self, what: str, value: Tensor, batch: TokenBatch) -> NonFiniteError:
        return not_finite(what, value, batch, self._dump_folder)


def not_finite(what: str, value: Tensor, batch: TokenBatch, folder: Path) -> NonFiniteError:
    """Save the batch and build the error that stops the run."""
    path = folder / "nonfinite-batch.safetensors"
    save_file(
        {
            "input_ids_BT": batch.input_ids_BT.contiguous(),
            "response_mask_BT": batch.response_mask_BT.contiguous(),
            **{name: tensor.detach().contiguous() for name, tensor in batch.tensors.items()},
        },
        path,
    )
    return NonFiniteError(
        f"{what} is {float(value.detach().float().mean())}; the run stopped before the step and "
        f"the batch is in {path}. Lower the learning rate, or look for broken rows in that batch."
    )


@torch.no_grad()
def per_token(
    network: PolicyNetwork | ScalarNetwork,
    batch: TokenBatch,
    micro_batch_tokens: int,
    temperature: float = 1.0,
) -> Tensor:
    """Per-token outputs of a network over a whole batch (B, T), without gradient.

    Batches live where they were made (the CPU); only a micro-batch goes to the network's device.
    """
    output_BT = torch.zeros(
        batch.input_ids_BT.shape, dtype=torch.float32, device=batch.input_ids_BT.device
    )
    for part in micro_batches(batch, micro_batch_tokens):
        part_BT = _forward(network, part.to(network.device), temperature)
        output_BT[batch.places(part), : part_BT.shape[1]] = part_BT.to(output_BT.device)
    return output_BT


def _forward(
    network: PolicyNetwork | ScalarNetwork, batch: TokenBatch, temperature: float
) -> Tensor:
    if isinstance(network, PolicyNetwork):
        return network.logprobs(batch, temperature)
    return network.heads(batch)
