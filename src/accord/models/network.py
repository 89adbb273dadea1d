"""A Hugging Face transformer as accord uses it: hidden states, a head, and what of it trains.

Shapes: B rows, T tokens, D hidden size, V vocabulary, N response tokens of a batch.

With ``trainable="top"`` only the upper layers and the head train. The layers below are a frozen
trunk that policy, reference, reward and value model share: one copy in memory, and its output is
computed once per batch (``tensors["trunk_BTD"]``) for all of them and for every epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from accord.errors import ModelError
from accord.models import packed
from accord.models.batch import TokenBatch, micro_batches
from accord.models.vocabulary import TokenLogprobs

TRUNK = "trunk_BTD"
TRUNK_TOKENS_AT_ONCE = 2048


class Network:
    """A model with its trainable part; see :class:`PolicyNetwork` and :class:`ScalarNetwork`.

    Args:
        model: a Hugging Face model with a ``base_model`` (the transformer) and a head.
        trunk_layers: how many lower layers are the frozen, shareable trunk (0: none).
        adapter: the peft wrapper when ``model`` carries a LoRA adapter.
        checkpointing: activations are recomputed in the backward pass, to save memory.
    """

    def __init__(
        self,
        model: Any,
        *,
        trunk_layers: int = 0,
        adapter: Any = None,
        checkpointing: bool = False,
    ) -> None:
        self.model = model
        self.adapter = adapter
        self.adapter_on = True
        self.checkpointing = checkpointing
        self.trunk_layers = trunk_layers
        self.base: nn.Module = model.base_model
        self.packs = _packs(self.base)
        self.trunk: nn.Module | None = None
        self.top: nn.Module | None = None
        if trunk_layers:
            self.trunk, self.top = _split(self.base, trunk_layers)

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    @contextmanager
    def training(self) -> Iterator[None]:
        """For a forward with gradient: Hugging Face checkpoints activations only in train mode.

        Outside it the model is in eval mode; in train mode it would decode without its cache.
        """
        self.model.train(self.checkpointing)
        try:
            yield
        finally:
            self.model.eval()

    def trainable(self) -> dict[str, nn.Parameter]:
        """Name -> parameter of what trains, in a fixed order."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def mode(self) -> AbstractContextManager[Any]:
        """Context in which a LoRA model behaves as the frozen reference, if this is one."""
        if self.adapter is None or self.adapter_on:
            return nullcontext()
        context: AbstractContextManager[Any] = self.adapter.disable_adapter()
        return context

    @torch.no_grad()
    def trunk_hidden(self, batch: TokenBatch) -> Tensor:
        """Output of the frozen trunk (B, T, D), by length-sorted parts; zero at padding."""
        assert self.trunk is not None, "this network has no trunk"
        trunk_BTD: Tensor | None = None
        for part in micro_batches(batch, TRUNK_TOKENS_AT_ONCE):
            moved = part.to(self.device)
            part_BTD = self._run(self.trunk, moved)
            if trunk_BTD is None:
                trunk_BTD = part_BTD.new_zeros((*batch.input_ids_BT.shape, part_BTD.shape[-1]))
            trunk_BTD[batch.places(part), : part_BTD.shape[1]] = part_BTD
        assert trunk_BTD is not None, "an empty batch"
        return trunk_BTD.to(batch.input_ids_BT.device)

    def hidden(self, batch: TokenBatch) -> Tensor:
        """Last hidden states (B, T, D), from the shared trunk where there is one."""
        with self.mode():
            if self.top is None:
                return self._run(self.base, batch)
            trunk_BTD = batch.tensors.get(TRUNK)
            if trunk_BTD is None:
                trunk_BTD = self.trunk_hidden(batch)
            return self._run(self.top, batch, trunk_BTD)

    def _run(self, module: Any, batch: TokenBatch, start_BTD: Tensor | None = None) -> Tensor:
        """Hidden states after a run of layers: over the real tokens alone where that is known."""
        if self.packs and batch.segments_BT is None:
            return packed.hidden_states(self.base, module.layers, module.norm, batch, start_BTD)
        return _padded(module, batch, start_BTD)

    def with_trunk(self, batch: TokenBatch) -> TokenBatch:
        """The batch with its trunk output, computed once; unchanged when there is no trunk."""
        if self.trunk is None or TRUNK in batch.tensors:
            return batch
        return batch.with_tensors(**{TRUNK: self.trunk_hidden(batch)})

    def frozen(self) -> Any:
        """A reference: what the network is now, kept while the original goes on training.

        The trunk is shared, a LoRA model is its own reference with the adapter off, and only a
        fully trained model is copied.
        """
        if self.adapter is not None:
            reference = copy.copy(self)
            reference.adapter_on = False
            return reference
        # The frozen parameters are the same objects in both: only what trains is copied.
        memo: dict[int, Any] = {id(p): p for p in self.model.parameters() if not p.requires_grad}
        model = copy.deepcopy(self.model, memo)
        model.requires_grad_(False)
        return type(self)(model, trunk_layers=self.trunk_layers)


