"""The tiny world: small talk about coloured, sized and placed things, with an exact gold score.

A prompt asks for one attribute of one thing ("what colour is the sky ?"). A grammatical response is

    [opener] fact [filler] [filler] [closer]

where the fact names the thing and any value of the attribute, right or wrong. The gold score adds
up what the parts are worth; anything the grammar does not produce, and anything cut off before its
end-of-sequence token, is worth ``LOWEST``. There are at most 2,520 grammatical responses to a
prompt, so a policy's expected gold and the KL-regularised optimum can be computed exactly
(:mod:`accord.worlds.optimum`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import MappingProxyType

import numpy as np

from accord.errors import DataError
from accord.types import Completion, Demonstration, Message, Prompt
from accord.worlds.optimum import Case, Responses

MAX_TOKENS = 24
"""The longest grammatical response in tokens, its end-of-sequence token included."""

COLOURS = ("red", "blue", "green", "yellow", "white", "black")
SIZES = ("tiny", "small", "big", "huge")
HOMES = ("sea", "forest", "barn", "house", "garden", "desert")
VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"colour": COLOURS, "size": SIZES, "home": HOMES}
)

_ANIMALS = """
crow black small forest | whale blue huge sea | crab red small sea | shark white huge sea
fox red small forest | bear black huge forest | sheep white big barn | goat white big barn
duck yellow small barn | cat black small house | mouse white tiny house | ant black tiny garden
bee yellow tiny garden | frog green small garden | snake green big desert | camel yellow huge desert
"""
_THINGS = """
sky blue huge | sun yellow huge | moon white huge | cloud white big | river blue big
leaf green tiny | rose red small | tomato red small | lemon yellow small | berry blue tiny
brick red small | piano black big
"""

PHRASINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "colour": (
            "what colour is the {} ?",
            "tell me the colour of the {} .",
            "which colour does the {} have ?",
            "please say what colour the {} is .",
            "do you know what colour the {} is ?",
            "name the colour of the {} .",
            "i would like to know the colour of the {} .",
            "can you tell me which colour the {} has ?",
        ),
        "size": (
            "how big is the {} ?",
            "tell me the size of the {} .",
            "which size does the {} have ?",
            "please say what size the {} is .",
            "do you know how big the {} is ?",
            "name the size of the {} .",
            "i would like to know the size of the {} .",
            "can you tell me which size the {} has ?",
        ),
        "home": (
            "where does the {} live ?",
            "tell me the home of the {} .",
            "which home does the {} have ?",
            "please say where the {} lives .",
            "do you know where the {} lives ?",
            "name the home of the {} .",
            "i would like to know the home of the {} .",
            "can you tell me which home the {} has ?",
        ),
    }
)

RIGHT, WRONG = 1.5, -1.0
OPENERS: Mapping[str, float] = MappingProxyType(
    {"": 0.0, "happy to help !": 0.75, "good question !": 0.5, "well ,": 0.0}
    | {"silly question !": -0.5}
)
FILLERS: Mapping[str, float] = MappingProxyType(
    {"i like that .": 0.0, "people say so .": -0.25, "let me think .": -0.5, "as i said .": -0.5}
)
CLOSERS: Mapping[str, float] = MappingProxyType(
    {"": 0.0, "hope that helps !": 0.75, "ask me anything !": 0.5, "now go away .": -0.5}
)
MAX_FILLERS = 2
LOWEST, HIGHEST = -4.0, 3.0
"""Bounds of the gold score: garbage and cut-off text; right, short and polite at both ends."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a grammatical response is made of; empty strings for parts it does not have."""

    opener: str
    value: str
    fillers: tuple[str, ...]
    closer: str


@dataclass(frozen=True, slots=True)
class Mixture:
    """How often each part occurs in generated responses; probabilities in the tables' order."""

    right: float
    openers: tuple[float, ...]
    num_fillers: tuple[float, ...]
    fillers: tuple[float, ...]
    closers: tuple[float, ...]


