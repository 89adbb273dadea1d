"""Rankings and demonstrations as OpenAssistant trees (Köpf et al. 2023): the way back.

A tree has one ranking of a prompt's replies. Several raters' rankings of one prompt are several
trees' worth and are refused: aggregate them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from accord.data.turns import content_id
from accord.errors import DataError
from accord.types import Comparison, Completion, Demonstration, Message, Prompt, Ranking, Record

Node: TypeAlias = dict[str, Any]
ROLES = {"user": "prompter", "assistant": "assistant"}


def grow(records: Sequence[Record], path: Path) -> list[Node]:
    """The trees of the records, one row each.

    Raters, strengths and weights have no place in a tree. Of an assistant's turn that nobody
    ranked or wrote as a demonstration only the text is known: it is marked ``synthetic``.

    Raises:
        DataError: a system turn, a tie of one pair that cannot be ranked, two rankings of a prompt.
    """
    trees: dict[str, Node] = {}
    ranked: set[int] = set()
    lone: list[tuple[Node, Node]] = []
    for number, record in _top_down(records):
        prompter = _place(trees, record.prompt, f"{path}: record {number}")
        if isinstance(record, Demonstration):
            lone.append((prompter, _written(prompter, record)))
            continue
        if id(prompter) in ranked:
            raise DataError(
                f"{path}: record {number}: a second ranking of one prompt; a tree holds one: "
                "aggregate the raters first, or use nemo-rank"
            )
        ranked.add(id(prompter))
        ranking = record if isinstance(record, Ranking) else _as_ranking(record)
        for completion, rank in zip(ranking.completions, ranking.ranks, strict=True):
            _judged(prompter, completion, rank)
    for prompter, reply in lone:
        others = [one for one in prompter["replies"] if one is not reply]
        if id(prompter) not in ranked and others and all(one["synthetic"] for one in others):
            reply.setdefault("rank", 0)  # the best of what is there: the others are no answers
    return list(trees.values())


Held: TypeAlias = Ranking | Comparison | Demonstration


def _top_down(records: Sequence[Record]) -> list[tuple[int, Held]]:
    """Numbered records, rankings before what hangs below, so that replies keep their order."""
    held = [(n, r) for n, r in enumerate(records, start=1) if isinstance(r, Held)]
    return sorted(
        held, key=lambda pair: (len(pair[1].prompt.messages), isinstance(pair[1], Demonstration))
    )


def _place(trees: dict[str, Node], prompt: Prompt, where: str) -> Node:
    """The prompter node that a prompt ends in, with all that lies before it."""
    if any(turn.role == "system" for turn in prompt.messages):
        raise DataError(f"{where}: a tree has no system turn; use nemo-rank or messages")
    tree = next((tag[5:] for tag in prompt.tags if tag.startswith("tree:")), "")
    tree = tree or content_id(prompt.messages[:1])
    lang = next((tag[5:] for tag in prompt.tags if tag.startswith("lang:")), None)
    if tree not in trees:
        root = _node(prompt.messages[0], None)
        trees[tree] = {"message_tree_id": tree, "prompt": root}
        if lang is not None:
            root["lang"] = lang
    node: Node = trees[tree]["prompt"]
    if node["text"] != prompt.messages[0].content:
        raise DataError(f"{where}: tree {tree!r} has two first messages")
    for turn in prompt.messages[1:]:
        wanted = ROLES[turn.role], turn.content
        found = next((r for r in node["replies"] if (r["role"], r["text"]) == wanted), None)
        if found is None:
            found = _node(turn, node)
            node["replies"].append(found)
        node = found
    node["message_id"] = prompt.id
    return node


def _node(turn: Message, parent: Node | None) -> Node:
    """A message; what an assistant said is taken for a model's until a record says otherwise."""
    start = "" if parent is None else parent["message_id"]
    return {
        "message_id": content_id((Message(turn.role, start + turn.content),)),
        "text": turn.content,
        "role": ROLES[turn.role],
        "synthetic": turn.role == "assistant",
        "replies": [],
    }


def _judged(prompter: Node, completion: Completion, rank: int) -> None:
    known = (r for r in prompter["replies"] if r["text"] == completion.text and "rank" not in r)
    reply = next(known, None)
    if reply is None:
        reply = _node(Message("assistant", completion.text), prompter)
        prompter["replies"].append(reply)
    reply["rank"] = rank
    reply["synthetic"] &= completion.model != "human"
    if completion.model not in ("human", "", "synthetic"):
        reply["model_name"] = completion.model


def _written(prompter: Node, record: Demonstration) -> Node:
    same = [r for r in prompter["replies"] if r["text"] == record.completion]
    human = [r for r in same if not r["synthetic"]]
    reply = next(iter(human or [r for r in same if "rank" not in r]), None)
    if reply is None:
        reply = _node(Message("assistant", record.completion), prompter)
        prompter["replies"].append(reply)
    reply["synthetic"] = False
    if record.id:
        reply["message_id"] = record.id
    return reply


def _as_ranking(record: Comparison) -> Ranking:
    ranks = {"a": (0, 1), "b": (1, 0)}.get(record.choice, (0, 0))
    return Ranking(record.prompt, (record.a, record.b), ranks)