class PolicyNetwork(Network):
    """A causal language model: log-probabilities of response tokens."""

    def logprobs(self, batch: TokenBatch, temperature: float = 1.0) -> Tensor:
        """Log p(token t | tokens < t) at response tokens, 0 elsewhere (B, T), float32.

        Only response positions meet the vocabulary, in blocks that are recomputed in the backward
        pass, so tokens x V is never held.
        """
        hidden_BTD = self.hidden(batch)
        mask_BT = batch.response_mask_BT
        before_ND = hidden_BTD[:, :-1][mask_BT[:, 1:]]
        targets_N = batch.input_ids_BT[mask_BT]
        head = self.model.get_output_embeddings()
        logprobs_N: Tensor = TokenLogprobs.apply(  # type: ignore[no-untyped-call]
            before_ND, head.weight, head.bias, targets_N, temperature
        )
        logprobs_BT = torch.zeros(mask_BT.shape, dtype=torch.float32, device=hidden_BTD.device)
        return logprobs_BT.masked_scatter(mask_BT, logprobs_N)


class ScalarNetwork(Network):
    """A transformer with a scalar head: a reward model (read at one token) or a value model.

    The head's output is shifted and scaled by ``config.accord_score_mean`` and ``..._std`` so that
    the SFT policy's samples score mean 0, standard deviation 1 (Ziegler et al. 2019, section 2.1).
    """

    @property
    def normalization(self) -> tuple[float, float]:
        """(mean, std) taken off every score."""
        config = self.model.config
        return float(config.accord_score_mean), float(config.accord_score_std)

    def set_normalization(self, mean: float, std: float) -> None:
        """Fix the shift and scale; saved in the model's ``config.json``."""
        self.model.config.accord_score_mean = mean
        self.model.config.accord_score_std = std

    @torch.no_grad()
    def rescale(self, slope: float, offset: float) -> None:
        """Make every reading r become slope * r + offset, in head and normalization."""
        mean, std = self.normalization
        self.model.score.weight.mul_(slope)
        self.set_normalization(slope * mean - offset * std, std)

    def heads(self, batch: TokenBatch) -> Tensor:
        """The scalar read at every token, having seen tokens <= t (B, T), float32."""
        mean, std = self.normalization
        raw_BT: Tensor = self.model.score(self.hidden(batch))[..., 0].float()
        return (raw_BT - mean) / std

    def scores(self, batch: TokenBatch) -> Tensor:
        """One score a row, read at its last token (B,)."""
        return read_scores(self.heads(batch), batch)

    def values(self, batch: TokenBatch) -> Tensor:
        """Value of the state before each token (B, T): the head one token earlier."""
        return read_values(self.heads(batch))


def read_scores(heads_BT: Tensor, batch: TokenBatch) -> Tensor:
    """A reward model's score of each row (B,): its head at the row's last token."""
    return read_last(heads_BT, batch)


