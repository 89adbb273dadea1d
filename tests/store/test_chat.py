"""Conversations by hand: who may say what when, what is judged, what the model reads next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import chat, dialogue, events, generation, items, judgments, prepare, rounds
from accord.store.accounts import create_account
from accord.store.database import Store, StoreError
from accord.store.dialogue import Turn
from accord.store.records import NewItem, Round
from accord.store.schema import assignments, generations
from accord.store.task import RoundSettings, TaskSchema
from accord.store.transcript import Piece
from accord.types import Completion, Message, Prompt

Make = Callable[..., Round]


@pytest.fixture
def make(store: Store) -> Make:
    """An open chat round with one or two policies."""
    project = rounds.create_project(store, "p", "system")

    def build(
        policies: tuple[str, ...] = ("one", "two"), prompts: tuple[Prompt, ...] = (), **schema: Any
    ) -> Round:
        name = f"round {len(rounds.list_rounds(store))}"
        made = rounds.create_round(
            store,
            project.id,
            name,
            task="chat",
            actor="system",
            schema=TaskSchema(**schema),
            settings=RoundSettings(policies=policies),
        )
        items.add_items(store, made.id, [NewItem(prompt) for prompt in prompts], "system")
        return rounds.open_round(store, made.id, "system")

    return build


@pytest.fixture
def rater(store: Store) -> str:
    return create_account(store, "Ada").id


def answer(store: Store, turn: Turn, *said: str) -> Turn:
    """Both answers are there."""

    def write(conn: sa.Connection) -> None:
        generation.claim(conn, "w", 10, 60.0)
        pieces = [
            Piece(turn.generation_id, slot, text, final=True, model=f"m{slot}")
            for slot, text in enumerate(said or ("first", "second"))
        ]
        done, _ = generation.record(conn, "w", pieces, 60.0)
        prepare.deliver(conn, done, [])

    store.write(write)
    with store.read() as conn:
        rater = conn.scalar(
            sa.text(
                "select rater_id from conversations join turns"
                " on turns.conversation_id = conversations.id where turns.id = :turn"
            ),
            {"turn": turn.id},
        )
    assert isinstance(rater, str)
    return dialogue.get_turn(store, rater, turn.id)


def body(outcome: str = "a", **more: Any) -> dict[str, Any]:
    strength = {"strength": 3} if outcome in "ab" else {}
    return {"outcome": outcome, **strength, **more}


def slot_of(turn: Turn, index: int) -> str:
    return "ab"[turn.permutation.index(index)]


def asked(store: Store, turn: Turn) -> list[tuple[str, str]]:
    """What the policies were given to read."""
    with store.read() as conn:
        query = sa.select(generations.c.messages).where(generations.c.id == turn.generation_id)
        rows: list[dict[str, str]] = conn.execute(query).scalar_one()
    return [(row["role"], row["content"]) for row in rows]


def test_the_chosen_answer_continues(store: Store, make: Make, rater: str) -> None:
    talk = chat.start(store, rater, make().id, "k1")
    turn = chat.add_turn(store, rater, talk.id, "hello", "k2")
    assert (turn.state, turn.position, asked(store, turn)) == ("waiting", 0, [("user", "hello")])
    turn = answer(store, turn)
    assert turn.state == "ready"
    turn = chat.choose(store, rater, turn.id, body(slot_of(turn, 1)), "k3")
    assert (turn.state, turn.continued) == ("chosen", 1)
    after = chat.add_turn(store, rater, talk.id, "and then?", "k4")
    assert asked(store, after) == [
        ("user", "hello"),
        ("assistant", "second"),
        ("user", "and then?"),
    ]
    found = dialogue.get(store, rater, talk.id)
    assert [m.content for m in dialogue.messages(found)] == ["hello", "second", "and then?"]
    assert events.verify(store) == []


def test_a_turn_is_judged_like_any_pair(store: Store, make: Make, rater: str) -> None:
    round_ = make()
    talk = chat.start(store, rater, round_.id, "k1")
    turn = answer(store, chat.add_turn(store, rater, talk.id, "hello", "k2"))
    chat.choose(store, rater, turn.id, body(slot_of(turn, 0), comment="clear"), "k3")
    (judgment,) = judgments.recent(store, rater)
    assert judgment.outcome["best"] == 0 and judgment.outcome["strength"] == 3
    item = items.get_item(store, judgment.item_id)
    assert item.prompt.messages == (Message("user", "hello"),)
    assert item.completions == (Completion("first", "m0"), Completion("second", "m1"))
    assert (item.source, item.needed, item.taken, item.done) == ("chat", 1, 1, 1)
    after = rounds.get_round(store, round_.id)
    assert (after.num_items, after.num_judgments, after.num_left) == (1, 1, 0)
    with store.read() as conn:
        (reason,) = conn.scalars(sa.select(assignments.c.reason))
    assert reason == "chat"


def test_every_key_counts_once(store: Store, make: Make, rater: str) -> None:
    round_ = make()
    talk = chat.start(store, rater, round_.id, "k1")
    assert chat.start(store, rater, round_.id, "k1").id == talk.id
    turn = chat.add_turn(store, rater, talk.id, "hello", "k2")
    assert chat.add_turn(store, rater, talk.id, "hello", "k2").id == turn.id
    turn = answer(store, turn)
    first = chat.choose(store, rater, turn.id, body("a"), "k3")
    assert chat.choose(store, rater, turn.id, body("a"), "k3") == first
    with pytest.raises(DataError, match="used for something else"):
        chat.add_turn(store, rater, talk.id, "more", "k3")
    assert len(dialogue.get(store, rater, talk.id).turns) == 1
    assert rounds.get_round(store, round_.id).num_judgments == 1


def test_the_order_of_things_is_kept(store: Store, make: Make, rater: str) -> None:
    round_ = make(max_turns=2)
    talk = chat.start(store, rater, round_.id, "k1")
    turn = chat.add_turn(store, rater, talk.id, "one", "k2")
    with pytest.raises(StoreError, match="still coming"):
        chat.add_turn(store, rater, talk.id, "two", "k3")
    with pytest.raises(StoreError, match="not complete yet"):
        chat.choose(store, rater, turn.id, body(), "k4")
    answer(store, turn)
    with pytest.raises(StoreError, match="choose between"):
        chat.add_turn(store, rater, talk.id, "two", "k5")
    chat.choose(store, rater, turn.id, body(), "k6")
    last = answer(store, chat.add_turn(store, rater, talk.id, "two", "k7"))
    chat.choose(store, rater, last.id, body("tie"), "k8")
    assert dialogue.get(store, rater, talk.id).state == "done"
    with pytest.raises(StoreError, match="has ended"):
        chat.add_turn(store, rater, talk.id, "three", "k9")
    assert dialogue.latest(store, rater, round_.id) is None
    for text, match in (("  ", "empty"), ("x" * 20_001, "at most 20000")):
        with pytest.raises(DataError, match=match):
            chat.add_turn(store, rater, talk.id, text, "k10")


def test_nobody_else_can_look_or_speak(store: Store, make: Make, rater: str) -> None:
    other = create_account(store, "Bob").id
    talk = chat.start(store, rater, make().id, "k1")
    turn = answer(store, chat.add_turn(store, rater, talk.id, "hello", "k2"))
    for attempt in (
        lambda: dialogue.get(store, other, talk.id),
        lambda: dialogue.get_turn(store, other, turn.id),
        lambda: chat.add_turn(store, other, talk.id, "hi", "o1"),
        lambda: chat.choose(store, other, turn.id, body(), "o2"),
        lambda: chat.undo(store, other, turn.id, "o3"),
        lambda: chat.end(store, other, talk.id, "o4"),
        lambda: dialogue.get_turn(store, rater, "nothing"),
    ):
        with pytest.raises(DataError, match="there is no"):
            attempt()
    assert dialogue.get_turn(store, rater, turn.id).state == "ready"


@pytest.mark.parametrize(
    ("schema", "outcome", "expected"),
    [
        ({}, 0, {0}),
        ({"chat_mode": "red_team"}, 0, {0}),
        ({"chat_mode": "red_team", "continue_with": "best"}, 0, {1}),
        ({"chat_mode": "harmless", "continue_with": "best"}, 1, {1}),
        ({"continue_with": "random"}, 0, {0, 1}),
        ({}, "tie", {0, 1}),
        ({}, "both_bad", {0, 1}),
        ({}, "cannot_compare", {0, 1}),
    ],
)
def test_what_the_conversation_goes_on_with(
    store: Store, make: Make, rater: str, schema: Any, outcome: int | str, expected: set[int]
) -> None:
    round_ = make(**schema)
    seen: set[int | None] = set()
    for i in range(12 if len(expected) > 1 else 3):
        talk = chat.start(store, rater, round_.id, f"s{i}")
        turn = answer(store, chat.add_turn(store, rater, talk.id, "hello", f"m{i}"))
        chosen = slot_of(turn, outcome) if isinstance(outcome, int) else outcome
        seen.add(chat.choose(store, rater, turn.id, body(chosen), f"c{i}").continued)
    assert seen == expected


def test_an_edit_is_kept_and_continues_where_it_was_chosen(
    store: Store, make: Make, rater: str
) -> None:
    talk = chat.start(store, rater, make().id, "k1")
    turn = answer(store, chat.add_turn(store, rater, talk.id, "hello", "k2"))
    slot = slot_of(turn, 0)
    edited = {"slot": slot, "text": "first, but better"}
    chat.choose(store, rater, turn.id, body(slot, edited=edited), "k3")
    (judgment,) = judgments.recent(store, rater)
    assert judgment.outcome["edited"] == {"index": 0, "text": "first, but better"}
    after = chat.add_turn(store, rater, talk.id, "go on", "k4")
    assert asked(store, after)[1] == ("assistant", "first, but better")
    assert len(items.get_item(store, judgment.item_id).completions) == 2


def test_an_edit_of_the_other_answer_does_not_continue(
    store: Store, make: Make, rater: str
) -> None:
    talk = chat.start(store, rater, make().id, "k1")
    turn = answer(store, chat.add_turn(store, rater, talk.id, "hello", "k2"))
    edited = {"slot": slot_of(turn, 1), "text": "mended"}
    turn = chat.choose(store, rater, turn.id, body(slot_of(turn, 0), edited=edited), "k3")
    assert turn.responses[turn.continued or 0]["text"] == "first"


def test_a_choice_can_be_taken_back_until_something_follows(
    store: Store, make: Make, rater: str
) -> None:
    round_ = make(max_turns=2)
    talk = chat.start(store, rater, round_.id, "k1")
    turn = answer(store, chat.add_turn(store, rater, talk.id, "hello", "k2"))
    with pytest.raises(StoreError, match="no choice to take back"):
        chat.undo(store, rater, turn.id, "u0")
    chat.choose(store, rater, turn.id, body(slot_of(turn, 0)), "k3")
    assert chat.undo(store, rater, turn.id, "u1").state == "ready"
    assert chat.undo(store, rater, turn.id, "u1").state == "ready"
    assert rounds.get_round(store, round_.id).num_judgments == 0
    assert turn.assignment_id is not None
    draft = judgments.get_draft(store, rater, turn.assignment_id)
    assert draft is not None and draft["strength"] == 3
    with pytest.raises(StoreError, match="choose between"):
        chat.add_turn(store, rater, talk.id, "on", "k4")
    again = chat.choose(store, rater, turn.id, body(slot_of(turn, 1)), "k5")
    assert again.continued == 1
    last = answer(store, chat.add_turn(store, rater, talk.id, "on", "k6"))
    chat.choose(store, rater, last.id, body(), "k7")
    assert dialogue.get(store, rater, talk.id).state == "done"
    with pytest.raises(StoreError, match="went on"):
        chat.undo(store, rater, turn.id, "u2")
    chat.undo(store, rater, last.id, "u3")
    assert dialogue.get(store, rater, talk.id).state == "open"
    assert events.verify(store) == []


def test_a_changed_choice_changes_no_past(store: Store, make: Make, rater: str) -> None:
    talk = chat.start(store, rater, make().id, "k1")
    turn = answer(store, chat.add_turn(store, rater, talk.id, "hello", "k2"))
    chat.choose(store, rater, turn.id, body(slot_of(turn, 0)), "k3")
    chat.add_turn(store, rater, talk.id, "on", "k4")
    changed = chat.choose(store, rater, turn.id, body(slot_of(turn, 1)), "k5")
    assert changed.continued == 0
    (judgment,) = judgments.recent(store, rater)
    assert (judgment.outcome["best"], judgment.revision) == (1, 1)


def test_a_failed_turn_is_said_again(store: Store, make: Make, rater: str) -> None:
    talk = chat.start(store, rater, make().id, "k1")
    turn = chat.add_turn(store, rater, talk.id, "hello", "k2")

    def give_up(conn: sa.Connection) -> None:
        generation.claim(conn, "w", 1, 60.0)
        generation.fail(conn, "w", turn.generation_id, "broke", again=False, max_attempts=3)
        prepare.deliver(conn, [], [turn.generation_id])

    store.write(give_up)
    assert dialogue.get_turn(store, rater, turn.id).state == "failed"
    assert dialogue.messages(dialogue.get(store, rater, talk.id)) == []
    again = answer(store, chat.add_turn(store, rater, talk.id, "hello again", "k3"))
    assert (again.position, again.state) == (0, "ready")
    assert len(dialogue.get(store, rater, talk.id).turns) == 1


def test_a_prompt_of_the_round_opens_the_conversation(store: Store, make: Make, rater: str) -> None:
    opening = (Message("user", "hi"), Message("assistant", "hello"), Message("user", "why?"))
    round_ = make(prompts=(Prompt("p1", opening), Prompt("p2", opening[:2])))
    talks = [chat.start(store, rater, round_.id, f"k{i}") for i in range(3)]
    by_suggestion = {talk.suggestion: talk for talk in talks}
    assert set(by_suggestion) == {"why?", ""}
    assert [len(talk.opening) for talk in talks] == [2, 2, 0]
    turn = chat.add_turn(store, rater, by_suggestion["why?"].id, "why not?", "m")
    assert asked(store, turn) == [("user", "hi"), ("assistant", "hello"), ("user", "why not?")]


def test_who_answers_is_drawn_and_recorded(store: Store, make: Make, rater: str) -> None:
    def writers(round_: Round) -> set[tuple[str, ...]]:
        for i in range(8):
            talk = chat.start(store, rater, round_.id, f"{round_.id}{i}")
            chat.add_turn(store, rater, talk.id, "hello", f"{round_.id}m{i}")
        query = sa.select(generations.c.policies).where(generations.c.round_id == round_.id)
        with store.read() as conn:
            return {tuple(policies) for policies in conn.scalars(query)}

    assert writers(make(("one",))) == {("one", "one")}
    assert writers(make(("one", "two"))) == {("one", "two"), ("two", "one")}
    assert all(len(set(pair)) == 2 for pair in writers(make(("one", "two", "three"))))
    with pytest.raises(StoreError, match="nobody answers"):
        writers(make(()))


def test_only_open_chats_can_be_entered(store: Store, make: Make, rater: str) -> None:
    round_ = make()
    talk = chat.start(store, rater, round_.id, "k1")
    rounds.close_round(store, round_.id, "system")
    with pytest.raises(StoreError, match="closed"):
        chat.start(store, rater, round_.id, "k2")
    with pytest.raises(StoreError, match="closed"):
        chat.add_turn(store, rater, talk.id, "hello", "k3")
    with pytest.raises(DataError):
        chat.start(store, rater, "nothing", "k4")


def test_an_ended_conversation_waits_for_nothing(store: Store, make: Make, rater: str) -> None:
    round_ = make()
    talk = chat.start(store, rater, round_.id, "k1")
    turn = chat.add_turn(store, rater, talk.id, "hello", "k2")
    assert dialogue.latest(store, rater, round_.id) is not None
    chat.end(store, rater, talk.id, "k3")
    chat.end(store, rater, talk.id, "k3")
    assert dialogue.get_turn(store, rater, turn.id).state == "failed"
    assert store.write(lambda conn: generation.claim(conn, "w", 9, 60.0)) == []
    assert dialogue.latest(store, rater, round_.id) is None
