"""Which item a rater gets: by priority with a random floor, and checks from a ring.

A rater's place in the order is kept (``round_raters.state``), because items that they did and that
still wait for others would otherwise be passed over again at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store.draws import number, uniform
from accord.store.records import Round
from accord.store.schema import assignments, items, round_raters
from accord.store.settings import RoundSettings

FIRST_LOOK = 8
"""Items looked at from the top of the order, where something urgent may have come in."""
LONG_LIST = 1000
"""Draws after which a search through all that a rater had takes a while (1 ms a thousand)."""
QUIET_SECONDS = 5.0
"""After such a search in vain, the next one waits so long."""


def _had(item: sa.ColumnElement[str]) -> sa.Exists:
    """Whether the rater had an item already."""
    return sa.exists().where(
        assignments.c.item_id == item, assignments.c.rater_id == sa.bindparam("rater")
    )


# Statements of the hot path are built once: making one costs more than running it.
_open = sa.and_(
    items.c.round_id == sa.bindparam("round"),
    items.c.role == "normal",
    items.c.taken < items.c.needed,
)
_order_by = (items.c.priority.desc(), items.c.shuffle, items.c.id)
_key = sa.tuple_(items.c.shuffle, items.c.id)
_after = _key > sa.tuple_(sa.bindparam("shuffle"), sa.bindparam("name"))
_at_level = items.c.priority == sa.bindparam("level")
_columns = (items.c.id, items.c.priority, items.c.shuffle)
_ALL = sa.select(*_columns).where(_open, ~_had(items.c.id)).order_by(*_order_by).limit(1)
_LEVEL = _ALL.where(_at_level, _after)
_BELOW = _ALL.where(items.c.priority < sa.bindparam("level"))
_top = sa.select(*_columns).where(_open).order_by(*_order_by).limit(FIRST_LOOK).subquery()
_TOP = (
    sa.select(_top)
    .where(~_had(_top.c.id))
    .order_by(_top.c.priority.desc(), _top.c.shuffle, _top.c.id)
    .limit(1)
)
_HIGHEST = sa.select(items.c.priority).where(_open).order_by(*_order_by).limit(1)
_LOWEST = (
    sa.select(items.c.priority)
    .where(_open)
    .order_by(items.c.priority, items.c.shuffle.desc(), items.c.id.desc())
    .limit(1)
)
_near = (
    sa.select(items.c.id, items.c.shuffle)
    .where(_open, items.c.shuffle >= sa.bindparam("start"))
    .order_by(items.c.shuffle, items.c.id)
    .limit(FIRST_LOOK)
    .subquery()
)
_ANYWHERE = sa.select(_near.c.id).where(~_had(_near.c.id)).order_by(_near.c.shuffle).limit(1)
_RING = (
    sa.select(items.c.id, items.c.shuffle)
    .where(
        items.c.round_id == sa.bindparam("round"),
        items.c.role == sa.bindparam("role"),
        ~sa.exists().where(
            assignments.c.item_id == items.c.id,
            assignments.c.rater_id == sa.bindparam("rater"),
            assignments.c.repeat == sa.bindparam("repeat"),
        ),
    )
    .order_by(items.c.shuffle, items.c.id)
    .limit(1)
)
_RING_ON = _RING.where(_after)
_SAVE = (
    round_raters.update()
    .where(
        round_raters.c.round_id == sa.bindparam("round"),
        round_raters.c.rater_id == sa.bindparam("rater"),
    )
    .values(num_drawn=sa.bindparam("drawn"), state=sa.bindparam("kept"))
)


@dataclass
class Desk:
    """A rater at work in a round, for the length of one transaction.

    ``state`` is what the draws remember: places in the orders and training results.
    """

    conn: Connection
    round: Round
    rater: str
    role: str
    num_drawn: int
    state: dict[str, Any]
    now: float
    open_training: int = 0

    def __post_init__(self) -> None:
        self._before = (self.num_drawn, repr(self.state))

    @property
    def lease_end(self) -> float:
        """When a task leased now is taken back."""
        return self.now + self.round.settings.lease_seconds

    def save(self) -> None:
        """Write what changed."""
        if (self.num_drawn, repr(self.state)) == self._before:
            return
        here = {"round": self.round.id, "rater": self.rater}
        self.conn.execute(_SAVE, {**here, "drawn": self.num_drawn, "kept": self.state})


@dataclass(frozen=True, slots=True)
class Chosen:
    """An ordinary item and why it was taken: ``random`` or ``priority``."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Training:
    """The training answers that count: the last ``training_items``, so a bad start can be mended.

    ``seconds`` is the median of their active time; None where it was not recorded.
    """

    num: int
    right: int
    enough: bool
    seconds: float | None
    too_fast: bool

    @property
    def passed(self) -> bool:
        """Whether they open the real items."""
        return self.enough and not self.too_fast


