"""The distance from the optimum, on planted policies whose optimum is known in closed form."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from accord import artifacts
from accord.config import load
from accord.types import Completion, Prompt
from accord.worlds import tiny

EOS, VOCAB = 0, 40
WORDS: dict[str, int] = {}
"""Word -> token id, from 1, as the planted texts bring them."""
BETA = 1.5
Distribution = Mapping[str, Mapping[str, float]]  # prompt text -> answer -> probability


class Planted:
    """A policy that gives each answer its planted probability, as a network would: word by word."""

    def __init__(self, answers: Distribution) -> None:
        self.network = SimpleNamespace(model=answers)
        self.chat = SimpleNamespace(encode=lambda tokenizer, prompt: [-1, *tokens(prompt.text)])
        self.tokenizer, self.eos_id = None, EOS

    def text(self, ids: list[int]) -> str:
        names = {token: word for word, token in WORDS.items()}
        return " ".join(names[i] for i in ids)


class Walk:
    """Log-probabilities of the next word, by summing over the answers that go on from a prefix."""

    def __init__(self, answers: Distribution) -> None:
        self.answers = {tuple(tokens(prompt)): found for prompt, found in answers.items()}
        self.prefixes: list[tuple[int, ...]] = []

    def __call__(self, parents: np.ndarray, new: np.ndarray) -> np.ndarray:
        if not self.prefixes:
            self.found = self.answers[tuple(new[0].tolist()[1:])]
            self.prefixes = [()]
        else:
            self.prefixes = [
                (*self.prefixes[parent], int(token))
                for parent, (token,) in zip(parents, new, strict=True)
            ]
        rows = np.zeros((len(self.prefixes), VOCAB))
        for row, prefix in zip(rows, self.prefixes, strict=True):
            for answer, prob in self.found.items():
                path = (*tokens(answer), EOS)
                if path[: len(prefix)] == prefix and len(path) > len(prefix):
                    row[path[len(prefix)]] += prob
        with np.errstate(divide="ignore"):
            return np.log(rows / rows.sum(axis=1, keepdims=True))


def tokens(text: str) -> list[int]:
    return [WORDS.setdefault(word, len(WORDS) + 1) for word in text.split()]


def reference(prompts: list[Prompt]) -> Distribution:
    """Three true and two false answers and some garbage to each question, a little different."""
    found = {}
    for i, prompt in enumerate(prompts):
        noun = prompt.text.split()[-2]
        right = "red" if noun == "fox" else "blue"
        wrong = "black" if i else "white"
        fact = f"the {noun} is"
        answers = {
            f"{fact} {right} .": 0.3,
            f"happy to help ! {fact} {right} .": 0.05 + 0.02 * i,
            f"{fact} {right} . now go away .": 0.2,
            f"{fact} {wrong} .": 0.25,
            f"silly question ! {fact} {wrong} .": 0.1,
            "go away": 0.1 - 0.02 * i,
        }
        assert sum(answers.values()) == pytest.approx(1.0)
        found[prompt.text] = answers
    return found


def gold(prompt: str, answer: str) -> float:
    asked = next(p for p in tiny.prompts() if p.text == prompt)
    return tiny.gold(asked, Completion(answer))


def tilted(answers: Distribution, score: Callable[[str, str], float]) -> Distribution:
    """rho * exp(score / beta) / Z of each prompt."""
    found = {}
    for prompt, given in answers.items():
        raised = {a: p * math.exp(score(prompt, a) / BETA) for a, p in given.items()}
        found[prompt] = {a: p / sum(raised.values()) for a, p in raised.items()}
    return found


def mean_gold(answers: Distribution) -> float:
    means = [sum(p * gold(q, a) for a, p in given.items()) for q, given in answers.items()]
    return sum(means) / len(means)


def mean_kl(ours: Distribution, theirs: Distribution) -> float:
    kls = [sum(p * math.log(p / theirs[q][a]) for a, p in ours[q].items()) for q in ours]
    return sum(kls) / len(kls)


@pytest.fixture
def prompts() -> list[Prompt]:
    asked = {p.text: p for p in tiny.prompts()}
    return [asked[f"what colour is the {noun} ?"] for noun in ("sky", "fox", "berry")]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("optimum_gap")


@pytest.fixture
def plant(module: ModuleType, prompts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable:
    """``plant(policy)`` makes a finished run's folder where PPO made that policy."""
    with artifacts.write(tmp_path / "heldout_prompts", "prompts") as folder:
        artifacts.write_records(folder, prompts)
    (tmp_path / "recipe.yaml").write_text("preset: tiny\n")
    assert load(tmp_path / "recipe.yaml").ppo.max_tokens > 12

    def make(policy: Distribution) -> Path:
        made = {tmp_path / "sft": reference(prompts), tmp_path / "ppo": policy}
        monkeypatch.setattr(module, "load_policy", lambda path, config: Planted(made[path]))
        monkeypatch.setattr(module, "NextLogprobs", Walk)
        return tmp_path

    return make


