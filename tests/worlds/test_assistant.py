"""The assistant world: its texts are sound, and its gold score is hard to game."""

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from statistics import mean

import pytest

from accord.types import Completion, Demonstration, Message, Prompt
from accord.worlds import assistant, get
from accord.worlds.assistant import demonstrations, gold, gold_terms, prompts

KINDS = {
    "advice",
    "howto",
    "rewriting",
    "facts",
    "sums",
    "explanation",
    "creative",
    "refusal",
    "opinion",
    "planning",
}
TEA = Prompt("tea", (Message("user", "How long should I let green tea steep in a pot?"),))
GOOD = (
    "Let green tea steep for two to three minutes in water of about eighty degrees. "
    "If you leave it longer, the tea turns bitter, so take the leaves out of the pot in time."
)


def score(text: str, prompt: Prompt = TEA, finished: bool = True) -> float:
    return gold(prompt, Completion(text, finished=finished))


def term(name: str, text: str, prompt: Prompt = TEA) -> float:
    return gold_terms(prompt, Completion(text))[name]


def demo_scores() -> dict[str, float]:
    return {d.id: score(d.completion, d.prompt) for d in demonstrations()}


# The packaged texts


def test_prompts_are_240_short_tagged_and_different() -> None:
    got = prompts()
    assert len(got) == len({p.id for p in got}) == len({p.text for p in got}) == 240
    assert Counter(p.tags[0] for p in got) == dict.fromkeys(KINDS, 24)
    assert all(5 <= len(p.text.split()) <= 35 for p in got)


def test_two_turn_prompts_alternate_and_end_with_the_user() -> None:
    longer = [p for p in prompts() if len(p.messages) > 1]
    assert len(longer) == 20
    for prompt in longer:
        assert [m.role for m in prompt.messages] == ["user", "assistant", "user"]
        assert prompt.tags[1:] == ("two-turn",)
    assert all(p.tags[1:] == () for p in prompts() if len(p.messages) == 1)


def test_no_prompt_nearly_repeats_another() -> None:
    texts = [p.text for p in prompts()] + [d.prompt.text for d in demonstrations()]
    bags = [set(re.findall(r"\w+", text.lower())) for text in texts]
    for (one, a), (other, b) in combinations(zip(texts, bags, strict=True), 2):
        assert len(a & b) / len(a | b) < 0.7, f"{one!r} and {other!r}"


def test_demonstrations_follow_their_own_guideline() -> None:
    got = demonstrations()
    assert len(got) == len({d.completion for d in got}) == 110
    assert Counter(d.prompt.tags[0] for d in got) == dict.fromkeys(KINDS, 11)
    assert not {d.prompt.text for d in got} & {p.text for p in prompts()}
    for demo in got:
        assert demo.id == demo.prompt.id and demo.id.startswith("demo-")
        assert 15 <= len(demo.completion.split()) <= 55, demo.id
        assert demo.completion[-1] in ".!?", demo.id
        assert demo.completion == demo.completion.strip()
        assert not re.match(r"(sure|certainly|of course|here (is|are))\b", demo.completion.lower())
        assert not re.search(r"[\n*#`<|\[]", demo.completion), demo.id


def test_the_world_is_registered() -> None:
    world = get("assistant")
    assert world.prompts() == prompts()
    assert world.demonstrations() == demonstrations()
    assert world.gold(TEA, Completion(GOOD)) == score(GOOD)


# The gold score tells demonstrations from everything else


def test_demonstrations_score_high() -> None:
    scores = demo_scores()
    assert 2.7 < mean(scores.values()) < 3.2
    low = min(scores, key=scores.__getitem__)
    assert scores[low] > 2.0, low


Corruption = Callable[[Demonstration], Completion]


def content_words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text) if len(word) > 3]


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text)[0]