def read_last(outputs_BT: Tensor, batch: TokenBatch) -> Tensor:
    """What stands at each row's last token: (B, ...) of (B, T, ...)."""
    rows_B = torch.arange(len(batch.lengths_B), device=outputs_BT.device)
    return outputs_BT[rows_B, batch.lengths_B - 1]


def read_values(heads_BT: Tensor) -> Tensor:
    """Value of the state before each token (B, T): the head one token earlier."""
    return torch.nn.functional.pad(heads_BT[:, :-1], (1, 0))


def share_trunk(owner: Network, other: Network) -> bool:
    """Let ``other`` use ``owner``'s trunk when their lower layers are equal bit for bit.

    When they are not, ``other`` computes its lower layers itself, whatever a batch carries.

    Returns:
        True when shared: one copy in memory, and ``tensors["trunk_BTD"]`` serves both.
    """
    other.trunk, other.top, other.trunk_layers = None, None, 0
    if owner.trunk is None or not _equal(owner.trunk, _lower(other.base, owner.trunk_layers)):
        return False
    base: Any = other.base
    source: Any = owner.base
    base.embed_tokens = source.embed_tokens
    for i in range(owner.trunk_layers):
        base.layers[i] = source.layers[i]
    other.trunk_layers = owner.trunk_layers
    other.trunk, other.top = _split(base, owner.trunk_layers)
    return True


def check_trunk(network: Network) -> None:
    """Prove on a probe that trunk + top equals the whole model.

    Raises:
        ModelError: this architecture does more between its layers than pass hidden states on.
    """
    batch = _probe(network.base)
    with torch.no_grad():
        whole = _padded(network.base, batch)
        split = network.hidden(batch)
    if not torch.allclose(whole, split, atol=1e-4, rtol=1e-4):
        raise ModelError(
            f"{type(network.model).__name__} cannot share a frozen trunk (split and whole differ "
            f"by {(whole - split).abs().max():.1e}); use model.trainable: lora or all"
        )


def check_head(network: PolicyNetwork) -> None:
    """Prove on a probe that log-probabilities through the head's weights are the model's own.

    Raises:
        ModelError: the model changes its logits after the head (soft caps, scales).
    """
    batch = _probe(network.base)
    tolerance = 1e-3 if network.model.dtype == torch.float32 else 5e-2
    with torch.no_grad():
        logits_BTV = network.model(input_ids=batch.input_ids_BT, use_cache=False).logits
        ours_BT = network.logprobs(batch)[:, 1:]
    whole_BTV = logits_BTV[:, :-1].float().log_softmax(dim=-1)
    theirs_BT = whole_BTV.gather(2, batch.input_ids_BT[:, 1:, None])[..., 0]
    if not torch.allclose(theirs_BT, ours_BT, atol=tolerance, rtol=tolerance):
        raise ModelError(
            f"{type(network.model).__name__} changes its logits after the head (a soft cap or a "
            "scale), which accord does not reproduce; choose another model"
        )


def check_packing(network: PolicyNetwork, packed: TokenBatch, unpacked: TokenBatch) -> None:
    """Prove on real rows that packed sequences do not see one another.

    Raises:
        ModelError: the summed log-probabilities differ (the model is not purely attention).
    """
    packed, unpacked = packed.to(network.device), unpacked.to(network.device)
    with torch.no_grad():
        one = network.logprobs(packed).sum() / packed.num_response_tokens
        two = network.logprobs(unpacked).sum() / unpacked.num_response_tokens
    if not torch.isclose(one, two, atol=1e-3):
        raise ModelError(
            f"{type(network.model).__name__} does not keep packed sequences apart "
            f"({one:.4f} against {two:.4f}); set sft.packing: false"
        )


