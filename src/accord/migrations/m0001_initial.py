"""The first schema, as in ``0001_initial.sql``."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

_SERIAL = {
    "sqlite": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
    "postgresql": "BIGSERIAL PRIMARY KEY",
}


def upgrade() -> None:
    """Make every table of an empty database."""
    connection = op.get_bind()
    text = Path(__file__).with_name("0001_initial.sql").read_text("utf-8")
    text = text.replace("{serial}", _SERIAL[connection.dialect.name])
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    for statement in "\n".join(lines).split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
