"""A recipe's round: made once, taken up again, with its checks; who answers raters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord import artifacts, config
from accord.artifacts import Artifact
from accord.config import Recipe
from accord.config.generators import AccordPolicy, OpenAIPolicy
from accord.errors import ConfigError
from accord.store import prepare, rounds
from accord.store.database import Store
from accord.store.from_recipe import find_round, generators, head_to_head, open_round
from accord.types import Completion, Message, Prompt, Record, Sample


def recipe(tmp_path: Path, *settings: str) -> Recipe:
    return config.load(None, [f"out={tmp_path / 'run'}", *settings])


def made(tmp_path: Path, kind: str, **files: list[Record]) -> Artifact:
    """An artifact with records in files of the given names."""
    with artifacts.write(tmp_path / "run" / kind, kind) as folder:
        for name, records in files.items():
            artifacts.write_records(folder, records, f"{name.replace('_', '-')}.jsonl")
    return artifacts.read(tmp_path / "run" / kind)


def sample(number: int, *texts: str) -> Sample:
    prompt = Prompt(f"p{number}", (Message("user", f"Question {number}?"),))
    return Sample(prompt, tuple(Completion(text, "policy") for text in texts))


def samples(tmp_path: Path) -> Artifact:
    return made(tmp_path, "samples", records=[sample(n, "a", "b", "c") for n in range(4)])


def test_pairs_of_the_samples_open_for_judgment(sqlite_store: Store, tmp_path: Path) -> None:
    asked = recipe(tmp_path, "studio.overlap=2", "studio.budget=5", "studio.calibration_share=0")
    found = open_round(asked, sqlite_store, "system", samples=samples(tmp_path))
    assert (found.state, found.task, found.num_items, found.budget) == ("open", "compare", 12, 5)
    assert found.num_wanted == 24
    assert found.schema.name == "hh"
    assert (
        "Longer is not better"
        in rounds.get_guideline(sqlite_store, found.project_id, found.guideline).text
    )


def test_the_same_recipe_goes_on_with_its_round(sqlite_store: Store, tmp_path: Path) -> None:
    asked, drawn = recipe(tmp_path), samples(tmp_path)
    assert find_round(asked, sqlite_store) is None
    first = open_round(asked, sqlite_store, "system", samples=drawn)
    again = open_round(asked, sqlite_store, "system")  # it needs nothing any more
    assert again.id == first.id == find_round(asked, sqlite_store).id  # type: ignore[union-attr]
    assert again.num_items == first.num_items
    second = recipe(tmp_path, "studio.name=round 2", "collect.pairs_per_prompt=1")
    assert open_round(second, sqlite_store, "system", samples=drawn).num_items == 4
    with pytest.raises(ConfigError, match="its task is compare, not rank"):
        open_round(recipe(tmp_path, "studio.task=rank"), sqlite_store, "system", samples=drawn)


def test_what_a_crash_left_as_a_draft_is_finished(sqlite_store: Store, tmp_path: Path) -> None:
    asked, drawn = recipe(tmp_path), samples(tmp_path)
    project = rounds.create_project(sqlite_store, asked.studio.project, "system")
    rounds.create_round(sqlite_store, project.id, "round 1", task="compare", actor="system")
    found = open_round(asked, sqlite_store, "system", samples=drawn)
    assert (found.state, found.num_items) == ("open", 12)


def test_checks_come_from_files_of_verdicts(sqlite_store: Store, tmp_path: Path) -> None:
    files = {}
    for name, num in (("gold", 2), ("anchor", 1), ("training", 7)):
        rows = [
            {"prompt": f"{name} {n}?", "chosen": "right", "rejected": "wrong"} for n in range(num)
        ]
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    guide = tmp_path / "guide.md"
    guide.write_text("Be kind.")
    asked = recipe(
        tmp_path, f"studio.guideline={guide}",
        *(f"studio.{name}_items={path}" for name, path in files.items()),
    )  # fmt: skip
    found = open_round(asked, sqlite_store, "system", samples=samples(tmp_path))
    assert len(rounds.list_items(sqlite_store, found.id, "gold")) == 2
    assert len(rounds.list_items(sqlite_store, found.id, "anchor")) == 1
    assert found.settings.training_items == 5  # enough, though there are seven
    assert rounds.get_guideline(sqlite_store, found.project_id, 1).text == "Be kind."
    missing = recipe(tmp_path, "studio.name=other", "studio.gold_items=nowhere.jsonl")
    with pytest.raises(ConfigError, match=r"studio\.gold_items: there is no file nowhere\.jsonl"):
        open_round(missing, sqlite_store, "system", samples=samples(tmp_path / "two"))


def test_people_write_for_prompts_and_chat_about_nothing(
    sqlite_store: Store, tmp_path: Path
) -> None:
    asked = recipe(tmp_path, "studio.task=demonstrate")
    with pytest.raises(ConfigError, match="needs what `accord sample` makes"):
        open_round(asked, sqlite_store, "system")
    prompts = made(tmp_path, "prompts", records=[sample(n).prompt for n in range(3)])
    found = open_round(asked, sqlite_store, "system", prompts=prompts)
    assert (found.num_items, found.schema.name, found.settings.policies) == (3, "demonstrate", ())
    talk = recipe(tmp_path, "studio.task=chat", "studio.name=talk", "sample.max_tokens=33")
    found = open_round(talk, sqlite_store, "system")
    assert (found.state, found.num_items) == ("open", 0)
    assert found.settings.policies == ("policy",)
    assert found.settings.speech.max_tokens == 33


def test_policies_of_a_report_meet_blind_with_scores(sqlite_store: Store, tmp_path: Path) -> None:
    report = made(
        tmp_path, "report",
        samples_sft=[sample(0, "a"), sample(1, "same"), sample(2, "c")],
        samples_ppo=[sample(0, "x"), sample(1, "same"), sample(2, "z")],
    )  # fmt: skip
    pairs = head_to_head(report)
    assert [[(c.text, c.model) for c in pair.completions] for pair in pairs] == [
        [("x", "ppo"), ("a", "sft")],
        [("z", "ppo"), ("c", "sft")],
    ]
    asked = recipe(tmp_path, "studio.purpose=head_to_head")
    found = open_round(asked, sqlite_store, "system", report=report, scores=[(1, 2), (3, 4)])
    items = rounds.list_items(sqlite_store, found.id)
    assert sorted(item.scores for item in items) == [(1, 2), (3, 4)]
    with pytest.raises(ConfigError, match="holds 1 policy"):
        alone = made(tmp_path / "b", "report", samples_sft=[sample(0, "a")])
        head_to_head(alone)


def test_a_model_named_for_pairs_answers_what_a_lead_queues(
    sqlite_store: Store, tmp_path: Path
) -> None:
    named = recipe(tmp_path, "studio.generator_model=my-policy")
    policy = generators(named).policies["policy"]
    assert isinstance(policy, AccordPolicy) and policy.source == "my-policy"
    found = open_round(named, sqlite_store, "system", samples=samples(tmp_path))
    assert found.settings.policies == ("policy",)
    asked = [Prompt("p", (Message("user", "Why?"),))]
    assert prepare.fill_round(sqlite_store, found.id, asked) == 1


def test_who_answers_raters_follows_from_the_recipe(tmp_path: Path) -> None:
    assert generators(recipe(tmp_path)).policies == {}
    own = generators(recipe(tmp_path, "studio.task=chat")).policies["policy"]
    assert isinstance(own, AccordPolicy)
    assert own.source == str(tmp_path / "run" / "sft")
    draft = recipe(tmp_path, "studio.task=demonstrate", "studio.show_draft=true",
                   "studio.generator=openai", "studio.generator_model=m",
                   "studio.generator_url=http://127.0.0.1:1/v1")  # fmt: skip
    server = generators(draft).policies["policy"]
    assert isinstance(server, OpenAIPolicy)
    assert (server.url, server.model) == ("http://127.0.0.1:1/v1", "m")
