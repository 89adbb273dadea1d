"""What a rater did in a round is counted in an index alone, however much it is."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

BEFORE = "ix_assignments_round_id_rater_id_state"


def upgrade() -> None:
    """Add the reason to the index."""
    op.drop_index(BEFORE, "assignments")
    columns = ["round_id", "rater_id", "state", "reason"]
    op.create_index(f"{BEFORE}_reason", "assignments", columns)
