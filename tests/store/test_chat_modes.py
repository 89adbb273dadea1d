"""Chats at their ends: left for good, at the last turn, undone, edited anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import chat, dialogue, events, generation, items, prepare, rounds
from accord.store.columns import new_id
from accord.store.database import Store, StoreError, open_store
from accord.store.dialogue import Conversation, Turn
from accord.store.freeze import freeze_round
from accord.store.records import NewItem, Round
from accord.store.settings import RoundSettings
from accord.store.task import TaskSchema
from accord.store.transcript import Piece
from accord.types import Message, Prompt
from tests.store.fill import rater


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the file; each test has a round of its own."""
    with open_store(tmp_path_factory.mktemp("chat") / "studio.db") as opened:
        yield opened


def a_round(store: Store, prompts: tuple[Prompt, ...] = (), **schema: Any) -> Round:
    project = rounds.create_project(store, new_id(), "system")
    made = rounds.create_round(
        store, project.id, "talk", task="chat", actor="system",
        schema=TaskSchema(**schema), settings=RoundSettings(policies=("one", "two")),
    )  # fmt: skip
    items.add_items(store, made.id, [NewItem(prompt) for prompt in prompts], "system")
    return rounds.open_round(store, made.id, "system")


def say(store: Store, who: str, talk: Conversation, text: str = "hello") -> Turn:
    """A message with its two answers, ``first`` and ``second``."""
    turn = chat.add_turn(store, who, talk.id, text, new_id())

    def answer(conn: sa.Connection) -> None:
        generation.claim(conn, "w", 50, 60.0)
        pieces = [
            Piece(turn.generation_id, slot, said, final=True, model=f"m{slot}")
            for slot, said in enumerate(("first", "second"))
        ]
        prepare.deliver(conn, generation.record(conn, "w", pieces, 60.0)[0], [])

    store.write(answer)
    return dialogue.get_turn(store, who, turn.id)


def pick(store: Store, who: str, turn: Turn, index: int, **more: Any) -> Turn:
    body = {"outcome": "ab"[turn.permutation.index(index)], "strength": 2, **more}
    return chat.choose(store, who, turn.id, body, new_id())


def talk_of(store: Store, **schema: Any) -> tuple[str, Conversation]:
    who = rater(store)
    return who, chat.start(store, who, a_round(store, **schema).id, new_id())


def test_a_conversation_left_for_good_is_not_reopened_by_a_late_choice(studio: Store) -> None:
    who, talk = talk_of(studio)
    turn = say(studio, who, talk)
    chat.end(studio, who, talk.id, new_id())
    assert pick(studio, who, turn, 0).state == "chosen"  # what was judged counts
    assert dialogue.get(studio, who, talk.id).state == "done"
    assert chat.undo(studio, who, turn.id, new_id()).state == "ready"
    assert dialogue.get(studio, who, talk.id).state == "done"
    with pytest.raises(StoreError, match="has ended; start a new one"):
        chat.add_turn(studio, who, talk.id, "more", new_id())
    assert dialogue.latest(studio, who, talk.round_id) is None


def test_the_last_turn_ends_a_conversation_and_its_undo_opens_it(studio: Store) -> None:
    who, talk = talk_of(studio, max_turns=1)
    turn = say(studio, who, talk)
    assert talk.max_turns == 1
    for state in ("done", "open", "done"):
        if state == "done":
            pick(studio, who, turn, 1)
        else:
            chat.undo(studio, who, turn.id, new_id())
        assert dialogue.get(studio, who, talk.id).state == state


