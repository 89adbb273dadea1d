"""The studio's tables: one append-only log of events, and the current state projected from it.

Portable between SQLite and PostgreSQL. Conventions, all through: ids are short random hex
(``columns.new_id``), people are named by ``accounts.id`` (``rater-<8 hex>``) and by nothing else,
moments are UTC seconds since 1970 as a float, JSON is stored as text exactly as it was written.

Two projections can be rebuilt from the log, and ``events.verify`` does: ``judgments`` and
``chains``. An event of kind ``judgment`` carries ``{"assignment", "item", "permutation",
"guideline", "body"}``, by slot as the rater saw it; one of kind ``undo`` carries ``{"assignment"}``
and removes the row.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Integer, String, Table, Text

from accord.store.columns import (
    BigSerial,
    at_column,
    count_column,
    id_column,
    json_column,
    metadata,
    text_column,
    to_column,
)
from accord.store.schema_chat import conversations as conversations
from accord.store.schema_chat import generation_chunks as generation_chunks
from accord.store.schema_chat import generations as generations
from accord.store.schema_chat import turns as turns

INSTALLATION = "installation"
"""The chain of events that belong to no project: accounts, invitations, backups."""

# ---- people
accounts = Table(
    "accounts",
    metadata,
    id_column(),  # rater-<8 hex>: the id in assignments, events and exports
    text_column("name"),  # personal: shown and typed at login; replaced when the account is erased
    Column("name_key", String(200), nullable=False, unique=True),  # casefolded name
    text_column("contact"),  # personal
    Column("role", String(16), nullable=False),
    Column("status", String(16), nullable=False, default="active"),
    Column("password_hash", Text),
    Column("shred_key", String(64)),  # salt of the commitments in the log; forgotten by erasure
    json_column("settings"),  # the rater's own: key map, theme
    at_column("created_at"),
    Column("erased_at", Double),
)

invites = Table(
    "invites",
    metadata,
    id_column(),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    text_column("name"),
    text_column("contact"),
    Column("created_by", String(32), nullable=False),
    at_column("created_at"),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
    Column("revoked_at", Double),
    to_column("account_id", "accounts", null=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    to_column("account_id", "accounts", index=True),
    Column("csrf", String(64), nullable=False),
    at_column("created_at"),
    at_column("seen_at"),
    Column("expires_at", Double, nullable=False, index=True),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    id_column(),
    Column("token_hash", String(64), nullable=False, unique=True),
    to_column("account_id", "accounts", index=True),
    text_column("name"),
    Column("role", String(16), nullable=False),  # what the token may do; never more than its owner
    at_column("created_at"),
    Column("used_at", Double),
    Column("expires_at", Double),
    Column("revoked_at", Double),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("id", BigSerial, primary_key=True, autoincrement=True),
    Column("name_hash", String(64), nullable=False),  # never the name: it may be a mistyped secret
    Column("address", String(64), nullable=False, default=""),
    at_column("at"),
    Column("succeeded", Boolean, nullable=False, default=False),
    Index(None, "name_hash", "at"),
    Index(None, "address", "at"),
    sqlite_autoincrement=True,
)

# ---- the log
chains = Table(
    "chains",
    metadata,
    Column("project_id", String(32), primary_key=True),  # or INSTALLATION
    count_column("seq"),  # events so far: cutting off the chain's end shows
    Column("head", String(64), nullable=False, default=""),  # hash of the last event
)

events = Table(
    "events",
    metadata,
    Column("id", BigSerial, primary_key=True, autoincrement=True),
    Column("project_id", String(32), ForeignKey("chains.project_id"), nullable=False),
    Column("seq", Integer, nullable=False),  # place in the project's chain, from 1
    Column("kind", String(40), nullable=False),
    Column("actor", String(32), nullable=False),  # accounts.id, or "system"
    Column("key", String(80)),  # idempotency key, one use per actor
    Column("assignment_id", String(32), index=True),  # body["assignment"]
    Column("body", Text, nullable=False),  # canonical JSON, the bytes that were hashed
    Column("at", Double, nullable=False),
    Column("hash", String(64), nullable=False),  # of the event before it and of this one
    sa.UniqueConstraint("project_id", "seq"),
    sa.UniqueConstraint("actor", "key"),
    sqlite_autoincrement=True,
)

# ---- projects, rounds, items
projects = Table(
    "projects",
    metadata,
    id_column(),
    Column("name", String(200), nullable=False, unique=True),
    count_column("guideline"),  # the newest version; 0: none yet
    json_column("settings"),
    Column("created_by", String(32), nullable=False),
    at_column("created_at"),
)

guidelines = Table(
    "guidelines",
    metadata,
    Column("project_id", String(32), ForeignKey("projects.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    text_column("text"),
    Column("created_by", String(32), nullable=False),
    at_column("created_at"),
)

guideline_acks = Table(
    "guideline_acks",
    metadata,
    Column("rater_id", String(32), ForeignKey("accounts.id"), primary_key=True),
    Column("project_id", String(32), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    at_column("at"),
    sa.ForeignKeyConstraint(
        ["project_id", "version"], ["guidelines.project_id", "guidelines.version"]
    ),
)

rounds = Table(
    "rounds",
    metadata,
    id_column(),
    to_column("project_id", "projects"),
    Column("name", String(200), nullable=False),
    Column("task", String(16), nullable=False),  # compare | rank | chat | demonstrate
    Column("purpose", String(16), nullable=False, default="train"),  # or head_to_head
    Column("state", String(16), nullable=False, default="draft", index=True),
    Column("guideline", Integer, nullable=False, default=0),
    json_column("schema"),
    json_column("settings"),
    Column("budget", Integer),  # judgments wanted; null: every item, as often as it needs
    count_column("num_items"),  # ordinary ones
    count_column("num_wanted"),  # judgments that the ordinary items need
    count_column("num_judgments"),  # judgments of ordinary items
    Column("created_by", String(32), nullable=False),
    at_column("created_at"),
    Column("opened_at", Double),
    Column("closed_at", Double),
    Column("frozen_at", Double),
    sa.UniqueConstraint("project_id", "name"),
)

items = Table(
    "items",
    metadata,
    id_column(),
    to_column("round_id", "rounds"),
    json_column("payload"),  # prompt and completions, in canonical order
    Column("role", String(16), nullable=False, default="normal"),
    json_column("answer", null=True),  # what a gold, attention or training item expects
    Column("calibration", Boolean, nullable=False, default=False),  # in the shared pool
    count_column("needed", 1),
    count_column("taken"),  # live assignments plus judgments
    count_column("done"),
    Column("escalated", Boolean, nullable=False, default=False),  # more raters were asked
    Column("priority", Double, nullable=False, default=0.0),
    count_column("shuffle"),  # seeded random order among equals
    Column("source", String(200), nullable=False, default=""),
    at_column("created_at"),
)
# The next-item query reads this from its start and stops at the first row: what is already
# full is not in it, so it shrinks as the round goes on.
Index(
    "ix_items_open",
    items.c.round_id,
    items.c.role,
    items.c.priority.desc(),
    items.c.shuffle,
    items.c.id,
    sqlite_where=items.c.taken < items.c.needed,
    postgresql_where=items.c.taken < items.c.needed,
)
# The random floor starts anywhere in the same set.
Index(
    "ix_items_random",
    items.c.round_id,
    items.c.role,
    items.c.shuffle,
    items.c.id,
    sqlite_where=items.c.taken < items.c.needed,
    postgresql_where=items.c.taken < items.c.needed,
)
Index("ix_items_order", items.c.round_id, items.c.role, items.c.shuffle, items.c.id)

round_raters = Table(
    "round_raters",
    metadata,
    Column("round_id", String(32), ForeignKey("rounds.id"), primary_key=True),
    Column("rater_id", String(32), ForeignKey("accounts.id"), primary_key=True),
    count_column("num_drawn"),  # the counter of the seeded draws
    count_column("num_done"),
    count_column("training_done"),
    count_column("training_right"),
    json_column("state"),  # what the draws remember: cursors into the item order
)

# ---- work
assignments = Table(
    "assignments",
    metadata,
    id_column(),
    to_column("round_id", "rounds"),
    to_column("item_id", "items"),
    to_column("rater_id", "accounts"),
    count_column("repeat"),  # 0; an anchor that is shown again to the same rater counts up
    Column("state", String(16), nullable=False, default="open"),
    Column("reason", String(16), nullable=False, default="random"),
    json_column("permutation"),  # slot s shows completions[permutation[s]]
    Column("guideline", Integer, nullable=False, default=0),
    Column("lease_expires", Double, nullable=False),
    at_column("created_at"),
    Column("finished_at", Double),
    Column("shown_at", Double),
    Column("both_complete_at", Double),
    Column("first_key_at", Double),
    Column("skip_reason", String(200)),
    sa.UniqueConstraint("item_id", "rater_id", "repeat"),
    Index(None, "round_id", "rater_id", "state", "reason"),  # counted at every judgment
    Index(None, "rater_id", "finished_at"),
)
Index(
    "ix_assignments_leased",
    assignments.c.round_id,
    assignments.c.lease_expires,
    sqlite_where=assignments.c.state == "open",
    postgresql_where=assignments.c.state == "open",
)

judgments = Table(
    "judgments",
    metadata,
    Column("assignment_id", String(32), ForeignKey("assignments.id"), primary_key=True),
    to_column("round_id", "rounds"),
    to_column("item_id", "items", index=True),
    to_column("rater_id", "accounts"),
    Column("event_id", BigSerial, ForeignKey("events.id"), nullable=False, unique=True),
    json_column("body"),  # as the rater saw it, by slot
    json_column("outcome"),  # by canonical index
    Column("guideline", Integer, nullable=False, default=0),
    count_column("revision"),  # 0 at first; how often the rater changed it
    count_column("active_ms"),
    at_column("at"),
    Index(None, "round_id", "at"),
    Index(None, "rater_id", "at"),
)

drafts = Table(
    "drafts",
    metadata,
    Column("assignment_id", String(32), ForeignKey("assignments.id"), primary_key=True),
    to_column("rater_id", "accounts"),
    json_column("body"),
    at_column("at"),
)

questions = Table(
    "questions",
    metadata,
    id_column(),
    to_column("round_id", "rounds"),
    to_column("item_id", "items", null=True),
    to_column("assignment_id", "assignments", null=True),
    to_column("rater_id", "accounts"),
    text_column("text"),
    at_column("at"),
    text_column("answer"),
    Column("answered_by", String(32)),
    Column("answered_at", Double),
    Index(None, "round_id", "at"),
)

adjudications = Table(
    "adjudications",
    metadata,
    id_column(),
    to_column("round_id", "rounds"),
    Column("item_id", String(32), ForeignKey("items.id"), nullable=False, unique=True),
    Column("state", String(16), nullable=False, default="open"),  # or resolved
    Column("reason", String(200), nullable=False, default=""),
    json_column("notes"),  # the discussion: [{"by", "at", "text"}]
    json_column("outcome", null=True),  # by canonical index
    Column("resolved_by", String(32)),
    Column("resolved_at", Double),
    at_column("created_at"),
    Index(None, "round_id", "state", "created_at"),
)

snapshots = Table(
    "snapshots",
    metadata,
    id_column(),
    to_column("round_id", "rounds", index=True),
    text_column("path"),
    Column("content_hash", String(80), nullable=False),
    Column("first_event", BigSerial, nullable=False),
    Column("last_event", BigSerial, nullable=False),
    json_column("settings"),
    Column("created_by", String(32), nullable=False),
    at_column("created_at"),
)