RAW = Mixture(
    right=0.80,
    openers=(0.30, 0.10, 0.10, 0.25, 0.25),
    num_fillers=(0.35, 0.35, 0.30),
    fillers=(0.25, 0.25, 0.25, 0.25),
    closers=(0.45, 0.12, 0.13, 0.30),
)
"""What the raw model reads: mostly right, sometimes rude, often rambling."""
GOOD = Mixture(
    right=0.97,
    openers=(0.30, 0.22, 0.25, 0.18, 0.05),
    num_fillers=(0.60, 0.30, 0.10),
    fillers=(0.40, 0.30, 0.15, 0.15),
    closers=(0.45, 0.22, 0.25, 0.08),
)
"""What the demonstrators write: better, with clear room above it."""


def prompts() -> list[Prompt]:
    """Every question of the world, tagged with its attribute and its thing."""
    return [
        Prompt(
            f"tiny-{attribute}-{noun}-{number}",
            (Message("user", phrasing.format(noun)),),
            (attribute, noun),
        )
        for attribute, noun in _facts()
        for number, phrasing in enumerate(PHRASINGS[attribute])
    ]


def demonstrations(seed: int = 0) -> list[Demonstration]:
    """One answer of middling quality to every prompt (:data:`GOOD`)."""
    rng = np.random.default_rng([seed, 1])
    return [
        Demonstration(prompt, _draw(rng, GOOD, *prompt.tags), f"demonstration-{prompt.id}")
        for prompt in prompts()
    ]


