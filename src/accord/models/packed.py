"""A Llama-shaped transformer over the real tokens of a batch alone, each of them once.

Rows of a batch are padded, and completions of one prompt repeat it. Here every layer's products
run over the N tokens that differ: no padding, and what rows of a group have in common at their
start is computed once for all of them. Attention alone sees rows, through an index. The modules are
the model's own, so adapters and sharing work as they do in Hugging Face's forward pass, which this
equals up to rounding.

Shapes: B rows, T tokens of a padded row, N tokens computed, E hidden size, H query heads, G key
heads (as many value heads), D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from accord.models.batch import TokenBatch

FAMILIES = frozenset({"Llama", "Mistral", "Qwen2", "Qwen3"})
FIXED_ROPES = frozenset({"default", "linear", "llama3", "yarn"})  # do not change with the length


def supports(base: Any) -> bool:
    """Whether a transformer is of a family whose layers are known here."""
    if type(base).__name__.removesuffix("Model") not in FAMILIES:
        return False
    config = base.config.to_dict()
    return (
        config["hidden_act"] == "silu"
        and config["rope_parameters"]["rope_type"] in FIXED_ROPES
        and config.get("sliding_window") is None
    )


@dataclass(frozen=True)
class Layout:
    """Which tokens of a padded batch are computed, and where each of them is seen.

    Attributes:
        places_N: of each computed token, its place in the flattened batch (B x T).
        tokens_BT: of each place, the number of its computed token; 0 at padding.
        copies_M: places that show a token computed in another row.
    """

    places_N: Tensor
    tokens_BT: Tensor
    copies_M: Tensor

    @classmethod
    def of(cls, batch: TokenBatch) -> Layout:
        """The layout of a batch: rows of one group share what they have in common at the start."""
        ids_BT, lengths_B = batch.input_ids_BT, batch.lengths_B
        index_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        real_BT = index_T < lengths_B[:, None]
        groups: dict[int, list[int]] = {}
        for row, group in enumerate(batch.group_B.tolist()):
            groups.setdefault(group, []).append(row)
        first_B = torch.arange(len(ids_BT), device=ids_BT.device)
        shared_B = torch.zeros_like(lengths_B)
        for first, *others in groups.values():
            if others:
                same_KT = (ids_BT[others] == ids_BT[first]) & real_BT[others] & real_BT[first]
                first_B[others] = first
                shared_B[others] = same_KT.all(dim=0).cumprod(dim=0).sum()
        copy_BT = index_T < shared_B[:, None]
        own_BT = real_BT & ~copy_BT
        tokens_BT = torch.zeros_like(ids_BT)
        tokens_BT[own_BT] = torch.arange(int(own_BT.sum()), device=ids_BT.device)
        tokens_BT = torch.where(copy_BT, tokens_BT[first_B], tokens_BT)
        return cls(own_BT.flatten().nonzero()[:, 0], tokens_BT, copy_BT.flatten().nonzero()[:, 0])

    def spread(self, x_N: Tensor) -> Tensor:
        """Tokens (N, ...) as padded rows (B, T, ...); what padding shows means nothing."""
        spread: Tensor = _Spread.apply(x_N, self.places_N, self.tokens_BT, self.copies_M)  # type: ignore[no-untyped-call]
        return spread

    def gather(self, x_BT: Tensor) -> Tensor:
        """The computed tokens (N, ...) of padded rows."""
        gathered: Tensor = _Gather.apply(x_BT, self.places_N)  # type: ignore[no-untyped-call]
        return gathered


def hidden_states(
    base: Any, layers: Sequence[Any], norm: Any, batch: TokenBatch, start_BTE: Tensor | None = None
) -> Tensor:
    """Hidden states after ``layers`` and ``norm``, as padded rows (B, T, E).

    Args:
        base: the transformer, for its embedding and rotary embedding.
        layers: its layers, or a run of them.
        norm: the norm at the end; an identity for a frozen trunk.
        batch: rows padded on the right.
        start_BTE: hidden states that the first of the layers begins with; None: the embeddings.
    """
    layout = Layout.of(batch)
    ids_N = batch.input_ids_BT.flatten()[layout.places_N]
    x_NE = base.embed_tokens(ids_N) if start_BTE is None else layout.gather(start_BTE)
    positions_N = layout.places_N % batch.input_ids_BT.shape[1]
    cos_1ND, sin_1ND = base.rotary_emb(x_NE, positions_N[None])
    cos_N1D, sin_N1D = cos_1ND[0, :, None], sin_1ND[0, :, None].clone()
    sin_N1D[..., : sin_N1D.shape[-1] // 2] *= -1
    recompute = base.training and torch.is_grad_enabled()  # train mode says: save memory
    for layer in layers:
        if recompute:
            x_NE = checkpoint(_layer, layer, x_NE, layout, cos_N1D, sin_N1D, use_reentrant=False)
        else:
            x_NE = _layer(layer, x_NE, layout, cos_N1D, sin_N1D)
    return layout.spread(_norm(norm, x_NE))


def _layer(layer: Any, x_NE: Tensor, layout: Layout, cos_N1D: Tensor, sin_N1D: Tensor) -> Tensor:
    attention, mlp = layer.self_attn, layer.mlp
    y_NE = _norm(layer.input_layernorm, x_NE)
    q_NHD, k_NGD, v_NGD = (
        torch.unflatten(project(y_NE), -1, (-1, attention.head_dim))
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    norms = attention._modules
    if "q_norm" in norms:  # Qwen3 normalises every query and key head
        q_NHD, k_NGD = _norm(norms["q_norm"], q_NHD), _norm(norms["k_norm"], k_NGD)
    q_NHD = _Rotate.apply(q_NHD, cos_N1D, sin_N1D)  # type: ignore[no-untyped-call]
    k_NGD = _Rotate.apply(k_NGD, cos_N1D, sin_N1D)  # type: ignore[no-untyped-call]
    q, k, v = (layout.spread(x).transpose(1, 2) for x in (q_NHD, k_NGD, v_NGD))
    mixed_BHTD = F.scaled_dot_product_attention(  # causal: padding on the right is never seen
        q,
        k,
        v,
        is_causal=True,
        scale=attention.scaling,
        enable_gqa=True,
    )
    x_NE = x_NE + attention.o_proj(layout.gather(mixed_BHTD.transpose(1, 2).flatten(2)))
    y_NE = _norm(layer.post_attention_layernorm, x_NE)
    product: Tensor = _SwiGLU.apply(mlp.gate_proj(y_NE), mlp.up_proj(y_NE))  # type: ignore[no-untyped-call]
    down_NE: Tensor = mlp.down_proj(product)
    return x_NE + down_NE


def _norm(norm: Any, x: Tensor) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x
    normed: Tensor = _RMSNorm.apply(x, norm.weight, norm.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed


class _Spread(torch.autograd.Function):
    """Tokens to rows; gradients of a token's copies add up."""

    @staticmethod
    def forward(
        ctx: Any, x_N: Tensor, places_N: Tensor, tokens_BT: Tensor, copies_M: Tensor
    ) -> Tensor:
        ctx.save_for_backward(places_N, tokens_BT, copies_M)
        return x_N[tokens_BT]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        places_N, tokens_BT, copies_M = ctx.saved_tensors
        flat = grads[0].flatten(0, 1)
        grad_N = flat[places_N]
        if len(copies_M):
            grad_N.index_add_(0, tokens_BT.flatten()[copies_M], flat[copies_M])
        return grad_N, None, None, None