def trained(settings: RoundSettings, state: Mapping[str, Any]) -> Training:
    """What a rater's training says; ``state`` has results (1 right, 0 wrong) and times in ms."""
    wanted = settings.training_items
    results = state.get("results", [])[-wanted:] if wanted else []
    times = state.get("times", [])[-wanted:] if wanted else []
    known = [time for time in times if time]
    seconds = median(known) / 1000 if known else None
    num, right = len(results), sum(results)
    # A quotient, not a product: 0.55 * 20 is more than 11, while 11 / 20 is 0.55.
    enough = not wanted or (num >= wanted and right / wanted >= settings.training_pass)
    fast = num >= wanted > 0 and seconds is not None and seconds < settings.training_seconds
    return Training(num, right, enough, seconds, fast)


def training_item(desk: Desk) -> str | None:
    """A training item for a rater who has not passed; None while enough of them are out."""
    done = len(desk.state.get("results", []))
    missing = max(1, desk.round.settings.training_items - done)
    if desk.open_training >= missing:
        return None
    return check_item(desk, "training", desk.state.get("attempt", 0))


def check_item(desk: Desk, role: str, repeat: int = 0) -> str | None:
    """The next item of a role on the rater's way round; None once all were seen this time.

    Args:
        desk: who asks.
        role: `gold`, `attention`, `anchor` or `training`.
        repeat: anchors: the number of the batch; each returns once in each. Training: the number
            of times that a lead let the rater train again.
    """
    start = number(desk.round.settings.seed, "ring", role, desk.rater) >> 33
    place = desk.state.get(role, [start, ""])
    here = {"round": desk.round.id, "role": role, "rater": desk.rater, "repeat": repeat}
    row = desk.conn.execute(_RING_ON, {**here, "shuffle": place[0], "name": place[1]}).one_or_none()
    if row is None:
        row = desk.conn.execute(_RING, here).one_or_none()
    if row is None:
        return None
    desk.state[role] = [row.shuffle, row.id]
    return str(row.id)


def ordinary_item(desk: Desk) -> Chosen | None:
    """The most urgent item that still needs raters and that this one never had.

    ``random_floor`` of the draws do not look at the priority, where there are several.
    """
    settings = desk.round.settings
    names = (settings.seed, "floor", desk.round.id, desk.rater, desk.num_drawn)
    free = uniform(*names) < settings.random_floor and _priorities_differ(desk)
    item = _anywhere(desk, number(*names, "place") >> 33) if free else None
    if item is not None:
        return Chosen(item, "random")
    row = _by_priority(desk)
    if row is None:
        return None
    return Chosen(row.id, "priority" if row.priority else "random")


def _priorities_differ(desk: Desk) -> bool:
    here = {"round": desk.round.id}
    highest = desk.conn.scalar(_HIGHEST, here)
    return highest is not None and highest != desk.conn.scalar(_LOWEST, here)


def _anywhere(desk: Desk, start: int) -> str | None:
    """An item from a random place of the seeded order."""
    here = {"round": desk.round.id, "rater": desk.rater, "start": start}
    return desk.conn.scalar(_ANYWHERE, here)


def _by_priority(desk: Desk) -> Any:
    place = desk.state.get("place")
    row = _first(desk, _TOP)
    if row is None and place is not None:
        after = {"level": place[0], "shuffle": place[1], "name": place[2]}
        row = _first(desk, _LEVEL, **after) or _first(desk, _BELOW, level=place[0])
    if row is None and desk.now >= desk.state.get("quiet_until", 0.0):
        row = _first(desk, _ALL)
        if row is None and desk.num_drawn > LONG_LIST:
            desk.state["quiet_until"] = desk.now + QUIET_SECONDS
    if row is not None:
        found = [row.priority, row.shuffle, row.id]
        # All before it is full or was this rater's, so the next search starts here.
        if place is None or _order(found) > _order(place):
            desk.state["place"] = found
    return row


def _first(desk: Desk, query: sa.Select[Any], **more: Any) -> Any:
    here = {"round": desk.round.id, "rater": desk.rater, **more}
    return desk.conn.execute(query, here).one_or_none()


def _order(place: list[Any]) -> tuple[Any, ...]:
    return (-place[0], place[1], place[2])