def pretraining_text(seed: int, n: int) -> list[tuple[str, str]]:
    """``n`` dialogues (question, answer) of mixed quality (:data:`RAW`), questions in rotation."""
    rng = np.random.default_rng([seed, 0])
    questions = list(_questions().items())
    order = np.concatenate(
        [rng.permutation(len(questions)) for _ in range(-(-n // len(questions)))]
    )
    chosen = [questions[i] for i in order[:n]]
    return [(text, _draw(rng, RAW, *question)) for text, question in chosen]


def vocabulary() -> list[str]:
    """Every word type the world can say, sorted."""
    words = {word for text in _questions() for word in text.split()}
    for attribute, noun in _questions().values():
        for value in VALUES[attribute]:
            words.update(_fact(attribute, noun, value).split())
    words.update(
        word for table in (OPENERS, FILLERS, CLOSERS) for text in table for word in text.split()
    )
    return sorted(words)


def responses(prompt: Prompt) -> list[str]:
    """Every grammatical response to ``prompt``, right and wrong (at most 2,520).

    Raises:
        DataError: the prompt is not one of the world's.
    """
    attribute, noun = _question(prompt)
    runs = [run for k in range(MAX_FILLERS + 1) for run in product(FILLERS, repeat=k)]
    return [
        _render(attribute, noun, Parts(opener, value, run, closer))
        for opener, value, run, closer in product(OPENERS, VALUES[attribute], runs, CLOSERS)
    ]


def parse(prompt: Prompt, text: str) -> Parts | None:
    """The parts of ``text`` as a response to ``prompt``, or None where the grammar forbids it.

    Spacing and capitals do not matter; every word does.

    Raises:
        DataError: the prompt is not one of the world's.
    """
    attribute, noun = _question(prompt)
    rest = _normal(text)
    opener, rest = _take(rest, OPENERS)
    facts = {_fact(attribute, noun, value): value for value in VALUES[attribute]}
    fact, rest = _take(rest, facts)
    if not fact:
        return None
    fillers: list[str] = []
    while len(fillers) < MAX_FILLERS:
        filler, rest = _take(rest, FILLERS)
        if not filler:
            break
        fillers.append(filler)
    closer, rest = _take(rest, CLOSERS)
    return None if rest else Parts(opener, facts[fact], tuple(fillers), closer)


def gold(prompt: Prompt, completion: Completion) -> float:
    """The true score of a completion, in [LOWEST, HIGHEST].

    Right or wrong fact + opener + fillers + closer; ``LOWEST`` when the text is not grammatical or
    did not end by itself.

    Raises:
        DataError: the prompt is not one of the world's.
    """
    parts = parse(prompt, completion.text)
    if parts is None or not completion.finished:
        return LOWEST
    right = parts.value == _facts()[_question(prompt)]
    fillers = sum(FILLERS[filler] for filler in parts.fillers)
    return (RIGHT if right else WRONG) + OPENERS[parts.opener] + fillers + CLOSERS[parts.closer]


def case(prompt: Prompt, answers: Responses, texts: Sequence[str]) -> Case:
    """An enumerated policy's answers with their gold scores, for the exact optimum.

    ``texts[r]`` is the text of ``answers.tokens[r]``. The grammar is finite: of what was pruned,
    only the grammatical responses that were not found can be worth more than ``LOWEST``, and each
    of them is less likely than ``answers.min_prob``.
    """
    said = [
        Completion(text, finished=bool(finished))
        for text, finished in zip(texts, answers.finished_R, strict=True)
    ]
    parts = {parse(prompt, completion.text) for completion in said if completion.finished} - {None}
    missing = len(responses(prompt)) - len(parts)
    unknown = min(answers.uncovered, missing * answers.min_prob)
    gold_R = np.array([gold(prompt, completion) for completion in said])
    return Case(answers.probs_R, gold_R, worst=answers.uncovered - unknown, unknown=unknown)


@cache
def _facts() -> Mapping[tuple[str, str], str]:
    """The right value of (attribute, thing)."""
    facts: dict[tuple[str, str], str] = {}
    for line in re.split(r"[|\n]", _ANIMALS.strip() + "\n" + _THINGS.strip()):
        noun, *values = line.split()
        facts.update({(key, noun): value for key, value in zip(VALUES, values, strict=False)})
    return MappingProxyType(facts)


@cache
def _questions() -> Mapping[str, tuple[str, str]]:
    """Question text -> (attribute, thing), in a fixed order."""
    return MappingProxyType(
        {
            phrasing.format(noun): (attribute, noun)
            for attribute, noun in _facts()
            for phrasing in PHRASINGS[attribute]
        }
    )


def _question(prompt: Prompt) -> tuple[str, str]:
    question = _questions().get(_normal(prompt.text))
    if question is None:
        raise DataError(
            f"prompt {prompt.id!r} ({prompt.text!r}) is not a question of the tiny world, whose "
            "gold score knows only its own prompts: use data.prompts=builtin:tiny, or set "
            "collect.gold to a world that scores any prompt"
        )
    return question


def _fact(attribute: str, noun: str, value: str) -> str:
    if attribute == "home":
        return f"the {noun} lives in the {value} ."
    return f"the {noun} is {value} ."


def _render(attribute: str, noun: str, parts: Parts) -> str:
    pieces = (parts.opener, _fact(attribute, noun, parts.value), *parts.fillers, parts.closer)
    return " ".join(piece for piece in pieces if piece)


def _draw(rng: np.random.Generator, mixture: Mixture, attribute: str, noun: str) -> str:
    right = _facts()[attribute, noun]
    wrong = [value for value in VALUES[attribute] if value != right]
    value = right if rng.random() < mixture.right else wrong[rng.integers(len(wrong))]
    num_fillers = rng.choice(MAX_FILLERS + 1, p=mixture.num_fillers)
    parts = Parts(
        opener=_choose(rng, OPENERS, mixture.openers),
        value=value,
        fillers=tuple(_choose(rng, FILLERS, mixture.fillers) for _ in range(num_fillers)),
        closer=_choose(rng, CLOSERS, mixture.closers),
    )
    return _render(attribute, noun, parts)


def _choose(rng: np.random.Generator, table: Mapping[str, float], p: tuple[float, ...]) -> str:
    return list(table)[rng.choice(len(table), p=p)]


def _normal(text: str) -> str:
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


def _take(text: str, choices: Mapping[str, object]) -> tuple[str, str]:
    """The one non-empty choice that ``text`` starts with, and the rest; ("", text) if none."""
    for choice in choices:
        if choice and f"{text} ".startswith(f"{choice} "):
            return choice, text[len(choice) :].lstrip()
    return "", text
