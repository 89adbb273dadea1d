"""Exact float32 decoding of Llama-shaped models on a CPU, several times Hugging Face's speed.

Query, key and value weights are fused, as are gate and up, and all are laid out once for oneDNN;
keys and values lie in one preallocated cache, from whose rows finished ones are compacted away and
into whose free rows waiting prompts are put. Numbers differ from Hugging Face's by rounding alone,
which :meth:`LlamaDecoder.ready` proves on a probe at the first use.

Shapes: P prompts, B rows decoded together, T tokens, L layers, H query heads, G key heads (as many
value heads), S = H + 2 G, D head size, E hidden size, V vocabulary. Rows are right-padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from accord.models import packed

PACKED_ROWS = 64  # the layout oneDNN chose for 64 rows was within 5 % of the best for 8 to 1024
PACKED_ELEMENTS = 1 << 18  # smaller weights are not worth oneDNN's longer call
PREFILL_TOKENS = 4096  # padded prompt tokens run at once, to bound memory
TOLERANCE = 1e-4


class LlamaDecoder:
    """A model's weights as decoding wants them; :meth:`open` starts a batch.

    Args:
        model: a Hugging Face causal language model for which :func:`supports` is true. Its
            parameters stay the truth: :meth:`refresh` takes over those that changed.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers = [_Layer(layer) for layer in model.model.layers]
        self.head = _Linear(model.lm_head)
        attention = model.model.layers[0].self_attn
        self._exact: bool | None = None
        self.head_dim = int(attention.head_dim)
        self.num_heads = attention.q_proj.out_features // self.head_dim
        self.num_key_heads = attention.k_proj.out_features // self.head_dim

    def ready(self) -> bool:
        """Take over the model's weights as they are; True when its logits can be relied on.

        The probe runs at the first use: the weights change later, what is done with them does not.
        """
        self.refresh()
        if self._exact is None:
            self._exact = self.exact()
        return self._exact

    @torch.inference_mode()
    def refresh(self) -> None:
        """Fuse and lay out again the weights that train, and others when they were replaced."""
        for linear in self._linears():
            linear.refresh()

    @torch.inference_mode()
    def exact(self) -> bool:
        """Whether prefill and two steps of rows unlike in length give the model's logits."""
        vocabulary = self.model.config.vocab_size
        rows_BT = (31 * torch.arange(12) + 7 * torch.arange(2)[:, None]) % vocabulary
        lengths = (10, 5)
        batch = self.open(slots=2, capacity=12)
        ours = [batch.join([row[:n].tolist() for row, n in zip(rows_BT, lengths, strict=True)], 1)]
        for t in range(2):
            ours.append(batch.step(rows_BT[torch.arange(2), torch.tensor(lengths) + t]))
        logits_BTV = self.model(rows_BT, use_cache=False).logits
        theirs = [logits_BTV[k, n - 1 : n + 2] for k, n in enumerate(lengths)]
        return torch.allclose(
            torch.stack(ours, dim=1), torch.stack(theirs), atol=TOLERANCE, rtol=TOLERANCE
        )

    def open(self, slots: int, capacity: int) -> LlamaBatch:
        """An empty batch of at most ``slots`` rows of at most ``capacity`` tokens."""
        return LlamaBatch(self, slots, capacity)

    def rotations(self, capacity: int) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines (T, D) of positions 0 to ``capacity`` - 1."""
        weight = self.model.model.embed_tokens.weight
        cos_1TD, sin_1TD = self.model.model.rotary_emb(weight, torch.arange(capacity)[None])
        sin_TD = sin_1TD[0].clone()
        sin_TD[:, : self.head_dim // 2] *= -1
        return cos_1TD[0], sin_TD

    def _linears(self) -> Iterator[_Linear]:
        for layer in self.layers:
            yield from (layer.qkv, layer.out, layer.gate_up, layer.down)
        yield self.head


class LlamaBatch:
    """Rows being decoded: their keys and values, and the verbs of a decode batch."""

    joins = True
    compact_at = 1.0

    def __init__(self, decoder: LlamaDecoder, slots: int, capacity: int) -> None:
        self._decoder = decoder
        self._cos_TD, self._sin_TD = decoder.rotations(capacity)
        # Keys and values; zeros, since a masked value still meets its weight 0 and 0 x NaN is NaN.
        self._cache_L2BGTD = torch.zeros(
            len(decoder.layers), 2, slots, decoder.num_key_heads, capacity, decoder.head_dim
        )
        self._lengths_B = torch.zeros(0, dtype=torch.int64)

    def join(self, prompts: Sequence[Sequence[int]], num_candidates: int) -> Tensor:
        """Add ``num_candidates`` rows for each prompt, which is run once.

        Returns:
            Next-token logits of the new rows (P x K, V).
        """
        longest = max(map(len, prompts))
        size = max(1, PREFILL_TOKENS // longest)
        parts = [
            self._prefill(prompts[start : start + size], num_candidates)
            for start in range(0, len(prompts), size)
        ]
        return torch.cat(parts).repeat_interleave(num_candidates, dim=0)

    def step(self, tokens_B: Tensor) -> Tensor:
        """Append one token to every row; returns next-token logits (B, V)."""
        decoder, lengths_B = self._decoder, self._lengths_B
        rows, longest = len(lengths_B), int(lengths_B.max()) + 1
        heads, keys = decoder.num_heads, decoder.num_key_heads
        index_B = torch.arange(rows)
        seen_BT = torch.arange(longest) <= lengths_B[:, None]
        mask_B1T = torch.zeros(seen_BT.shape).masked_fill_(~seen_BT, -torch.inf)[:, None]
        cos_B1D, sin_B1D = self._cos_TD[lengths_B][:, None], self._sin_TD[lengths_B][:, None]
        x_BE = F.embedding(tokens_B, decoder.model.model.embed_tokens.weight)
        for layer, cache_2BGTD in zip(decoder.layers, self._cache_L2BGTD, strict=True):
            qkv_BSD = layer.project(x_BE, heads, keys, cos_B1D, sin_B1D)
            cache_2BGTD[:, index_B, :, lengths_B] = torch.unflatten(
                qkv_BSD[:, heads:], 1, (2, keys)
            )
            mixed_BHD = _attend(qkv_BSD[:, :heads], cache_2BGTD[:, :rows], mask_B1T)
            x_BE = layer.finish(x_BE, mixed_BHD.flatten(1))
        self._lengths_B = lengths_B + 1
        return self._logits(x_BE)

    def keep(self, order: Sequence[int]) -> None:
        """Keep these rows, in this order; ``order[i]`` becomes row i."""
        moved = [(i, source) for i, source in enumerate(order) if i != source]
        if moved:
            to, source = torch.tensor(moved).T
            longest = int(self._lengths_B.max())
            for cache_2BGTD in self._cache_L2BGTD:
                cache_2BGTD[:, to, :, :longest] = cache_2BGTD[:, source, :, :longest]
        self._lengths_B = self._lengths_B[torch.tensor(order, dtype=torch.int64)]

    def _prefill(self, prompts: Sequence[Sequence[int]], num_candidates: int) -> Tensor:
        """Run some prompts, put their keys and values in free rows; logits (P, V)."""
        decoder = self._decoder
        heads, keys = decoder.num_heads, decoder.num_key_heads
        lengths_P = torch.tensor([len(prompt) for prompt in prompts])
        longest, start = int(lengths_P.max()), len(self._lengths_B)
        rows = slice(start, start + len(prompts) * num_candidates)
        ids_PT = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for i, prompt in enumerate(prompts):
            ids_PT[i, : len(prompt)] = torch.tensor(prompt)
        cos_T1D, sin_T1D = self._cos_TD[:longest, None], self._sin_TD[:longest, None]
        x_PTE = F.embedding(ids_PT, decoder.model.model.embed_tokens.weight)
        for layer, cache_2BGTD in zip(decoder.layers, self._cache_L2BGTD, strict=True):
            qkv_PTSD = layer.project(x_PTE, heads, keys, cos_T1D, sin_T1D)
            q_PHTD, k_PGTD, v_PGTD = torch.split(qkv_PTSD.transpose(1, 2), [heads, keys, keys], 1)
            free_2BGTD = cache_2BGTD[:, rows, :, :longest]
            for free_BGTD, new_PGTD in zip(free_2BGTD, (k_PGTD, v_PGTD), strict=True):
                torch.unflatten(free_BGTD, 0, (-1, num_candidates))[:] = new_PGTD[:, None]
            # Padding is on the right, where causal attention never looks.
            mixed_PHTD = F.scaled_dot_product_attention(
                q_PHTD, k_PGTD, v_PGTD, is_causal=True, enable_gqa=True
            )
            x_PTE = layer.finish(x_PTE, mixed_PHTD.transpose(1, 2).flatten(2))
        self._lengths_B = torch.cat([self._lengths_B, lengths_P.repeat_interleave(num_candidates)])
        return self._logits(x_PTE[torch.arange(len(prompts)), lengths_P - 1])

    def _logits(self, x_BE: Tensor) -> Tensor:
        return self._decoder.head(_norm(self._decoder.model.model.norm, x_BE))


def _attend(q_BHD: Tensor, cache_2BGTD: Tensor, mask_B1T: Tensor) -> Tensor:
    """Attention of one query a row, (B, H, D); the query heads of a key head are its rows.

    Two batched products: with one query a row they take half of SDPA's time.
    """
    rows, heads, size = q_BHD.shape
    longest, keys = mask_B1T.shape[2], cache_2BGTD.shape[2]
    k, v = cache_2BGTD.flatten(1, 2)[:, :, :longest]
    q = q_BHD.reshape(rows * keys, heads // keys, size)
    scores_BHT = torch.bmm(q, k.transpose(1, 2)).view(rows, heads, longest)
    weights_BHT = scores_BHT.mul_(size**-0.5).add_(mask_B1T).softmax(dim=-1)
    return torch.bmm(weights_BHT.view(rows * keys, -1, longest), v).view(rows, heads, size)


def supports(model: Any) -> bool:
    """Whether a model is of a family this decoder knows, unadapted, in float32 on a CPU."""
    return (
        type(model).__name__.endswith("ForCausalLM")
        and packed.supports(model.base_model)
        and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in model.parameters())
        and all(
            type(module) is nn.Linear  # a subclass or a LoRA wrapper does more
            for name, module in model.named_modules()
            if name.endswith(("_proj", "lm_head"))
        )
    )


class _Linear:
    """Linear layers of one input as one, with a copy of their weights laid out for oneDNN."""

    def __init__(self, *sources: nn.Linear) -> None:
        self._sources = sources
        self._parameters = [p for source in sources for p in source.parameters()]
        self._written: list[tuple[int, int]] = []
        self._weight = torch.empty(0)
        self._bias: Tensor | None = None
        self._packed = (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and sum(source.weight.numel() for source in sources) >= PACKED_ELEMENTS
        )

    def refresh(self) -> None:
        """Copy the weights, unless they are frozen and were not written to since the last time."""
        # A fused optimizer writes without counting up the version: what trains is always copied.
        trains = any(p.requires_grad for p in self._parameters)
        written = [(p.data_ptr(), p._version) for p in self._parameters]
        if written == self._written and not trains:
            return
        self._written = written
        weight = torch.cat([source.weight for source in self._sources])
        if self._packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_ROWS)
        self._weight = weight
        if self._sources[0].bias is not None:
            self._bias = torch.cat([source.bias for source in self._sources])

    def __call__(self, x: Tensor) -> Tensor:
        if not self._packed:
            return F.linear(x, self._weight, self._bias)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return y


@dataclass(frozen=True)
class _HeadNorms:
    """Qwen3 normalises every query and key head."""

    query: nn.Module
    key: nn.Module


class _Layer:
    """One transformer layer: what comes before attention and what comes after."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = _Linear(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = _Linear(attention.o_proj)
        self.gate_up = _Linear(mlp.gate_proj, mlp.up_proj)
        self.down = _Linear(mlp.down_proj)
        self._before = layer.input_layernorm
        self._between = layer.post_attention_layernorm
        norms = dict(attention.named_children())
        self._head_norms = (
            _HeadNorms(norms["q_norm"], norms["k_norm"]) if "q_norm" in norms else None
        )

    def project(self, x: Tensor, heads: int, keys: int, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotated queries and keys, and values (..., S, D)."""
        qkv = self.qkv(_norm(self._before, x)).view(*x.shape[:-1], heads + 2 * keys, -1)
        if self._head_norms is not None:
            qkv[..., :heads, :] = _norm(self._head_norms.query, qkv[..., :heads, :])
            key_heads = qkv[..., heads : heads + keys, :]
            key_heads.copy_(_norm(self._head_norms.key, key_heads))
        rotated = qkv[..., : heads + keys, :]
        half = rotated.shape[-1] // 2
        swapped = torch.cat((rotated[..., half:], rotated[..., :half]), dim=-1)
        rotated.mul_(cos).addcmul_(swapped, sin)
        return qkv

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of the layer, given the heads' outputs side by side (..., H x D)."""
        x = x + self.out(mixed)
        gate, up = self.gate_up(_norm(self._between, x)).chunk(2, dim=-1)
        return self.down(F.silu(gate).mul_(up)).add_(x)


def _norm(norm: Any, x: Tensor) -> Tensor:
    y: Tensor = F.rms_norm(x, (x.shape[-1],), norm.weight, norm.variance_epsilon)
    return y