def test_the_reference_itself_has_nothing_to_gain(module, plant, prompts) -> None:
    found = module.gap(plant(reference(prompts)))
    expected = mean_gold(reference(prompts))
    assert found.kl == pytest.approx(0.0, abs=1e-9)
    assert found.reference_gold == pytest.approx(expected)
    assert found.policy_gold == pytest.approx(expected)
    assert found.optimum_gold == pytest.approx(expected, abs=1e-5)
    assert found.ratio == pytest.approx(1.0, abs=1e-4)


def test_the_tilted_reference_is_the_optimum(module, plant, prompts) -> None:
    best = tilted(reference(prompts), gold)
    found = module.gap(plant(best))
    assert found.kl == pytest.approx(mean_kl(best, reference(prompts)), rel=1e-6)
    assert found.kl > 0.3
    assert found.policy_gold == pytest.approx(mean_gold(best))
    assert found.ratio == pytest.approx(1.0, abs=1e-5)
    assert found.gain_ratio == pytest.approx(1.0, abs=1e-5)
    assert found.optimum_bound == pytest.approx(found.optimum_gold, abs=1e-9)  # nothing unknown


def test_a_policy_tilted_by_another_score_falls_short(module, plant, prompts) -> None:
    """One that likes short answers, and one that likes what the raters hate."""

    def short(prompt: str, answer: str) -> float:
        return -0.5 * len(answer.split())

    def hateful(prompt: str, answer: str) -> float:
        return -gold(prompt, answer)

    rows = []
    for score in (short, hateful):
        policy = tilted(reference(prompts), score)
        found = module.gap(plant(policy))
        assert found.policy_gold == pytest.approx(mean_gold(policy))
        assert found.kl == pytest.approx(mean_kl(policy, reference(prompts)), rel=1e-6)
        assert found.optimum_gold > found.reference_gold
        rows.append(found.gain_ratio)
    assert rows[0] < 0.9
    assert rows[1] < 0.0
    assert rows[1] < rows[0]


def test_fewer_prompts_are_spread_over_all(module, plant, prompts) -> None:
    best = tilted(reference(prompts), gold)
    found = module.gap(plant(best), num_prompts=1)
    first = {prompts[0].text: best[prompts[0].text]}
    assert found.policy_gold == pytest.approx(mean_gold(first))


def test_nothing_to_gain_is_no_number(module) -> None:
    assert math.isnan(module.Gap(0.0, 1.0, 1.0, 1.0, 1.0).gain_ratio)
    half = module.Gap(1.0, 1.0, 1.5, 2.0, 2.0)
    assert (half.ratio, half.gain_ratio) == (0.75, 0.5)


def test_a_row_a_run_is_printed(
    module, plant, prompts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = plant(tilted(reference(prompts), gold))
    monkeypatch.setattr(sys, "argv", ["optimum_gap.py", str(run), "--prompts", "3"])
    module.main()
    row = json.loads(capsys.readouterr().out)
    assert row["run"] == str(run)
    assert (row["policy"], row["ratio"], row["gain_ratio"]) == ("ppo", 1.0, 1.0)
