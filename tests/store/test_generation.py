"""The queue of answers: claimed once, grown without loss or doubling, given up in the end."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from accord.config.generators import Speech
from accord.store import generation, schema
from accord.store.database import Store, StoreError
from accord.store.generation import Claimed
from accord.store.schema import generations
from accord.store.transcript import Piece, clean, splice, texts
from accord.types import Completion, Message
from accord.web.lead_data import answers
from accord.web.lead_view import waits
from tests.store.fill import make_round, rules

ASK = (Message("user", "hello"),)


def ask(store: Store, purpose: generation.Purpose = "chat", **more: Any) -> str:
    return store.write(
        lambda conn: generation.request(conn, ASK, ["one", "two"], Speech(), purpose, **more)
    )


def claim(store: Store, worker: str = "w", n: int = 10, lease: float = 60.0) -> list[Claimed]:
    return store.write(lambda conn: generation.claim(conn, worker, n, lease))


def put(store: Store, *pieces: Piece, worker: str = "w") -> tuple[list[str], list[str]]:
    return store.write(lambda conn: generation.record(conn, worker, pieces, 60.0))


def fail(store: Store, name: str, *, again: bool = True, worker: str = "w") -> bool:
    return store.write(
        lambda conn: generation.fail(conn, worker, name, "it broke", again=again, max_attempts=3)
    )


def state(store: Store, name: str) -> str:
    with store.read() as conn:
        return generation.read_since(conn, name).state


def test_an_answer_from_the_request_to_its_completions(store: Store) -> None:
    name = ask(store)
    (taken,) = claim(store)
    assert (taken.id, taken.messages, taken.policies) == (name, ASK, ("one", "two"))
    assert (taken.texts, taken.open_slots, taken.attempts) == (("", ""), (0, 1), 1)
    assert claim(store) == []
    assert put(store, Piece(name, 0, "Hel"), Piece(name, 1, "Good")) == ([], [])
    assert put(store, Piece(name, 0, "lo"), Piece(name, 0, final=True, model="m1")) == ([], [])
    with store.read() as conn, pytest.raises(StoreError, match="not done"):
        generation.completions(conn, name)
    last = Piece(name, 1, " day", final=True, finished=False, model="m2")
    assert put(store, last) == ([name], [])
    with store.read() as conn:
        assert generation.completions(conn, name) == (
            Completion("Hello", "m1", True),
            Completion("Good day", "m2", False),
        )
        progress = generation.read_since(conn, name, 2)
    assert [chunk.seq for chunk in progress.chunks] == [3, 4, 5]
    assert (progress.state, progress.num_slots) == ("done", 2)


def test_those_who_wait_come_first(store: Store) -> None:
    later = ask(store, "pregenerate")
    first, second = ask(store), ask(store)
    assert [one.id for one in claim(store, n=2)] == [first, second]
    assert [one.id for one in claim(store)] == [later]


def test_a_claim_stops_where_enough_is_ready(store: Store) -> None:
    names = [ask(store, "pregenerate", extra={"ahead": 2}) for _ in range(4)]
    assert [one.id for one in claim(store)] == names[:2]
    assert claim(store) == []
    chat = ask(store)
    assert [one.id for one in claim(store)] == [chat]


def test_another_worker_goes_on_where_the_first_died(store: Store) -> None:
    name = ask(store)
    claim(store, "first", lease=-1.0)
    store.write(
        lambda conn: generation.record(
            conn, "first", [Piece(name, 0, "Hel"), Piece(name, 1, "all", final=True)], -1.0
        )
    )
    assert store.write(lambda conn: generation.expire(conn, 3)) == (1, [])
    (taken,) = claim(store, "second")
    assert (taken.texts, taken.open_slots, taken.attempts) == (("Hel", "all"), (0,), 2)
    dropped = put(store, Piece(name, 0, "XX"), worker="first")
    assert dropped == ([], [name])
    assert put(store, Piece(name, 0, "lo", final=True), worker="second") == ([name], [])
    with store.read() as conn:
        assert [c.text for c in generation.completions(conn, name)] == ["Hello", "all"]


def test_tries_have_a_limit_and_the_last_error_is_kept(store: Store) -> None:
    name = ask(store)
    for expected in (False, False, True):
        assert state(store, name) == "queued"
        claim(store)
        assert fail(store, name) is expected
    with store.read() as conn:
        progress = generation.read_since(conn, name)
    assert (progress.state, progress.error) == ("failed", "it broke (tried 3 times)")
    assert not fail(store, name)
    hopeless = ask(store)
    claim(store)
    assert fail(store, hopeless, again=False)


def test_a_worker_that_stops_in_good_order_costs_no_try(store: Store) -> None:
    name = ask(store)
    claim(store)
    put(store, Piece(name, 0, "Hel"))
    assert store.write(lambda conn: generation.release(conn, "w")) == 1
    (taken,) = claim(store)
    assert (taken.id, taken.attempts, taken.texts) == (name, 1, ("Hel", ""))


def test_leases_are_renewed_and_given_up_at_the_limit(store: Store) -> None:
    name = ask(store)
    claim(store, lease=-1.0)
    assert store.write(lambda conn: generation.renew(conn, "w", [name], 60.0)) == 1
    assert store.write(lambda conn: generation.renew(conn, "other", [name], 60.0)) == 0
    assert store.write(lambda conn: generation.expire(conn, 1)) == (0, [])
    store.write(lambda conn: generation.renew(conn, "w", [name], -1.0))
    assert store.write(lambda conn: generation.expire(conn, 1)) == (0, [name])
    assert state(store, name) == "failed"


def test_cancelled_is_not_claimed_and_takes_no_pieces(store: Store) -> None:
    name = ask(store)
    store.write(lambda conn: generation.cancel(conn, name))
    assert claim(store) == []
    other = ask(store)
    claim(store)
    store.write(lambda conn: generation.cancel(conn, other))
    assert put(store, Piece(other, 0, "x")) == ([], [other])


def test_what_cannot_be_asked(store: Store) -> None:
    def refused(match: str, messages: Any, policies: Any) -> None:
        with pytest.raises(StoreError, match=match):
            store.write(lambda conn: generation.request(conn, messages, policies, Speech(), "chat"))

    refused("no policy answers", ASK, [])
    refused("without messages", (), ["one"])
    with store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(generations)) == 0
        assert not generation.any_queued(conn)
        with pytest.raises(StoreError, match="no generation"):
            generation.read_since(conn, "nothing")


def test_a_claim_is_quick_in_a_long_queue(sqlite_store: Store) -> None:
    def fill(conn: sa.Connection) -> None:
        for _ in range(3000):
            generation.request(conn, ASK, ["one"], Speech(), "pregenerate", extra={"ahead": 1})

    sqlite_store.write(fill)
    urgent = ask(sqlite_store)
    began = time.perf_counter()
    assert [one.id for one in claim(sqlite_store, n=1)] == [urgent]
    assert time.perf_counter() - began < 0.5


def stored(pieces: list[tuple[int, str]], have: str = "") -> str:
    """Pieces spliced in, and the text that the stored chunks make."""
    chunks = []
    for seq, (start, text) in enumerate(pieces, 1):
        have, chunk, afresh = splice(have, start, text)
        if chunk:
            chunks.append(generation.Chunk(seq, 0, chunk, afresh, False))
    (made,) = texts(1, chunks)
    return made if made or not chunks else ""


ANSWER = "The sky is blue, they say."


def cuts() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(ANSWER)), max_size=8).map(sorted)


@given(cuts(), st.integers(0, len(ANSWER)), cuts())
def test_a_second_try_that_says_the_same_adds_only_what_is_missing(
    first: list[int], died_at: int, second: list[int]
) -> None:
    def pieces(places: list[int], end: int) -> list[tuple[int, str]]:
        edges = [0, *(place for place in places if place < end), end]
        return [(a, ANSWER[a:b]) for a, b in pairwise(edges)]

    tries = pieces(first, died_at) + pieces(second, len(ANSWER))
    assert stored(tries) == ANSWER
    have, afresh = "", False
    for start, text in tries:
        have, _, again = splice(have, start, text)
        afresh = afresh or again
    assert not afresh


@given(st.text(max_size=20), st.text(min_size=1, max_size=20), st.integers(1, 5))
def test_a_second_try_that_differs_replaces_the_first(old: str, new: str, size: int) -> None:
    old, new = clean(old), clean(new)
    pieces = [(0, old)] + [(i, new[i : i + size]) for i in range(0, len(new), size)]
    assert stored(pieces)[: len(new)] == new


def test_a_gap_is_noticed() -> None:
    with pytest.raises(StoreError, match="3 characters, next at 4"):
        splice("abc", 4, "e")


@given(st.text(alphabet=st.characters(), max_size=30))
def test_clean_text_can_be_stored_and_keeps_its_length(text: str) -> None:
    kept = clean(text)
    kept.encode()
    assert "\x00" not in kept
    assert len(kept) == len(text)
    assert clean(kept) == kept


def test_lone_surrogates_are_replaced_one_by_one() -> None:
    assert clean("a\ud800b\x00c\udc00") == "a\ufffdb\ufffdc\ufffd"


def test_how_long_people_wait_for_the_first_words(shared_store: Store) -> None:
    """Both answers must have something to show, and an empty chunk shows nothing."""
    found = make_round(shared_store, [], rules(policies=("m",)), task="chat")
    rows = [("a", 0.5, 2.0), ("b", 1.0, 1.0), ("c", 4.0, 0.5)]  # first words of the two slots

    def write(conn: Connection) -> None:
        for name, *slots in rows:
            row = {"purpose": "chat", "round_id": found.id, "state": "done", "created_at": 100.0}
            row |= {"messages": [], "policies": ["m", "m"], "params": {}, "results": []}
            conn.execute(schema.generations.insert().values(id=f"{found.id}{name}", **row))
            for slot, wait in enumerate(slots):
                for seq, (at, text) in enumerate([(0.1, ""), (wait, "Hi"), (9.0, " you")]):
                    conn.execute(
                        schema.generation_chunks.insert().values(
                            generation_id=f"{found.id}{name}", seq=3 * slot + seq + 1,
                            slot=slot, text=text, at=100.0 + at,
                        )
                    )  # fmt: skip

    shared_store.write(write)
    with shared_store.read() as conn:
        told = answers(conn, found)
    assert told.first_seconds == pytest.approx((2.0, 4.0))
    assert (told.num_timed, told.queued, told.running, told.failed) == (3, 0, 0, 0)
    assert ("First words after", "2.0 s; 95 %: 4.0 s") in waits(found, told)