@pytest.mark.parametrize("mode", ["helpful", "harmless", "honest", "red_team", None])
@pytest.mark.parametrize("goes_on", ["chosen", "best"])
def test_only_red_teams_that_ask_for_it_go_on_with_the_other(
    studio: Store, mode: str | None, goes_on: str
) -> None:
    who, talk = talk_of(studio, chat_mode=mode, continue_with=goes_on)
    turned = (mode, goes_on) == ("red_team", "best")
    turn = pick(studio, who, say(studio, who, talk), 0)
    assert turn.continued == (1 if turned else 0)
    found = dialogue.get(studio, who, talk.id)
    assert dialogue.messages(found)[-1] == Message("assistant", "second" if turned else "first")


def test_an_edit_is_replaced_by_the_next_choice(studio: Store) -> None:
    who, talk = talk_of(studio)
    turn = say(studio, who, talk)
    slot = "ab"[turn.permutation.index(0)]
    turn = pick(studio, who, turn, 0, edited={"slot": slot, "text": "mended"})
    assert [(r["text"], r["model"]) for r in turn.responses] == [
        ("first", "m0"), ("second", "m1"), ("mended", chat.HUMAN_EDIT),
    ]  # fmt: skip
    turn = pick(studio, who, turn, 0, edited={"slot": slot, "text": "mended twice"})
    assert [r["text"] for r in turn.responses] == ["first", "second", "mended twice"]
    turn = pick(studio, who, turn, 1)
    assert (len(turn.responses), turn.continued) == (2, 1)


def test_what_is_seen_after_an_undo_holds_neither_answer(studio: Store) -> None:
    who, talk = talk_of(studio)
    turn = pick(studio, who, say(studio, who, talk), 0)
    chat.undo(studio, who, turn.id, new_id())
    assert dialogue.messages(dialogue.get(studio, who, talk.id)) == [Message("user", "hello")]


def test_a_choice_that_cannot_be_read_changes_nothing(studio: Store) -> None:
    who, talk = talk_of(studio)
    turn = say(studio, who, talk)
    for body in ({"outcome": "c"}, {"outcome": "a", "strength": 9}, {"outcome": "a", "x": 1}):
        with pytest.raises(DataError):
            chat.choose(studio, who, turn.id, body, new_id())
    assert dialogue.get_turn(studio, who, turn.id) == turn


def test_a_frozen_round_takes_no_choice_back(studio: Store, tmp_path: Any) -> None:
    who, talk = talk_of(studio)
    turn = say(studio, who, talk)
    slot = "ab"[turn.permutation.index(0)]
    pick(studio, who, turn, 0, edited={"slot": slot, "text": "mended"})
    rounds.close_round(studio, talk.round_id, "system")
    made = freeze_round(studio, talk.round_id, tmp_path / "out")
    rows: list[Any] = list(made.records())
    assert [(r.a.text, r.b.text, r.choice) for r in rows] == [
        ("first", "second", "a"), ("mended", "first", "a"),
    ]  # fmt: skip
    with pytest.raises(StoreError, match="is frozen; its judgments cannot change"):
        chat.undo(studio, who, turn.id, new_id())


def test_a_round_of_something_else_is_no_chat(studio: Store) -> None:
    project = rounds.create_project(studio, new_id(), "system")
    other = rounds.create_round(studio, project.id, "r", task="compare", actor="system")
    with pytest.raises(StoreError, match="round 'r' is no chat"):
        chat.start(studio, rater(studio), other.id, new_id())


def test_a_message_keeps_what_every_browser_can_show(studio: Store) -> None:
    who, talk = talk_of(studio)
    turn = chat.add_turn(studio, who, talk.id, "a\x00b\ud800", new_id())
    assert turn.text == "a\ufffdb\ufffd"


def test_prompts_are_had_once_by_each(studio: Store) -> None:
    prompts = tuple(Prompt(f"p{n}", (Message("user", f"ask {n}"),)) for n in range(2))
    found = a_round(studio, prompts)
    for who in (rater(studio), rater(studio)):
        had = [chat.start(studio, who, found.id, new_id()).suggestion for _ in range(3)]
        assert sorted(had) == ["", "ask 0", "ask 1"]
    assert events.verify(studio) == []
