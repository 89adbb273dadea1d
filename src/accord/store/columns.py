"""What every table of the store is made of: ids, clocks, JSON as text, short column makers."""

from __future__ import annotations

import secrets
import time
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Column, Double, ForeignKey, Integer, String, Text
from sqlalchemy.types import TypeDecorator

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
BigSerial = sa.BigInteger().with_variant(Integer, "sqlite")


def new_id() -> str:
    """A random id of 16 hex characters."""
    return secrets.token_hex(8)


def now() -> float:
    """UTC seconds since 1970: the clock of every column."""
    return time.time()


class Json(TypeDecorator[Any]):
    """JSON kept as text: the same bytes on every database, and NUL is escaped (Postgres has none).

    Raises:
        TypeError: at the statement, if the value is not JSON (NaN becomes null).
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Python value to text; None stays SQL NULL."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Text to Python value."""
        return None if value is None else orjson.loads(value)


def id_column(name: str = "id") -> Column[str]:
    """The primary key: a random id, or one that means something."""
    return Column(name, String(32), primary_key=True)


def to_column(name: str, target: str, *, null: bool = False, index: bool = False) -> Column[str]:
    """A foreign key on the ``id`` of another table."""
    return Column(name, String(32), ForeignKey(f"{target}.id"), nullable=null, index=index)


def text_column(name: str, default: str = "") -> Column[str]:
    """Text of any length, never NULL."""
    return Column(name, Text, nullable=False, default=default)


def at_column(name: str) -> Column[float]:
    """A moment, the present one unless told."""
    return Column(name, Double, nullable=False, default=now)


def count_column(name: str, default: int = 0) -> Column[int]:
    """A whole number, never NULL."""
    return Column(name, Integer, nullable=False, default=default)


def json_column(name: str, *, null: bool = False) -> Column[Any]:
    """JSON; ``{}`` unless told, or NULL where that is allowed."""
    return Column(name, Json, nullable=null, default=None if null else dict)
