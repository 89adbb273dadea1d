"""The docs are true: their commands run, and what they describe is what the code has.

Each page's ``bash`` and ``python`` blocks run in order in one empty folder that holds a finished
``runs/tiny``. ``accord`` there is this package with settings that make stages take a few steps.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from accord import cli
from accord.config import Recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
STAGES = ["sft", "sample", "collect", "reward", "ppo", "dpo", "evaluate"]

MADE_BY = {
    "samples": "sample",
    "comparisons": "collect",
    "judge": "reward",
    "reward": "reward",
    "report": "evaluate",
}

GENERATED = re.compile(r"<!-- begin .*? -->.*?<!-- end -->", re.S)
BLOCK = re.compile(
    r"(?:<!-- no-test:(?P<reason>.*?)-->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.S | re.M,
)

FAST = (
    "sft.max_steps=2 sample.num_candidates=2 reward.max_steps=2 reward.normalize_samples=8 "
    "ppo.num_steps=2 ppo.batch_size=8 ppo.num_epochs=1 dpo.max_steps=2 evaluate.num_samples=2"
)
WARM = ROOT / "tests" / "warm.py"
SHIM = """#!/usr/bin/env bash
# accord with few steps: the settings follow the page's own.
ask=({python} -IS {warm} ask {socket} accord)
case "$1" in
  run|sft|sample|collect|reward|ppo|dpo|evaluate) exec "${{ask[@]}}" "$@" {fast} ;;
  *) exec "${{ask[@]}}" "$@" ;;
esac
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its code, and why it is not run (None: it is)."""

    language: str
    code: str
    reason: str | None


def blocks(text: str) -> list[Block]:
    """The bash and python blocks that a page's author wrote, in order."""
    return [
        Block(match["language"], match["code"], match["reason"])
        for match in BLOCK.finditer(GENERATED.sub("", text))
    ]


def to_run(page: Path) -> list[Block]:
    """The blocks of a page that are not marked."""
    return [block for block in blocks(page.read_text("utf-8")) if block.reason is None]


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@dataclass(frozen=True)
class Shell:
    """Runs blocks where ``accord`` is a fork of a process that has imported everything."""

    bin: Path

    @property
    def socket(self) -> Path:
        return self.bin / "socket"

    def run(self, block: Block, folder: Path) -> None:
        """Run a block in a folder; fail with everything it printed."""
        if block.language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", block.code]
        else:
            file = folder / ".block.py"
            file.write_text(block.code)
            command = [
                sys.executable,
                "-IS",
                str(WARM),
                "ask",
                str(self.socket),
                "python",
                file.name,
            ]
        path = os.pathsep.join(
            [str(self.bin), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PATH": path, "COLUMNS": "100", "ACCORD_TRACKERS": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{block.code}\n{done.stdout[-4000:]}"


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell on whose PATH ``accord`` is warm and takes few steps."""
    shell = Shell(tmp_path_factory.mktemp("bin"))
    shim = shell.bin / "accord"
    shim.write_text(SHIM.format(python=sys.executable, warm=WARM, socket=shell.socket, fast=FAST))
    shim.chmod(0o755)
    server = subprocess.Popen([sys.executable, str(WARM), "serve", str(shell.socket)])
    try:
        deadline = time.monotonic() + 120
        while not shell.socket.exists():
            assert server.poll() is None, "the server that runs commands did not start"
            assert time.monotonic() < deadline, "the server that runs commands takes too long"
            time.sleep(0.05)
        yield shell
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shell: Shell) -> Path:
    """A folder that holds ``runs/tiny``, made by the command that the docs begin with."""
    folder = tmp_path_factory.mktemp("finished")
    shell.run(Block("bash", "accord run --preset tiny --out runs/tiny", None), folder)
    return folder


@pytest.mark.parametrize("page", [p for p in PAGES if to_run(p)], ids=page_name)
def test_the_page_runs(
    page: Path, tmp_path: Path, shell: Shell, request: pytest.FixtureRequest
) -> None:
    todo = to_run(page)
    if any("runs/tiny" in block.code for block in todo):
        finished: Path = request.getfixturevalue("finished")
        shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for block in todo:
        shell.run(block, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_blocks_that_do_not_run_say_why(page: Path) -> None:
    reasons = [b.reason for b in blocks(page.read_text("utf-8")) if b.reason is not None]
    assert all(len(reason.split()) >= 3 for reason in reasons), reasons


def test_blocks_are_found_and_skipped_as_marked() -> None:
    text = (
        "# Page\n```bash\necho 1\n```\ntext\n<!-- no-test: takes a GPU -->\n```bash\necho 2\n```\n"
        "<!-- begin source x y -->\n```python\nsyntax error(\n```\n<!-- end -->\n"
        "```yaml\na: 1\n```\n```python\nprint(3)\n```\n"
    )
    assert blocks(text) == [
        Block("bash", "echo 1\n", None),
        Block("bash", "echo 2\n", " takes a GPU "),
        Block("python", "print(3)\n", None),
    ]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_generated_parts_are_current(page: Path, generate: ModuleType) -> None:
    text = page.read_text("utf-8")
    assert generate.render(text) == text, "run `python docs/generate.py` (or `make docs`)"


def test_generated_source_is_the_source_without_its_docstring(generate: ModuleType) -> None:
    code = generate.source("algorithms/sft_losses.py", "sft_loss")
    assert "def sft_loss(" in code
    assert "return loss" in code
    assert '"""' not in code
    part = generate.source("algorithms/sft_losses.py", "sft_loss", "loss", "return")
    assert part.splitlines()[1:3] == [
        "# src/accord/algorithms/sft_losses.py: sft_loss",
        "loss = -masked_mean(logprobs_BT, response_mask_BT, denominator)",
    ]
    with pytest.raises(LookupError, match="no function lost"):
        generate.source("algorithms/sft_losses.py", "lost")


def test_every_setting_is_documented() -> None:
    missing = []
    for section, info in Recipe.model_fields.items():
        pages = {"model": "models", "data": "data-formats", "webhook": "studio"}
        page = pages.get(section, section)
        model = info.annotation
        if not hasattr(model, "model_fields"):
            page, fields = "run", [section]
        else:
            fields = list(model.model_fields)
        text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
        missing += [f"{page}.md: {section}.{f}" for f in fields if f"`{f}`" not in text]
    assert missing == []


def test_every_command_is_documented() -> None:
    verbs = set(get_command(cli.app).commands)
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert set(re.findall(r"\| `accord (\w+)", text)) == verbs
    assert set(STAGES) | {"run", "chat", "verify", "lineage", "doctor", "export"} <= verbs


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_page_has_its_parts(stage: str) -> None:
    text = (ROOT / "docs" / f"{stage}.md").read_text("utf-8")
    for part in ("## Equation", "## Commands", "## Recipe", f"accord {stage} "):
        assert part in text, part
    assert "makes" in text


def test_every_logged_metric_is_explained(finished: Path) -> None:
    logs = sorted((finished / "runs" / "tiny" / "logs").glob("*/metrics.jsonl"))
    assert {log.parent.name for log in logs} == {"sft", "ppo", "dpo", *MADE_BY}
    missing = []
    for log in logs:
        page = ROOT / "docs" / f"{MADE_BY.get(log.parent.name, log.parent.name)}.md"
        text = page.read_text("utf-8")
        logged = {key for line in log.read_text().splitlines() for key in json.loads(line)}
        names = sorted(logged - {"step", "time"})
        missing += [f"{page.name}: {name}" for name in names if f"`{name}`" not in text]
    assert missing == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page_name(page)}: {target}")
    assert broken == []