class _Gather(torch.autograd.Function):
    """Rows to tokens; no token is taken twice, so the gradient is put, not added."""

    @staticmethod
    def forward(ctx: Any, x_BT: Tensor, places_N: Tensor) -> Tensor:
        ctx.save_for_backward(places_N)
        ctx.shape = x_BT.shape
        return x_BT.flatten(0, 1)[places_N]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (places_N,) = ctx.saved_tensors
        grad = grads[0].new_zeros(ctx.shape)
        grad.flatten(0, 1)[places_N] = grads[0]
        return grad, None


class _Rotate(torch.autograd.Function):
    """Rotary embedding of heads; its gradient is the rotation back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return (x * cos).addcmul_(_swapped(x), sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return (grads[0] * cos).addcmul_(_swapped(grads[0]), sin, value=-1), None, None


def _swapped(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat((x[..., half:], x[..., :half]), dim=-1)


class _RMSNorm(torch.autograd.Function):
    """RMSNorm that keeps one tensor of the input's size, in float32 as the models have it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        scale = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        normed = wide * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed.to(x.dtype) * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        normed, scale, weight = ctx.saved_tensors
        grad = grads[0].to(normed.dtype)
        down = grad * weight
        along = (down * normed).mean(-1, keepdim=True)
        x_grad = down.addcmul_(normed, along, value=-1).mul_(scale).to(grads[0].dtype)
        weight_grad = None
        if ctx.needs_input_grad[1]:
            weight_grad = (grad * normed).flatten(0, -2).sum(0).to(weight.dtype)
        return x_grad, weight_grad, None


class _SwiGLU(torch.autograd.Function):
    """silu(gate) x up, keeping the two alone."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        grad_up = F.silu(gate).mul_(grads[0])
        grad_gate: Tensor = torch.ops.aten.silu_backward(grads[0] * up, gate)
        return grad_gate, grad_up
