"""What a run starts from: files frozen once, and prompts held out from everything that trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from accord import artifacts, worlds
from accord.config import Recipe
from accord.errors import ArtifactError, ConfigError, DataError
from accord.stages import Inputs, inputs
from accord.types import Comparison, Completion, Prompt, Ranking, to_dict

TINY = worlds.get("tiny")
GOOD, BAD = Completion("yes ."), Completion("no .")


@pytest.fixture
def given(tmp_path: Path, recipe_with: Callable[..., Recipe]) -> Callable[..., Inputs]:
    """``given("data.prompts=...", out="a")`` freezes the inputs of a recipe."""

    def freeze(*settings: str, out: str = "out") -> Inputs:
        return inputs(recipe_with(*settings, f"out={tmp_path / out}"), tmp_path / out)

    return freeze


def write(path: Path, rows: Iterable[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(artifact: artifacts.Artifact | None) -> list[str]:
    """What is asked in each record of an artifact."""
    assert artifact is not None
    records = artifact.records()
    return [(r if isinstance(r, Prompt) else r.prompt).text for r in records]  # type: ignore


def questions(number: int, start: int = 0) -> list[str]:
    return [f"how much is {i} and {i} ?" for i in range(start, start + number)]


@pytest.mark.parametrize("seed", range(4))
def test_no_user_is_on_both_sides(given, tmp_path: Path, seed: int) -> None:
    rows = [{"prompt": text, "tags": [f"user:{n % 8}"]} for n, text in enumerate(questions(40))]
    rows += [{"prompt": text, "tags": ["lang:en"]} for text in questions(10, 40)]
    source = write(tmp_path / "p.jsonl", rows)
    made = given(f"data.prompts={source}", "data.eval_fraction=0.3", f"seed={seed}")
    sides = [
        {tag for record in part.records() for tag in record.tags if tag.startswith("user:")}
        for part in (made.prompts, made.heldout_prompts)
    ]
    assert sides[0] | sides[1] == {f"user:{n}" for n in range(8)} and not sides[0] & sides[1]
    heldout = texts(made.heldout_prompts)
    assert 15 <= len(heldout) < 15 + 5  # a user's five are held out together
    assert sorted(texts(made.prompts) + heldout) == sorted(row["prompt"] for row in rows)


def test_a_single_user_cannot_be_on_both_sides(given, tmp_path: Path) -> None:
    rows = [{"prompt": text, "tags": ["user:1"]} for text in questions(9)]
    with pytest.raises(DataError, match="9 prompts are too few to hold some out by user"):
        given(f"data.prompts={write(tmp_path / 'p.jsonl', rows)}")


@pytest.mark.parametrize("fraction", [0.1, 0.25])
@pytest.mark.parametrize("seed", [0, 3])
def test_held_out_prompts_are_in_nothing_that_trains(given, fraction: float, seed: int) -> None:
    made = given(f"data.eval_fraction={fraction}", f"seed={seed}")
    train, heldout = texts(made.prompts), texts(made.heldout_prompts)
    assert len(heldout) == round(576 * fraction)
    assert sorted(train + heldout) == sorted(p.text for p in TINY.prompts())
    assert not set(heldout) & (set(train) | set(texts(made.demonstrations)))
    assert made.comparisons is None
    assert made.demonstrations is not None
    counted = made.demonstrations.manifest.metrics
    assert counted["num_about_heldout_prompts"] == len(heldout)  # each has one demonstration
    assert counted["num_records"] == 576 - len(heldout)


def test_the_seed_alone_says_which_prompts_are_held_out(given) -> None:
    one, again = given(out="one"), given(out="again")
    other = given("seed=1", out="other")
    assert one.heldout_prompts.hash == again.heldout_prompts.hash
    assert texts(one.heldout_prompts) != texts(other.heldout_prompts)
    assert set(texts(one.heldout_prompts)) != set(texts(other.heldout_prompts))


def test_a_prompt_given_twice_is_never_on_both_sides(given, tmp_path: Path) -> None:
    """The copies that real prompt files hold would otherwise leak into training."""
    path = write(tmp_path / "p.jsonl", ({"prompt": text} for text in questions(10) * 4))
    for seed in range(3):
        made = given(
            f"data.prompts={path}", "data.demonstrations=null", f"seed={seed}", out=str(seed)
        )
        train, heldout = texts(made.prompts), texts(made.heldout_prompts)
        assert not set(train) & set(heldout)
        assert sorted(train + heldout) == sorted(questions(10))
        assert len(heldout) == 2
        assert made.demonstrations is None


def test_verdicts_and_answers_about_held_out_prompts_are_left_out(given, tmp_path: Path) -> None:
    asked = [Prompt(f"p{i}", TINY.prompts()[i].messages) for i in range(20)]
    verdicts = [Comparison(p, GOOD, BAD, "a", id=f"{p.id}-{n}") for p in asked for n in range(3)]
    rankings = [Ranking(p, (GOOD, BAD), (0, 1), id=p.id) for p in asked]
    comparisons = write(tmp_path / "c.jsonl", map(to_dict, [*verdicts, *rankings]))
    answers = write(
        tmp_path / "d.jsonl", ({"prompt": p.text, "completion": "red ."} for p in asked[:10])
    )
    made = given(
        f"data.comparisons={comparisons}", f"data.demonstrations={answers}", "data.prompts=null"
    )
    heldout = set(texts(made.heldout_prompts))
    assert len(heldout) == 4
    assert len(texts(made.prompts)) == 16
    kept = texts(made.comparisons)
    assert len(kept) == 16 * 4
    assert not heldout & {*kept, *texts(made.demonstrations)}
    assert made.comparisons is not None and made.demonstrations is not None
    assert made.comparisons.manifest.metrics["num_about_heldout_prompts"] == 4 * 4
    left_out = sum(p.text in heldout for p in asked[:10])
    assert made.demonstrations.manifest.metrics["num_about_heldout_prompts"] == left_out
    assert {type(r) for r in made.comparisons.records()} == {Comparison, Ranking}


def test_prompts_come_from_what_was_given(given, tmp_path: Path) -> None:
    """Without a source of their own: those of comparisons, then those of demonstrations."""
    answers = write(
        tmp_path / "d.jsonl", ({"prompt": t, "completion": "a ."} for t in questions(6))
    )
    pairs = write(
        tmp_path / "c.jsonl",
        ({"prompt": t, "chosen": "a .", "rejected": "b ."} for t in questions(6, start=3)),
    )
    made = given(f"data.demonstrations={answers}", f"data.comparisons={pairs}", "data.prompts=null")
    found = texts(made.prompts) + texts(made.heldout_prompts)
    assert sorted(found) == sorted(questions(9))
    alone = given(f"data.demonstrations={answers}", "data.prompts=null", out="alone")
    assert sorted(texts(alone.prompts) + texts(alone.heldout_prompts)) == sorted(questions(6))


def test_a_file_s_own_column_names_are_understood(given, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", ({"question": text, "n": 1} for text in questions(5)))
    made = given(
        f"data.prompts={path}", "data.columns={prompt: question}", "data.demonstrations=null"
    )
    assert sorted(texts(made.prompts) + texts(made.heldout_prompts)) == sorted(questions(5))


def test_an_edited_file_is_noticed_under_the_same_name(given, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", ({"prompt": text} for text in questions(8)))
    settings = (f"data.prompts={path}", "data.demonstrations=null")
    first = given(*settings)
    assert given(*settings) == first
    path.write_text(path.read_text().replace("how much", "what"))
    with pytest.raises(ArtifactError, match=r"records: .* -> "):
        given(*settings)
    assert texts(first.prompts) == texts(artifacts.read(first.prompts.path))  # nothing overwritten
    assert given(*settings, out="fresh").prompts.hash != first.prompts.hash


def test_bad_rows_stop_the_run_until_they_are_allowed(given, tmp_path: Path) -> None:
    rows = [{"prompt": text} for text in questions(6)]
    path = write(tmp_path / "p.jsonl", [*rows[:2], {"prompt": ""}, *rows[2:]])
    settings = (f"data.prompts={path}", "data.demonstrations=null")
    with pytest.raises(DataError, match=r"p\.jsonl:3"):
        given(*settings)
    assert not (tmp_path / "out" / "prompts").exists()
    with pytest.warns(UserWarning, match="1 bad rows"):
        made = given(*settings, "data.max_bad_rows=1")
    assert len(texts(made.prompts) + texts(made.heldout_prompts)) == 6
    assert "p.jsonl:3" in (tmp_path / "out" / "bad-rows.txt").read_text("utf-8")


def test_what_cannot_be_split_or_found_is_told(given, tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", [{"prompt": "hi"}])
    with pytest.raises(DataError, match="1 prompts are too few to hold some out"):
        given(f"data.prompts={one}", "data.demonstrations=null")
    with pytest.raises(ConfigError, match="name a file, a hub dataset, or builtin:tiny"):
        given("data.prompts=null", "data.demonstrations=null")
    two = write(tmp_path / "two.jsonl", [{"prompt": "hi"}, {"prompt": "yo"}])
    made = given(f"data.prompts={two}", "data.demonstrations=null", "data.eval_fraction=0.01")
    assert len(texts(made.prompts)) == len(texts(made.heldout_prompts)) == 1
