"""The command line: what each verb prints, and errors as one message with exit code 1."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accord import artifacts
from accord.cli import main
from accord.types import Comparison, Completion, Message, Prompt

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def accord(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Run]:
    """``accord("verify", path)`` gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    before = signal.getsignal(signal.SIGTERM)

    def run(*words: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["accord", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def comparisons(tmp_path: Path) -> Path:
    """Two small artifacts, the second made from the first."""
    asked = Prompt("1", (Message("user", "what colour is the fox ?"),))
    with artifacts.write(tmp_path / "prompts", "prompts", seed=0) as folder:
        artifacts.write_records(folder, [asked])
    parent = artifacts.read(tmp_path / "prompts")
    verdict = Comparison(asked, Completion("red ."), Completion("blue ."), "a")
    with artifacts.write(
        tmp_path / "comparisons", "comparisons", parents={"prompts": parent}
    ) as folder:
        artifacts.write_records(folder, [verdict])
    return tmp_path / "comparisons"


def test_dry_run_explains_every_setting_and_does_nothing(accord: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("preset: tiny\nppo:\n  kl_coef: 0.3\n")
    code, out, _ = accord("run", "recipe.yaml", "ppo.num_steps=7", "--dry-run")
    assert code == 0
    lines = {line.split()[1]: line for line in out.splitlines() if len(line.split()) > 2}
    assert "0.3" in lines["ppo.kl_coef"]
    assert "recipe.yaml:3" in lines["ppo.kl_coef"]
    assert "command line" in lines["ppo.num_steps"]
    assert "preset tiny" in lines["model.max_tokens"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "ppo.kl_coeff=0.1"], "did you mean 'kl_coef'"),
        (["run", "--preset", "instructgtp"], "instructgpt"),
        (["sft", "nowhere.yaml"], "nowhere.yaml"),
        (["ppo", "--preset", "tiny", "--out", "empty"], "run `accord sft` on this recipe"),
        (["verify", "nowhere"], "nowhere"),
        (["lineage", "nowhere"], "nowhere: no such artifact"),
        (["chat", "./nowhere"], "could not be loaded"),
        (["export", "nowhere.jsonl", "out.jsonl", "--shape", "messages"], "nowhere.jsonl"),
    ],
)
def test_errors_are_one_message_and_exit_code_1(accord: Run, words: list[str], said: str) -> None:
    code, out, err = accord(*words)
    assert code == 1
    assert said in out + err
    assert "Traceback" not in out + err
    assert (out + err).count("error:") <= 1


def test_an_unknown_key_names_its_line(accord: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("preset: tiny\n\nppo:\n  kl_coeff: 0.3\n")
    code, _, err = accord("run", "r.yaml")
    assert code == 1
    assert "r.yaml:4" in err
    assert "did you mean 'kl_coef'" in err


def test_verify_says_sound_or_what_changed(accord: Run, comparisons: Path) -> None:
    assert accord("verify", comparisons) == (0, f"{comparisons}: sound\n", "")
    path = comparisons.parent / "prompts" / "records.jsonl"
    path.write_text(path.read_text().replace("fox", "bee"))
    code, out, _ = accord("verify", comparisons)
    assert code == 1
    assert "prompts/records.jsonl: content changed" in out


def test_lineage_is_a_tree(accord: Run, comparisons: Path) -> None:
    code, out, _ = accord("lineage", comparisons)
    assert code == 0
    first, second = out.splitlines()
    assert "comparisons" in first
    assert second.startswith("└── ")
    assert "prompts" in second


def test_export_writes_what_others_read(accord: Run, comparisons: Path, tmp_path: Path) -> None:
    code, out, _ = accord("export", comparisons, "trl.jsonl", "--shape", "trl-preference")
    assert (code, out) == (0, "1 rows in trl.jsonl\n")
    (row,) = map(json.loads, (tmp_path / "trl.jsonl").read_text().splitlines())
    assert "red ." in json.dumps(row["chosen"])
    assert "blue ." in json.dumps(row["rejected"])


def test_chat_answers_a_pipe(accord: Run) -> None:
    words = ("chat", "tiny", "--temperature", 0, "--max-tokens", 12)
    code, out, err = accord(*words, stdin="what colour is the fox ?\n\nhow big is the fox ?\n")
    assert code == 0, err
    answers = out.splitlines()
    assert len(answers) == 2
    assert all("fox" in answer for answer in answers)
    code, both, _ = accord(
        *words[:2], "tiny", *words[2:], stdin="what colour is the fox ?\n/reset\n"
    )
    assert code == 0
    assert both.count("[tiny]") == 2
    assert both.count(answers[0]) == 2
    assert both.endswith("(new conversation)\n")


def test_no_verb_shows_help(accord: Run) -> None:
    _, out, err = accord()
    for verb in ("run", "sft", "sample", "collect", "reward", "ppo", "dpo", "evaluate", "chat"):
        assert verb in out + err


@pytest.mark.parametrize(("stop", "code"), [("interrupt", 130), ("terminate", 143)])
def test_stopping_is_no_error(
    accord: Run, monkeypatch: pytest.MonkeyPatch, stop: str, code: int
) -> None:
    """Ctrl-C says how to go on; a scheduler's SIGTERM ends as one."""
    from accord import stages

    def stopped(recipe: object, only: str | None, people: object) -> None:
        if stop == "interrupt":
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(sys.modules[stages.run.__module__], "run", stopped)
    found, out, err = accord("sft", "--preset", "tiny")
    assert found == code
    assert "Traceback" not in out + err
    assert ("goes on from the last finished step" in err) == (stop == "interrupt")


def test_a_stage_gets_its_recipe_and_says_what_it_made(
    accord: Run, monkeypatch: pytest.MonkeyPatch, comparisons: Path, tmp_path: Path
) -> None:
    """Words in any order: the file, settings that win over it, and --out that wins over both."""
    from accord import stages

    asked = []

    def run(recipe: object, only: str | None, people: object) -> artifacts.Artifact:
        asked.append((recipe, only))
        return artifacts.read(comparisons)

    monkeypatch.setattr(sys.modules[stages.run.__module__], "run", run)
    (tmp_path / "r.yaml").write_text("preset: tiny\nout: a\nseed: 1\nppo:\n  kl_coef: 0.3\n")
    words = ("collect", "seed=5", "r.yaml", "out=b", "--out", "c")
    code, out, _ = accord(*words)
    assert code == 0
    assert f"comparisons: {comparisons}" in out
    assert accord("run", "r.yaml")[0] == 0
    (first, only), (second, whole) = asked
    assert (only, whole) == ("collect", None)
    assert (first.seed, first.out, first.ppo.kl_coef) == (5, "c", 0.3)
    assert (second.seed, second.out) == (1, "a")
    code, out, err = accord("run", "r.yaml", "other.yaml")
    assert code == 1
    assert "one recipe at a time" in out + err


@pytest.mark.parametrize("option", [("--temperature", "-1"), ("--max-tokens", "0")])
def test_chat_refuses_what_cannot_be(accord: Run, option: tuple[str, str]) -> None:
    code, out, err = accord("chat", "tiny", *option)
    assert code == 2
    assert option[0] in out + err
