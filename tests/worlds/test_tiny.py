"""The tiny world's gold score, by hand arithmetic, and the size of its grammar."""

from __future__ import annotations

import pytest

from accord.errors import ConfigError, DataError
from accord.types import Completion, Message, Prompt
from accord.worlds import get, tiny

SKY = next(p for p in tiny.prompts() if p.text == "what colour is the sky ?")
CAT = next(p for p in tiny.prompts() if p.text == "where does the cat live ?")


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        (SKY, "the sky is blue .", 1.5),
        (SKY, "the sky is green .", -1.0),
        (SKY, "happy to help ! the sky is blue . hope that helps !", 3.0),
        (SKY, "good question ! the sky is blue . ask me anything !", 2.5),
        (SKY, "well , the sky is blue . people say so . let me think .", 0.75),
        (SKY, "the sky is blue . i like that . i like that . now go away .", 1.0),
        (SKY, "silly question ! the sky is red . as i said . as i said . now go away .", -3.0),
        (CAT, "the cat lives in the house .", 1.5),
        (CAT, "The cat lives in the house.", 1.5),
        (CAT, "happy to help ! the cat lives in the sea .", -0.25),
    ],
)
def test_gold_adds_up_the_parts(prompt: Prompt, text: str, expected: float) -> None:
    assert tiny.gold(prompt, Completion(text)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blue",
        "the sky is blue",
        "the sky is sea .",
        "the sun is blue .",
        "the sky lives in the sea .",
        "the sky is blue . the sky is blue .",
        "the sky is bluegreen .",
        "well , well , the sky is blue .",
        "hope that helps ! the sky is blue .",
        "the sky is blue . i like that . i like that . i like that .",
        "the sky is blue . now go away . i like that .",
        "\x00 <eos> 🙂",
    ],
)
def test_whatever_the_grammar_forbids_is_worth_the_lowest(text: str) -> None:
    assert tiny.gold(SKY, Completion(text)) == tiny.LOWEST


def test_cut_off_text_is_worth_the_lowest() -> None:
    assert tiny.gold(SKY, Completion("the sky is blue .", finished=False)) == tiny.LOWEST


def test_a_foreign_prompt_is_an_error_with_a_remedy() -> None:
    prompt = Prompt("mine", (Message("user", "who are you ?"),))
    with pytest.raises(DataError, match=r"mine.*builtin:tiny"):
        tiny.gold(prompt, Completion("the sky is blue ."))


def test_prompts_are_distinct_tagged_and_many() -> None:
    prompts = tiny.prompts()
    assert len(prompts) == len({p.id for p in prompts}) == len({p.text for p in prompts}) == 576
    assert SKY.tags == ("colour", "sky")
    assert CAT.tags == ("home", "cat")
    assert len(tiny.vocabulary()) == 97


def test_the_grammar_is_small_and_its_scores_bounded() -> None:
    words = set(tiny.vocabulary())
    for prompt in (SKY, CAT, next(p for p in tiny.prompts() if p.tags == ("size", "ant"))):
        texts = tiny.responses(prompt)
        scores = [tiny.gold(prompt, Completion(text)) for text in texts]
        values = len(tiny.VALUES[prompt.tags[0]])
        assert len(set(texts)) == len(texts) == 5 * values * (1 + 4 + 16) * 4 <= 3000
        assert max(scores) == tiny.HIGHEST
        assert min(scores) == -3.0 > tiny.LOWEST
        assert max(len(text.split()) + 1 for text in texts) <= tiny.MAX_TOKENS
        assert {word for text in texts for word in text.split()} <= words


def test_every_fact_is_in_its_attribute_and_right_answers_score_higher() -> None:
    for prompt in tiny.prompts():
        bare = [r for r in tiny.responses(prompt) if r.startswith("the ") and r.count(".") == 1]
        scores = [tiny.gold(prompt, Completion(text)) for text in bare if text.endswith(" .")]
        assert scores.count(1.5) == 1
        assert scores.count(-1.0) == len(tiny.VALUES[prompt.tags[0]]) - 1


def test_parse_is_the_inverse_of_the_grammar() -> None:
    parts = [tiny.parse(CAT, text) for text in tiny.responses(CAT)]
    assert None not in parts
    assert len(set(parts)) == len(parts)


def test_demonstrations_are_better_than_the_raw_text_and_leave_room() -> None:
    by_text = {p.text: p for p in tiny.prompts()}
    raw = tiny.pretraining_text(0, 5760)
    raw_scores = [tiny.gold(by_text[question], Completion(answer)) for question, answer in raw]
    demonstrations = tiny.demonstrations()
    scores = [tiny.gold(d.prompt, Completion(d.completion)) for d in demonstrations]
    assert min(raw_scores) > tiny.LOWEST
    assert min(scores) > tiny.LOWEST
    assert sum(raw_scores) / len(raw_scores) == pytest.approx(0.70, abs=0.1)
    assert sum(scores) / len(scores) == pytest.approx(1.85, abs=0.2)
    assert [d.prompt for d in demonstrations] == tiny.prompts()
    right = [tiny.parse(by_text[q], a) for q, a in raw]
    share = sum(
        p is not None and _is_right(by_text[q], p) for (q, _), p in zip(raw, right, strict=True)
    )
    assert share / len(raw) == pytest.approx(0.80, abs=0.02)


def test_text_depends_on_the_seed_alone() -> None:
    assert tiny.pretraining_text(3, 50) == tiny.pretraining_text(3, 50)
    assert tiny.pretraining_text(3, 50) != tiny.pretraining_text(4, 50)
    assert tiny.demonstrations(1) == tiny.demonstrations(1) != tiny.demonstrations(2)


def test_get_finds_the_world_and_refuses_others() -> None:
    world = get("tiny")
    assert world.prompts() == tiny.prompts()
    assert world.gold(SKY, Completion("the sky is blue .")) == 1.5
    with pytest.raises(ConfigError, match=r"'moon'.*tiny, assistant"):
        get("moon")


def _is_right(prompt: Prompt, parts: tiny.Parts) -> bool:
    bare = f"the {prompt.tags[1]} is {parts.value} ."
    if prompt.tags[0] == "home":
        bare = f"the {prompt.tags[1]} lives in the {parts.value} ."
    return tiny.gold(prompt, Completion(bare)) == 1.5
