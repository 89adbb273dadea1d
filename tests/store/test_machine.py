"""The rules of assignment, tried by chance in any order, on both databases, and in threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import assign, columns, events, judgments, schema, work
from accord.store.assign import next_assignment, prefetch, release, skip
from accord.store.database import Store, StoreError
from accord.store.judgments import submit, undo
from accord.store.settings import RoundSettings
from tests.store.fill import item, make_round, rater

LEASE = 60
SETTINGS = RoundSettings(
    overlap=1,
    calibration_share=0.4,
    calibration_overlap=2,
    gold_share=0.2,
    anchor_share=0.2,
    attention_share=0,
    batch_size=5,
    lease_seconds=LEASE,
)
WHO = st.integers(0, 2)
WHICH = st.integers(0, 99)
OUTCOME = st.sampled_from([("a", 1), ("b", 4), ("tie", None), ("cannot_compare", None)])


class Clock:
    """Time that moves only when told, and the ids of a seed: a run can be repeated exactly."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.moment, self.random = 1_000_000.0, Random(0)

    def __call__(self) -> float:
        self.moment += 0.001
        return self.moment

    def token_hex(self, num: int) -> str:
        return self.random.randbytes(num).hex()


class Machine(RuleBasedStateMachine):
    """Three raters at one round of a few items; the oracle is bookkeeping in plain Python.

    Ids decide who gets what, and Hypothesis refuses a test that goes another way when it is
    repeated: each machine starts with an empty store and the same ids.
    """

    def __init__(self, store: Store, clock: Clock):
        super().__init__()
        self.store, self.clock, self.keys = store, clock, count()
        clock.restart()
        store.write(empty)
        self.raters = [rater(store) for _ in range(3)]
        new = [item(f"n{i}", priority=float(i % 2)) for i in range(6)]
        new += [item(f"g{i}", role="gold", answer={"best": 0}) for i in range(2)]
        new += [item(f"a{i}", role="anchor") for i in range(2)]
        self.round = make_round(store, new, SETTINGS).id
        self.given: dict[str, assign.Assignment] = {}
        self.said: dict[str, dict[str, Any]] = {}  # the judgments that should stand
        self.order: dict[str, list[str]] = {name: [] for name in self.raters}

    def key(self) -> str:
        return f"{self.round}-{next(self.keys)}"

    def state(self, name: str) -> str:
        query = sa.select(schema.assignments.c.state).where(schema.assignments.c.id == name)
        with self.store.read() as conn:
            return str(conn.scalar(query))

    def pick(self, who: str, which: int, *states: str) -> str | None:
        mine = [n for n, a in self.given.items() if a.rater_id == who and self.state(n) in states]
        return mine[which % len(mine)] if mine else None

    def free_for(self, who: str) -> set[str]:
        """Ordinary items with a free place that this rater never had."""
        table, given = schema.items.c, schema.assignments.c
        live = sa.select(sa.func.count()).where(
            given.item_id == table.id,
            sa.or_(
                given.state == "done",
                sa.and_(given.state == "open", given.lease_expires >= self.clock.moment),
            ),
        )
        query = sa.select(table.id).where(
            table.round_id == self.round,
            table.role == "normal",
            live.scalar_subquery() < table.needed,
        )
        had = {a.item_id for a in self.given.values() if a.rater_id == who}
        with self.store.read() as conn:
            return set(conn.scalars(query)) - had

    @rule(who=WHO, hold=st.booleans())
    def next(self, who: int, hold: bool) -> None:
        name = self.raters[who]
        held = [n for n, a in self.given.items() if a.rater_id == name] if hold else []
        free = self.free_for(name)
        found = next_assignment(self.store, name, self.round, exclude=held)
        if found is None:
            assert not free
            return
        assert found.rater_id == name
        assert found.id not in held
        before = self.given.get(found.id)
        if before is None:
            had = [a.item_id for a in self.given.values() if a.rater_id == name]
            assert found.reason == "anchor" or found.item_id not in had
        else:
            assert before.permutation == found.permutation  # sides stay where they were
            assert found.id not in self.said
        self.given[found.id] = found

    @rule(who=WHO, n=st.integers(1, 4))
    def prefetch(self, who: int, n: int) -> None:
        found = prefetch(self.store, self.raters[who], n, self.round)
        assert len({a.id for a in found}) == len(found) <= n
        self.given.update({a.id: a for a in found})

    @rule(who=WHO, which=WHICH, outcome=OUTCOME)
    def judge(self, who: int, which: int, outcome: tuple[str, int | None]) -> None:
        """An open task, one that is done (a change), or one whose lease has ended."""
        name = self.raters[who]
        chosen = self.pick(name, which, "open", "expired", "done")
        if chosen is None or chosen in self.said:
            self.next(who, hold=False)
            chosen = self.pick(name, which, "open") or chosen
        if chosen is None:
            return
        key, body = self.key(), {"outcome": outcome[0], "strength": outcome[1]}
        first = submit(self.store, name, chosen, body, key)
        again = submit(self.store, name, chosen, body, key)
        assert (first.new, again.new) == (True, False)
        assert (first.body, first.revision) == (again.body, again.revision)
        if chosen not in self.said:
            self.order[name] = [n for n in self.order[name] if n != chosen] + [chosen]
        self.said[chosen] = first.body

    @rule(who=WHO, which=WHICH, reason=st.sampled_from(["later", "too hard"]))
    def skip(self, who: int, which: int, reason: str) -> None:
        name = self.raters[who]
        if (chosen := self.pick(name, which, "open")) is not None:
            key = self.key()
            skip(self.store, name, chosen, reason, key)
            skip(self.store, name, chosen, reason, key)
            self.order[name] = [n for n in self.order[name] if n != chosen] + [chosen]

    @rule(who=WHO, which=WHICH)
    def release(self, who: int, which: int) -> None:
        if (chosen := self.pick(self.raters[who], which, "open")) is not None:
            release(self.store, self.raters[who], chosen)

    @precondition(lambda self: any(self.order.values()))
    @rule(who=WHO)
    def undo(self, who: int) -> None:
        name, key = self.raters[who], self.key()
        standing = [n for n in self.order[name] if self.state(n) in ("done", "skipped")]
        if not standing:
            with pytest.raises(DataError, match="nothing to take back"):
                undo(self.store, name, key)
            return
        last = standing[-1]
        found = undo(self.store, name, key)
        assert undo(self.store, name, key).id == found.id == last
        assert self.state(last) == "open"
        if last in self.said:
            assert found.draft == self.said.pop(last)

    @precondition(lambda self: self.given)
    @rule(seconds=st.sampled_from([1, LEASE // 2, LEASE + 1]))
    def wait(self, seconds: int) -> None:
        self.clock.moment += seconds

    @rule(who=WHO, which=WHICH)
    def others_cannot_touch_it(self, who: int, which: int) -> None:
        chosen = self.pick(self.raters[who], which, "open", "done")
        other = self.raters[(who + 1) % 3]
        if chosen is not None:
            with pytest.raises(DataError, match="no assignment"):
                submit(self.store, other, chosen, {"outcome": "tie"}, self.key())

    @invariant()
    def tables_agree(self) -> None:
        given, table = schema.assignments.c, schema.items.c
        with self.store.read() as conn:
            rows = conn.execute(
                sa.select(given.item_id, given.state).where(given.round_id == self.round)
            ).all()
            kept = {
                r.assignment_id: r.body
                for r in conn.execute(
                    sa.select(schema.judgments).where(schema.judgments.c.round_id == self.round)
                )
            }
            stored = conn.execute(sa.select(schema.items).where(table.round_id == self.round)).all()
            row = conn.execute(
                sa.select(schema.rounds).where(schema.rounds.c.id == self.round)
            ).one()
        assert kept == self.said
        states = Counter((r.item_id, r.state) for r in rows)
        judged = 0
        for one in stored:
            live, done = states[one.id, "open"], states[one.id, "done"]
            assert one.done == done
            if one.role == "normal":
                assert one.taken == live + done <= one.needed
                judged += done
        assert row.num_judgments == judged

    def teardown(self) -> None:
        assert replay(self.store, self.round) == self.said
        assert events.verify(self.store) == []


def empty(conn: Connection) -> None:
    """Delete every row."""
    for table in reversed(schema.accounts.metadata.sorted_tables):
        conn.execute(table.delete())


def replay(store: Store, round_id: str) -> dict[str, dict[str, Any]]:
    """The judgments that the log alone gives."""
    query = (
        sa.select(schema.events)
        .join(schema.assignments, schema.assignments.c.id == schema.events.c.assignment_id)
        .where(schema.assignments.c.round_id == round_id)
        .order_by(schema.events.c.id)
    )
    found: dict[str, dict[str, Any]] = {}
    with store.read() as conn:
        names = {row.assignment_id for row in conn.execute(query)}
    for name in names:
        for event in events.history(store, name):
            if event.kind == "judgment":
                found[name] = event.body["body"]
            elif event.kind == "undo":
                del found[name]
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """One clock for all that reads the time, one source of ids."""
    made = Clock()
    monkeypatch.setattr(columns, "secrets", made)
    for module in (assign, events, judgments, work):
        monkeypatch.setattr(module, "now", made)
    return made


def try_rules(store: Store, clock: Clock, examples: int) -> None:
    """Run the machine; what it finds is raised as it is, without a search for the shortest."""
    quiet = settings(
        max_examples=examples,
        derandomize=True,
        stateful_step_count=25,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run(lambda: Machine(store, clock), settings=quiet)


def test_the_rules_hold_in_any_order(store: Store, clock: Clock) -> None:
    try_rules(store, clock, examples=12 if store.path is not None else 5)


def nothing(*_: Any, **__: Any) -> None:
    """A step that was forgotten."""


@pytest.mark.parametrize(
    ("module", "name", "broken"),
    [
        (assign, "give_back", nothing),
        (judgments, "_count", nothing),
        (judgments, "_put_draft", nothing),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_planted_fault_breaks_a_rule(
    sqlite_store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    broken: Callable[..., Any],
) -> None:
    monkeypatch.setattr(module, name, broken)
    with pytest.raises((AssertionError, StoreError, sa.exc.IntegrityError, ExceptionGroup)):
        try_rules(sqlite_store, clock, examples=40)


def in_threads(number: int, act: Callable[[int], None]) -> None:
    """Run ``act(0)`` ... at the same time; what one raises is raised here."""
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(act, range(number)))


def test_raters_at_the_same_time_share_the_items(store: Store) -> None:
    """Twenty threads, 30 items with three raters each: every place is filled, none twice."""
    plain = {"gold_share": 0.0, "anchor_share": 0.0, "attention_share": 0.0}
    rules = RoundSettings(overlap=3, calibration_share=0, **plain)
    found = make_round(store, [item(f"n{i}") for i in range(30)], rules)
    raters = [rater(store) for _ in range(20)]

    def act(index: int) -> None:
        name = raters[index]
        while (task := next_assignment(store, name, found.id)) is not None:
            submit(store, name, task.id, {"outcome": "a", "strength": 1}, f"{task.id}-1")

    in_threads(20, act)
    with store.read() as conn:
        rows = conn.execute(
            sa.select(schema.judgments.c.item_id, schema.judgments.c.rater_id)
        ).all()
    assert len(rows) == len(set(rows)) == 90
    assert set(Counter(row.item_id for row in rows).values()) == {3}
    assert events.verify(store) == []


def test_one_key_from_many_threads_counts_once(store: Store) -> None:
    found = make_round(store, [item("n")])
    name = rater(store)
    task = next_assignment(store, name, found.id)
    assert task is not None
    answers = []

    def act(index: int) -> None:
        body = {"outcome": "a", "strength": 1}
        answers.append(submit(store, name, task.id, body, "the same").new)

    in_threads(8, act)
    assert sorted(answers) == [False] * 7 + [True]
    assert len(events.history(store, task.id)) == 1
