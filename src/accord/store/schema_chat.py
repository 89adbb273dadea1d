"""The tables of what models write: conversations, their turns, and the queue of generations."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Integer, String, Table

from accord.store.columns import (
    at_column,
    count_column,
    id_column,
    json_column,
    metadata,
    text_column,
    to_column,
)

conversations = Table(
    "conversations",
    metadata,
    id_column(),
    to_column("round_id", "rounds"),
    to_column("rater_id", "accounts"),
    to_column("item_id", "items", null=True),  # a prompt to start from
    Column("state", String(16), nullable=False, default="open"),  # open | done | abandoned
    at_column("created_at"),
    Index(None, "rater_id", "round_id", "state"),
)

turns = Table(
    "turns",
    metadata,
    id_column(),
    Column("conversation_id", String(32), ForeignKey("conversations.id"), nullable=False),
    Column("position", Integer, nullable=False),  # from 0
    text_column("text"),  # what the rater wrote
    Column("state", String(16), nullable=False, default="waiting"),  # ready | chosen | failed
    to_column("generation_id", "generations", null=True, index=True),
    to_column("assignment_id", "assignments", null=True),  # the judgment about its two answers
    json_column("responses", null=True),  # [{"text", "model", "finished"}] in canonical order
    Column("continued", Integer),  # index of the response the conversation goes on with
    at_column("created_at"),
    Column("chosen_at", Double),
    sa.UniqueConstraint("conversation_id", "position"),
)

generations = Table(
    "generations",
    metadata,
    id_column(),
    Column("purpose", String(16), nullable=False),  # chat | pregenerate | draft
    to_column("round_id", "rounds", null=True),
    json_column("messages"),
    json_column("policies"),  # one per slot
    json_column("params"),
    Column("state", String(16), nullable=False, default="queued"),  # running | done | failed
    Column("priority", Double, nullable=False, default=0.0),  # highest first
    Column("worker", String(80)),
    Column("lease_expires", Double),
    count_column("attempts"),
    json_column("results", null=True),  # [{"text", "finished", "latency_seconds"}] once done
    text_column("error"),
    at_column("created_at"),
    Column("started_at", Double),
    Column("finished_at", Double),
    Index("ix_generations_queue", "state", "priority", "created_at"),
    Index(None, "round_id", "purpose", "state"),
)

generation_chunks = Table(
    "generation_chunks",
    metadata,
    Column("generation_id", String(32), ForeignKey("generations.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),  # from 1
    Column("slot", Integer, nullable=False),
    text_column("text"),
    Column("final", Boolean, nullable=False, default=False),
    Column("finished_reason", String(40)),
    at_column("at"),
)
