"""Decoding for people who wait: answers join, speak token by token and leave at any time.

The decoding itself is the sampler's (:mod:`accord.engine.sampler`); what differs is that there is
no list of prompts to get through but a table at which rows come and go.

Shapes: B rows decoded together, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from accord.engine.decoder import LlamaDecoder, supports
from accord.engine.protocols import SamplingParams
from accord.engine.sampler import DecodeBatch, HuggingFaceBatch, draw
from accord.errors import ModelError
from accord.models.load import Policy
from accord.rng import uniform


@dataclass
class Row:
    """An answer under way.

    Attributes:
        name: whose it is.
        params: how it is drawn; ``max_tokens`` is its limit.
        tokens: ids so far, the stop token left out.
        finished: the model ended it.
        done: nothing follows.
    """

    name: str
    params: SamplingParams
    uniforms: np.ndarray
    tokens: list[int] = field(default_factory=list)
    finished: bool = False
    done: bool = False

    def take(self, token: int, stop_ids: frozenset[int]) -> None:
        """Say a token."""
        self.finished = token in stop_ids
        if not self.finished:
            self.tokens.append(token)
        self.done = self.finished or len(self.tokens) == len(self.uniforms)


@dataclass
class _Table:
    """Rows decoded together, and what each is to say or has just said."""

    batch: DecodeBatch
    rows: list[Row]
    logits_BV: Tensor
    said_B: Tensor | None = None


class StreamingSampler:
    """One policy speaking in several answers together.

    A row's draws are those of its ``seed`` and ``key`` whoever sits beside it, so an answer that
    was broken off can be said again.

    Args:
        policy: its weights do not change while this lives.
        slots: answers under way together.
        capacity: tokens of prompt and answer together.
    """

    def __init__(self, policy: Policy, slots: int, capacity: int) -> None:
        self._policy, self._slots, self._capacity = policy, slots, capacity
        model = policy.network.model
        decoder = LlamaDecoder(model) if supports(model) else None
        self._decoder = decoder if decoder is not None and decoder.ready() else None
        self._tables: list[_Table] = []
        self._waiting: list[tuple[Sequence[int], Row]] = []

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._tables and not self._waiting

    def add(self, name: str, prompt: Sequence[int], params: SamplingParams) -> Row:
        """Let an answer join at the next step.

        Raises:
            ModelError: there is no room for the prompt and an answer of ``params.max_tokens``.
        """
        if not prompt or len(prompt) + params.max_tokens > self._capacity:
            raise ModelError(
                f"a prompt of {len(prompt)} tokens and an answer of {params.max_tokens} do not fit "
                f"into {self._capacity} tokens; raise model.max_tokens or ask for shorter answers"
            )
        size = params.max_tokens
        row = Row(name, params, uniform(params.seed, "stream", *params.key, size=size))
        self._waiting.append((list(prompt), row))
        return row

    def remove(self, name: str) -> None:
        """Break an answer off."""
        self._waiting = [item for item in self._waiting if item[1].name != name]
        for row in (row for table in self._tables for row in table.rows if row.name == name):
            row.done = True

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One more token for every row at the table; returns these rows."""
        for table in self._tables:
            self._advance(table)
        self._tables = [table for table in self._tables if table.rows or self._decoder]
        self._admit()
        spoken: list[Row] = []
        for table in self._tables:
            spoken += self._speak(table)
        if not any(table.rows for table in self._tables):
            self._tables = []  # gives the cache back
        return spoken

    def _advance(self, table: _Table) -> None:
        """Drop rows that are done; logits of what follows the tokens just said by the others."""
        alive = [i for i, row in enumerate(table.rows) if not row.done]
        if len(alive) < len(table.rows):
            table.batch.keep(alive)
            table.rows = [table.rows[i] for i in alive]
        if table.rows and table.said_B is not None:
            table.logits_BV = table.batch.step(table.said_B[alive])

    def _admit(self) -> None:
        free = self._slots - sum(len(table.rows) for table in self._tables)
        joining, self._waiting = self._waiting[:free], self._waiting[free:]
        if not joining:
            return
        prompts, rows = [prompt for prompt, _ in joining], [row for _, row in joining]
        if self._decoder is None:  # Hugging Face's cache takes no late-comers: a table of their own
            batch: DecodeBatch = HuggingFaceBatch(self._policy)
            self._tables.append(_Table(batch, rows, batch.join(prompts, 1)))
            return
        if not self._tables:
            batch = self._decoder.open(self._slots, self._capacity)
            self._tables.append(_Table(batch, [], torch.empty(0)))
        table = self._tables[0]
        new_BV = table.batch.join(prompts, 1)
        table.logits_BV = torch.cat([table.logits_BV, new_BV]) if table.rows else new_BV
        table.rows += rows

    def _speak(self, table: _Table) -> list[Row]:
        """Draw each row's next token; rows drawn alike are drawn together."""
        said_B = torch.zeros(len(table.rows), dtype=torch.int64, device=table.logits_BV.device)
        alike: dict[SamplingParams, list[int]] = {}
        for i, row in enumerate(table.rows):
            key = replace(row.params, seed=0, key=(), max_tokens=1)
            alike.setdefault(key, []).append(i)
        for params, places in alike.items():
            u_B = torch.tensor(
                [table.rows[i].uniforms[len(table.rows[i].tokens)] for i in places]
            ).float()
            logits_BV = table.logits_BV[places]
            said_B[places], _ = draw(logits_BV, u_B.to(logits_BV.device), params)
        for row, token in zip(table.rows, said_B.tolist(), strict=True):
            row.take(token, self._policy.stop_ids)
        table.said_B = said_B
        return list(table.rows)
