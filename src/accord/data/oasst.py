"""OpenAssistant conversation trees (Köpf et al. 2023): rankings and demonstrations by people.

Each prompter turn with assistant replies is a prompt whose conversation is the path from the root.
Its ranked replies are one Ranking (K = 2 and more, ranks closed up where a sibling is missing). Its
best-ranked human reply, or every human reply where nobody ranked them, is a Demonstration.
Deleted messages and those rejected in review are left out, with what hangs on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accord.data.report import RowError
from accord.data.turns import ROLES, kind, make_prompt, text
from accord.types import Completion, Demonstration, Message, Prompt, Ranking, Record

Node = dict[str, Any]


def parse_tree(row: dict[str, Any]) -> list[Record]:
    """The rankings and demonstrations in one tree; ``tags`` name the tree and the language.

    Contexts of one tree share turns: split held-out data by the ``tree:...`` tag.

    Raises:
        RowError: missing field, empty field, wrong type, unknown role.
    """
    tree = text(row.get("message_tree_id"), "message_tree_id")
    root = row.get("prompt")
    if type(root) is not dict:
        reason = "missing field" if root is None else "wrong type"
        raise RowError(reason, f"'prompt' is {kind(root)}, not a message")
    tags: tuple[str, ...] = (f"tree:{tree}",)
    if root.get("lang") is not None:
        tags += (f"lang:{text(root['lang'], 'prompt.lang')}",)
    return list(_walk(root, (), tags, "prompt"))


def _walk(
    node: Node, path: tuple[Message, ...], tags: tuple[str, ...], field: str
) -> Iterator[Record]:
    turn = _turn(node, field)
    path = (*path, turn)
    replies = _replies(node, field)
    if turn.role == "user":
        answers = [reply for place, reply in replies if _turn(reply, place).role == "assistant"]
        if answers:
            prompt = make_prompt(path, text(node.get("message_id"), f"{field}.message_id"), tags)
            yield from _judged(prompt, answers, field)
    for place, reply in replies:
        yield from _walk(reply, path, tags, place)


def _judged(prompt: Prompt, answers: list[Node], field: str) -> Iterator[Record]:
    ranked = []
    for answer in answers:
        rank = answer.get("rank")
        if type(rank) is int:
            ranked.append((rank, answer))
        elif rank is not None:
            raise RowError("wrong type", f"a 'rank' under {field!r} is {kind(rank)}")
    if len(ranked) >= 2:
        order = sorted({rank for rank, _ in ranked})
        yield Ranking(
            prompt,
            tuple(Completion(answer["text"], _writer(answer)) for _, answer in ranked),
            tuple(order.index(rank) for rank, _ in ranked),
            id=prompt.id,
        )
    by_rank = sorted(ranked, key=lambda pair: pair[0])
    human = [answer for _, answer in by_rank if not answer.get("synthetic")][:1]
    if not ranked:
        human = [answer for answer in answers if not answer.get("synthetic")]
    for answer in human:
        yield Demonstration(prompt, answer["text"], id=text(answer.get("message_id"), "message_id"))


def _writer(node: Node) -> str:
    return str(node.get("model_name") or "synthetic") if node.get("synthetic") else "human"


def _turn(node: Node, field: str) -> Message:
    if type(node) is not dict:
        raise RowError("wrong type", f"{field!r} is {kind(node)}, not a message")
    role = text(node.get("role"), f"{field}.role")
    if role not in ROLES:
        raise RowError("unknown role", f"{role!r} in {field!r}")
    return Message(ROLES[role], text(node.get("text"), f"{field}.text"))


def _replies(node: Node, field: str) -> list[tuple[str, Node]]:
    replies = node.get("replies")
    if replies is None:
        return []
    if type(replies) is not list:
        raise RowError("wrong type", f"'{field}.replies' is {kind(replies)}, not a list")
    return [
        (f"{field}.replies[{index}]", reply)
        for index, reply in enumerate(replies)
        if type(reply) is not dict
        or not (reply.get("deleted") or reply.get("review_result") is False)
    ]