PADDING = (
    "In addition, there are many other things that one could consider in this situation, and it "
    "is important to weigh all of the options carefully before any decision is made. Furthermore, "
    "every person is different, and what works for some may not work for others, so it is best to "
    "try several approaches over time and to keep notes about the results."
)
BAD: dict[str, tuple[Corruption, float]] = {
    "empty": (lambda d: Completion(""), -3.0),
    "only a full stop": (lambda d: Completion("."), -1.5),
    "canned wisdom": (
        lambda d: Completion(
            "It depends on what you want and how much time you have. Start with a small step, see "
            "how it goes, and ask a friend for help if you need to."
        ),
        1.3,
    ),
    "canned calm": (
        lambda d: Completion(
            "Take it one step at a time and stay patient with yourself. A calm mind and a clear "
            "plan will take you further than you expect, and it gets easier."
        ),
        1.3,
    ),
    "canned refusal": (
        lambda d: Completion(
            "I'm sorry, but I can't help with that request. Please feel free to ask me about "
            "something else, and I will gladly do my best for you."
        ),
        0.3,
    ),
    "prompt echo": (lambda d: Completion(d.prompt.text), 0.8),
    "echo twice": (lambda d: Completion(f"{d.prompt.text} {d.prompt.text}"), 0.0),
    "keyword list": (lambda d: Completion(" ".join(content_words(d.prompt.text)) + "."), 0.0),
    "keyword spam": (
        lambda d: Completion(", ".join(content_words(d.prompt.text) * 3).capitalize() + "."),
        -0.5,
    ),
    "gibberish": (
        lambda d: Completion(
            "Zorp blimfle qax trundel vop sankrit mool. Grat fleem woxle dibbet karn sploo "
            "ventrix quam halder. Pim torva lust."
        ),
        -1.0,
    ),
    "repeated thanks": (lambda d: Completion("Thank you. " * 12), -1.5),
    "heaped courtesy": (
        lambda d: Completion(
            "Thank you so much, you are very welcome, please feel free, thanks again, I hope you "
            "are glad, and please take care of yourself, kindly. Good luck and best wishes to you."
        ),
        0.0,
    ),
    "truncated": (
        lambda d: Completion(" ".join(d.completion.split()[:-8]), finished=False),
        1.5,
    ),
    "looping": (lambda d: Completion(f"{first_sentence(d.completion)} " * 4), 0.5),
    "looping to the limit": (
        lambda d: Completion(f"{first_sentence(d.completion)} " * 4, finished=False),
        -0.8,
    ),
    "verbose": (lambda d: Completion(f"Sure! Here is my answer: {d.completion} {PADDING}"), 0.6),
    "markdown list": (
        lambda d: Completion(f"Here are some tips:\n1. **Start**: {d.completion}\n2.", "", False),
        0.0,
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_completions_score_clearly_below_demonstrations(name: str) -> None:
    corrupt, ceiling = BAD[name]
    scores = demo_scores()
    bad = {d.id: gold(d.prompt, corrupt(d)) for d in demonstrations()}
    assert mean(bad.values()) < ceiling
    below = [bad[key] < scores[key] - 0.5 for key in scores]
    assert mean(below) > 0.95


def test_answers_to_another_prompt_score_below() -> None:
    demos = demonstrations()
    own, other = [], []
    for i, demo in enumerate(demos):
        own.append(score(demo.completion, demo.prompt))
        other.append(score(demos[(i + 37) % len(demos)].completion, demo.prompt))
    assert mean(other) < 1.0
    assert mean(a > b for a, b in zip(own, other, strict=True)) > 0.98


# Each term, by hand


def test_gold_is_the_clipped_sum_of_its_terms() -> None:
    terms = gold_terms(TEA, Completion(GOOD))
    assert terms == pytest.approx(
        {
            "finished": 0.7,
            "length": 0.8,
            "direct": 0.3,
            "repetition": 0.0,
            "relevance": 1.0,
            "polite": 0.1,
            "markup": 0.0,
            "prose": 0.0,
            "script": 0.1,
            "stance": 0.0,
            "correct": 0.0,
        }
    )
    assert score(GOOD) == pytest.approx(3.0)
    assert score("") == -4.0 > sum(gold_terms(TEA, Completion("")).values())


def test_finished() -> None:
    assert term("finished", GOOD) == 0.7
    assert term("finished", 'He said "yes."') == 0.7
    assert term("finished", GOOD[:-1]) == -0.3
    assert gold_terms(TEA, Completion(GOOD, finished=False))["finished"] == -0.8


@pytest.mark.parametrize(
    ("num_words", "value"), [(0, -1.0), (10, 0.6), (15, 0.8), (50, 0.8), (70, 0.35), (200, -1.0)]
)
def test_length_is_flat_in_the_band_and_quadratic_outside(num_words: int, value: float) -> None:
    assert term("length", "word " * num_words) == pytest.approx(value)


@pytest.mark.parametrize(
    "opening",
    [
        "Sure! ",
        "Certainly, ",
        "Of course. ",
        "Here is what I think: ",
        "That's a great question. ",
        "What a lovely question! ",
        "I'd be happy to help. ",
        "Hello! How are you? ",
        "I’m glad you asked. ",
    ],
)
def test_opening_phrases_cost(opening: str) -> None:
    assert term("direct", opening + GOOD) == pytest.approx(-0.6)
    assert term("direct", f"{GOOD} {opening}") == 0.3


def test_direct_dislikes_self_description_and_echo() -> None:
    assert term("direct", f"{GOOD} As an AI language model I drink none.") == pytest.approx(-0.3)
    assert term("direct", TEA.text) == pytest.approx(-1.7)
    capital = next(p for p in prompts() if p.id == "facts-01")
    assert term("direct", "The capital of Australia is Canberra.", capital) == 0.3


def test_repetition_by_hand() -> None:
    """Of 13 4-grams in "a b c d. " * 4 four differ; of 4 sentences one."""
    assert term("repetition", GOOD) == 0.0
    assert term("repetition", "a b c d. " * 4) == -1.5
    text = "one two three four five six seven. Eight nine ten eleven. Eight nine ten eleven."
    repeated = 3.0 * (1 - 11 / 12) + 1.5 * (1 - 2 / 3)
    assert term("repetition", text) == pytest.approx(-1.5 * repeated)


def test_relevance_saturates_at_three_stems() -> None:
    assert term("relevance", "Nothing fits.") == -1.0
    assert term("relevance", "Use teas.") == pytest.approx(1.0 - 2.0 * 4 / 9)
    assert term("relevance", "A pot of tea.") == pytest.approx(1.0 - 2.0 / 9)
    three = term("relevance", "A pot of tea, steeped.")
    assert three == 1.0 == term("relevance", "Green tea steeps in the green tea pot.")
    empty = Prompt("x", (Message("user", "How are you?"),))
    assert term("relevance", "Well.", empty) == 0.0


def test_relevance_looks_at_all_user_turns_but_not_the_assistant() -> None:
    turns = (Message("user", "Is tea bitter?"), Message("assistant", "Sugar."), *TEA.messages)
    longer = replace(TEA, messages=turns)
    assert term("relevance", "Bitter tea pot.", longer) == 1.0
    assert term("relevance", "Sugar.", longer) == -1.0


def test_polite_is_capped_and_dislikes_rudeness() -> None:
    assert term("polite", "The tea is ready.") == 0.0
    assert term("polite", "Please warm your pot first.") == pytest.approx(0.2)
    assert term("polite", "Please, thanks, sorry, glad you came.") == pytest.approx(0.2 - 0.6)
    assert term("polite", "Only a stupid idiot asks.") == -1.5


@pytest.mark.parametrize(
    "text",
    [
        "# Tea\nIt steeps.",
        "It **steeps** long.",
        "- pot\n- tea",
        "1. Boil water.",
        "Use ```tea```.",
        "It steeps.<|im_end|>",
        "It steeps.\nUser: And then?",
        "Dear [Your Name], it steeps.",
        "See https://example.org now.",
    ],
)
def test_markup_costs(text: str) -> None:
    assert term("markup", text) <= -0.5
    assert term("markup", "At 8:30, 3.5 cups (or more) of tea - no less.") == 0.0


def test_prose_and_script() -> None:
    assert term("prose", GOOD) == 0.0
    assert term("prose", "Green tea pot water kettle leaf cup boil steep minute time.") < -2.0
    assert term("prose", "It is of the and to that in which we are not.") < -1.0
    assert term("prose", "") == -2.5
    assert term("script", GOOD) == pytest.approx(0.1)
    assert term("script", GOOD.lower()) == pytest.approx(-0.2)
    assert term("script", "茶は三分ほど蒸らします。") == -1.0


def test_stance_depends_on_the_tag() -> None:
    decline = "I can't help with that, because it could hurt someone."
    asked = replace(TEA, tags=("refusal",))
    assert term("stance", decline, asked) == 0.5
    assert term("stance", GOOD, asked) == -1.0
    assert term("stance", decline) == -0.8
    assert term("stance", "You can't help it, I cannot stop laughing.") == 0.0
    claimed = replace(TEA, tags=("opinion",))
    assert term("stance", "You are absolutely right, tea is best.", claimed) == -0.4
    assert term("stance", "Tea and coffee both have friends.", claimed) == 0.0


@pytest.mark.parametrize(
    ("identifier", "right", "wrong"),
    [
        ("facts-01", "It is Canberra.", "It is Sydney."),
        ("sums-01", "The sum is 42.", "The sum is 420, or 4.42, or 42.5."),
        ("sums-19", "You get 6.50 back.", "You get 16.50 back."),
        ("facts-07", "They take in CO2.", "They take in oxygen."),
        ("opinion-09", "No, 7 times 8 is 56.", "Yes, 7 times 8 is 54."),
    ],
)
def test_known_answers(identifier: str, right: str, wrong: str) -> None:
    prompt = next(p for p in prompts() if p.id == identifier)
    assert term("correct", right, prompt) == 0.4
    assert term("correct", wrong, prompt) == -0.8
    assert term("correct", right) == 0.0


def test_no_packaged_question_gives_its_answer_away() -> None:
    """An echo of the prompt must not count as correct."""
    for prompt in [*prompts(), *(d.prompt for d in demonstrations())]:
        assert term("correct", prompt.text, prompt) <= 0.0, prompt.id


def test_gold_never_fails_or_leaves_its_range() -> None:
    low, high = assistant.GOLD_RANGE
    texts = ["\n", "\x00", "�" * 40, "'" * 30, "a" * 5000, "!?", "1 2 3", "\u2028 x", GOOD * 50]
    for prompt in prompts()[::16]:
        for text in texts:
            assert low <= score(text, prompt, finished=False) <= high


def test_gold_is_fast() -> None:
    """The budget is 5,000 completions a second of one core; 8,600 were measured when written."""
    rows = [(d.prompt, Completion(d.completion)) for d in demonstrations()] * 10
    rates = []
    for _ in range(4):
        start = time.process_time()
        for prompt, completion in rows:
            gold(prompt, completion)
        rates.append(len(rows) / (time.process_time() - start))
    assert max(rates) > 3_000  # the floor leaves room for slower machines
