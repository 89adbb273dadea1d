"""Paired reveal by property: whatever comes in whatever order, both panes look equally quick."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.store.transcript import Chunk
from accord.web.reveal import CHARS_A_TICK, Event, PairedReveal


@dataclass
class Screen:
    """What a client makes of the events it gets."""

    panes: dict[str, str] = field(default_factory=lambda: {"a": "", "b": ""})
    revealed: bool = False
    done: dict[str, str] = field(default_factory=dict)
    last_id: str = ""

    def show(self, events: list[Event]) -> None:
        for event in events:
            self.last_id = event.id
            if event.name == "reveal":
                self.revealed = True
            elif event.name == "delta":
                assert self.revealed
                slot = event.data["slot"]
                before = "" if event.data.get("afresh") else self.panes[slot]
                self.panes[slot] = before + event.data["text"]
            else:
                self.done[event.data["slot"]] = event.data["text"]


def pieces(slot: int, *said: str, final: bool = True) -> list[Chunk]:
    made = [Chunk(0, slot, text, False, False) for text in said]
    return [*made, Chunk(0, slot, "", False, True)] if final else made


def test_nothing_of_one_answer_before_the_other_has_something_to_show() -> None:
    reveal, screen = PairedReveal((0, 1)), Screen()
    reveal.take(pieces(0, "all of it"))
    assert reveal.tick() == []
    reveal.take(pieces(1, "b", final=False))
    screen.show(reveal.tick())
    assert screen.panes == {"a": "a", "b": "b"}
    reveal.take(pieces(1, "cd"))
    screen.show(reveal.tick())
    assert screen.panes == {"a": "all of it", "b": "bcd"}
    assert screen.done == {"a": "all of it", "b": "bcd"}


def test_the_permutation_says_which_side() -> None:
    reveal, screen = PairedReveal((1, 0)), Screen()
    reveal.take(pieces(0, "zero") + pieces(1, "one"))
    screen.show(reveal.tick())
    assert screen.panes == {"a": "one", "b": "zero"}


def test_an_empty_answer_is_an_answer() -> None:
    reveal, screen = PairedReveal((0, 1)), Screen()
    reveal.take(pieces(0))
    assert reveal.tick() == []
    reveal.take(pieces(1))
    screen.show(reveal.tick())
    assert screen.revealed and screen.done == {"a": "", "b": ""} and reveal.over


def test_what_is_all_there_is_shown_at_once_and_what_comes_in_a_burst_is_not() -> None:
    long = "x" * (3 * CHARS_A_TICK)
    ready, screen = PairedReveal((0, 1)), Screen()
    ready.take(pieces(0, long) + pieces(1, long))
    screen.show(ready.tick())
    assert ready.over and screen.done["a"] == long
    burst = PairedReveal((0, 1))
    burst.take(pieces(0, "a", final=False) + pieces(1, long))
    burst.tick()
    burst.take(pieces(0, long))
    shown = [sum(len(e.data["text"]) for e in burst.tick() if e.name == "delta") for _ in range(4)]
    assert shown[0] == 2 * CHARS_A_TICK and burst.over and not burst.behind


def test_ids_that_cannot_be_read_start_from_the_beginning() -> None:
    for strange in ("7", "r.1-0", "r.1-0.2-0.3-0", "r.-1-0.2-0", "r.1-0.2-0\n", "é", "r.٣-0.1-0"):
        reveal, screen = PairedReveal((0, 1), strange), Screen()
        reveal.take(pieces(0, "one") + pieces(1, "two"))
        screen.show(reveal.tick())
        assert screen.panes == {"a": "one", "b": "two"}, strange


def test_an_id_beyond_the_end_shows_the_pane_afresh() -> None:
    reveal = PairedReveal((0, 1), "r.9999-0.1-0")
    screen = Screen({"a": "whatever", "b": "t"}, revealed=True)
    reveal.take(pieces(0, "one") + pieces(1, "two"))
    for _ in range(3):
        screen.show(reveal.tick())
    assert screen.done == screen.panes == {"a": "one", "b": "two"}


@st.composite
def stories(draw: st.DrawFn) -> list[list[Chunk]]:
    """Two answers in pieces, interleaved anyhow; now and then one begins afresh."""
    queues: list[list[Chunk]] = []
    for slot in (0, 1):
        queue: list[Chunk] = []
        for text in draw(st.lists(st.text("ab", min_size=1, max_size=90), max_size=4)):
            afresh = bool(queue) and draw(st.integers(0, 4)) == 0
            queue.append(Chunk(0, slot, text, afresh, False))
        queues.append([*queue, Chunk(0, slot, "", False, True)])
    steps: list[list[Chunk]] = []
    for slot in draw(st.lists(st.sampled_from([0, 1, None]), max_size=12)):
        steps.append([] if slot is None or not queues[slot] else [queues[slot].pop(0)])
    steps += [[chunk] for queue in queues for chunk in queue]
    return steps


def final(steps: list[list[Chunk]], slot: int) -> str:
    text = ""
    for chunk in (chunk for step in steps for chunk in step if chunk.slot == slot):
        text = chunk.text if chunk.afresh else text + chunk.text
    return text


@settings(max_examples=150, deadline=None)
@given(stories(), st.permutations([0, 1]), st.sets(st.integers(0, 60), max_size=3), st.data())
def test_all_arrives_in_step_however_often_the_line_breaks(
    steps: list[list[Chunk]], permutation: list[int], breaks: set[int], data: st.DataObject
) -> None:
    reveal, screen, past, tick = PairedReveal(permutation), Screen(), list[Chunk](), 0
    restarts = any(chunk.afresh for step in steps for chunk in step)
    while not reveal.over:
        step = steps[tick] if tick < len(steps) else []
        past += step
        reveal.take(step)
        events = reveal.tick()
        if tick in breaks and events:
            kept = data.draw(st.integers(0, len(events) - 1))
            screen.show(events[:kept])
            reveal = PairedReveal(permutation, screen.last_id)
            reveal.take(past)
        else:
            screen.show(events)
            a, b = (len(screen.panes[slot]) for slot in "ab")
            if a != b and not restarts and not breaks:
                shorter = "a" if a < b else "b"
                assert screen.panes[shorter] == final(steps, permutation["ab".index(shorter)])
        assert screen.done.keys() <= {"a", "b"}
        tick += 1
        assert tick < 200
    expected = {"a": final(steps, permutation[0]), "b": final(steps, permutation[1])}
    assert screen.panes == expected
    assert screen.done == expected