def _split(base: nn.Module, trunk_layers: int) -> tuple[nn.Module, nn.Module]:
    """Two shells over the same modules: the lower layers, and the upper layers with the norm."""
    layers, norm = base._modules.get("layers"), base._modules.get("norm")
    if not isinstance(layers, nn.ModuleList) or norm is None:
        raise ModelError(
            f"{type(base).__name__} has no .layers and .norm to split; "
            "use model.trainable: lora or all"
        )
    if not 0 < trunk_layers < len(layers):
        raise ModelError(
            f"model.top_layers must leave 1 to {len(layers) - 1} of the {len(layers)} layers below"
        )
    trunk, top = _shell(base), _shell(base)
    trunk._modules["layers"] = nn.ModuleList(list(layers)[:trunk_layers])
    trunk._modules["norm"] = nn.Identity()
    top._modules["layers"] = nn.ModuleList(list(layers)[trunk_layers:])
    top._modules["embed_tokens"] = None
    return trunk, top


def _shell(base: nn.Module) -> nn.Module:
    shell = copy.copy(base)
    shell._modules = dict(base._modules)
    return shell


def _lower(base: nn.Module, trunk_layers: int) -> nn.Module | None:
    """The lower layers of a model, or None when it has too few to be split there."""
    layers = base._modules.get("layers")
    if not isinstance(layers, nn.ModuleList) or len(layers) <= trunk_layers:
        return None
    return _split(base, trunk_layers)[0]


def _equal(one: nn.Module, two: nn.Module | None) -> bool:
    ours = dict(one.named_parameters())
    theirs = {} if two is None else dict(two.named_parameters())
    return ours.keys() == theirs.keys() and all(torch.equal(p, theirs[n]) for n, p in ours.items())


def _padded(module: nn.Module, batch: TokenBatch, start_BTD: Tensor | None = None) -> Tensor:
    """Hugging Face's forward pass over whole rows, padding included."""
    inputs: dict[str, Any] = {"use_cache": False}
    if start_BTD is None:
        inputs["input_ids"] = batch.input_ids_BT
    else:
        inputs["inputs_embeds"] = start_BTD
    if batch.segments_BT is not None:
        inputs |= _packed_inputs(batch.segments_BT, next(module.parameters()).dtype)
    output: Tensor = module(**inputs).last_hidden_state
    return output


def _packed_inputs(segments_BT: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Positions that restart and a mask that is block-diagonal and causal (additive)."""
    length = segments_BT.shape[1]
    index_T = torch.arange(length, device=segments_BT.device)
    starts_BT = torch.ones_like(segments_BT, dtype=torch.bool)
    starts_BT[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    start_index_BT = torch.where(starts_BT, index_T, 0).cummax(dim=1).values
    same_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    causal_TT = index_T[:, None] >= index_T[None, :]
    mask = torch.zeros(same_BTT.shape, dtype=dtype, device=segments_BT.device)
    mask.masked_fill_(~(same_BTT & causal_TT), torch.finfo(dtype).min)
    return {"position_ids": index_T - start_index_BT, "attention_mask": mask[:, None]}


@torch.no_grad()
def _packs(base: Any) -> bool:
    """Whether a transformer is one that ``packed`` knows, and proves right on a probe."""
    if not packed.supports(base):
        return False
    batch = _probe(base)
    ours = packed.hidden_states(base, base.layers, base.norm, batch)
    tolerance = 1e-4 if ours.dtype == torch.float32 else 5e-2
    return torch.allclose(ours, _padded(base, batch), atol=tolerance, rtol=tolerance)


def _probe(base: nn.Module) -> TokenBatch:
    weight: Any = next(base.parameters())
    ids = torch.arange(24, device=weight.device).reshape(2, 12) % base.config.vocab_size  # type: ignore[operator, union-attr]
    rows_B = torch.arange(2, device=weight.device)
    lengths_B = torch.full_like(rows_B, 12)
    mask_BT = torch.arange(12, device=weight.device).expand(2, -1) > 0
    return TokenBatch(ids, lengths_B, mask_BT, rows_B, rows_B)


def still_in_train_mode(model: nn.Module) -> None:
    """Set every dropout of a model to 0: layers, and probabilities that attention keeps itself."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if "attention_dropout" in vars(module):
            vars(module)["attention_dropout"] = 0.0
