"""Kill -9 at random moments: every resumed stage must end as if nothing had happened.

    python benchmarks/kill_loop.py --kills 20

For SFT, reward model, PPO and DPO on the tiny model: one run is left alone, the others are killed
with SIGKILL at a random moment (seeded; uniform over the first one's duration) and started again.
The resumed artifact must have the same content hash (weights, tokenizer, config, parents), the same
metrics and the same logged lines, and leave nothing behind. Prints a table; exit code 1 if any run
differs. This process imports everything once and each run is a fork of it, so that the moments fall
into the work and not into imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import torch

from accord import artifacts
from accord.artifacts import Artifact
from accord.config import Recipe, load
from accord.stages import collect, dpo, inputs, ppo, reward, sample, sft

SETTINGS = [
    "sft.max_steps=12",
    "sft.eval_every=4",
    "sft.early_stop_patience=5",
    "sample.num_candidates=3",
    "reward.max_steps=10",
    "reward.eval_every=3",
    "ppo.num_steps=6",
    "ppo.batch_size=24",
    "ppo.num_epochs=2",
    "ppo.samples_every=2",
    "ppo.value_warmup_steps=1",
    "dpo.max_steps=10",
    "dpo.eval_every=3",
    "model.num_threads=1",
    "model.device=cpu",
]
STAGES = ("sft", "reward", "ppo", "dpo")
Stage = Callable[[Path], Artifact]


@dataclass
class Result:
    """What happened to one stage."""

    stage: str
    seconds: float
    steps: int
    killed_at: list[int]
    different: list[str]


def main() -> int:
    """Run the loop; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="random moments a stage")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument(
        "--set", nargs="*", default=[], help="settings, as on accord's command line"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="accord-kill-") as name:
        root = Path(name)
        recipe = load(None, [*SETTINGS, *args.set], "tiny")
        stages = prepare(recipe, root)
        moments = random.Random(args.seed)
        results = [
            kill_stage(stage, stages[stage], root, args.kills, moments) for stage in args.stages
        ]
    print(f"{'stage':8}{'steps':>6}{'seconds':>9}  killed after step (then resumed)")
    for result in results:
        said = " ".join(map(str, result.killed_at))
        print(f"{result.stage:8}{result.steps:6}{result.seconds:9.1f}  {said}")
        for line in result.different:
            print(f"    DIFFERENT: {line}")
    bad = sum(len(result.different) for result in results)
    total = sum(len(result.killed_at) for result in results)
    print(f"{total} kills, {bad} differences")
    return 1 if bad else 0


def prepare(recipe: Recipe, root: Path) -> dict[str, Stage]:
    """Everything the four stages start from, and each stage as a function of its folder."""
    wait(fork(lambda: prepare_inputs(recipe, root / "given"), root / "prepare.log"), root)
    given = {p.name: artifacts.read(p) for p in (root / "given").iterdir() if p.name != "logs"}
    policy, comparisons = given["sft"], given["comparisons"]
    return {
        "sft": lambda out: sft(recipe, recipe.model.name, given["demonstrations"], out),
        "reward": lambda out: reward(recipe, policy, comparisons, out, given["samples"]),
        "ppo": lambda out: ppo(recipe, policy, given["reward"], given["prompts"], out),
        "dpo": lambda out: dpo(recipe, policy, comparisons, out),
    }


def prepare_inputs(recipe: Recipe, out: Path) -> None:
    """The loop up to the reward model, once."""
    given = inputs(recipe, out)
    if given.demonstrations is None:
        raise SystemExit("kill_loop needs demonstrations")
    policy = sft(recipe, recipe.model.name, given.demonstrations, out / "sft")
    samples = sample(recipe, [policy], given.prompts, out / "samples")
    comparisons = collect(recipe, samples, out / "comparisons")
    reward(recipe, policy, comparisons, out / "reward", samples)


def kill_stage(name: str, stage: Stage, root: Path, kills: int, moments: random.Random) -> Result:
    """One run left alone, then ``kills`` runs that are killed once and resumed."""
    whole = root / f"{name}-whole" / name
    started = time.monotonic()
    wait(fork(lambda: stage(whole), root / "whole.log"), root)
    seconds = time.monotonic() - started
    expected = traces(whole)
    result = Result(name, seconds, last_step(whole), [], [])
    while len(result.killed_at) < kills:
        out = root / f"{name}-killed" / name
        child = fork(lambda: stage(out), root / "killed.log")  # noqa: B023
        time.sleep(moments.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):  # else it was done before its moment came
            result.killed_at.append(last_step(out))
            wait(fork(lambda: stage(out), root / "resumed.log"), root)  # noqa: B023
            result.different += compare(expected, traces(out), result.killed_at[-1])
        shutil.rmtree(out.parent, ignore_errors=True)
    shutil.rmtree(whole.parent)
    return result


def traces(out: Path) -> dict[str, object]:
    """Everything a run leaves that must not depend on kills; clock times are left out."""
    made = artifacts.read(out)
    logs = out.parent / "logs" / out.name
    left = {p.relative_to(out.parent).parts[0] for p in out.parent.rglob("*")}
    return {
        "content hash": made.hash,
        "weights": made.manifest.files["model.safetensors"].sha256,
        "metrics of the artifact": made.manifest.metrics,
        "metrics.jsonl": lines(logs / "metrics.jsonl"),
        "samples.jsonl": lines(logs / "samples.jsonl"),
        "problems": artifacts.verify(out),
        "what lies in the folder": sorted(left),
    }


def lines(path: Path) -> list[dict[str, object]]:
    """Logged rows without their clock time."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "time"} for row in rows]


def compare(expected: dict[str, object], got: dict[str, object], step: int) -> list[str]:
    """What differs, one line each."""
    return [
        f"killed after step {step}: {key}: {str(expected[key])[:200]} -> {str(got[key])[:200]}"
        for key in expected
        if expected[key] != got[key]
    ]


def last_step(out: Path) -> int:
    """The last step that was logged, 0 before the first."""
    path = out.parent / "logs" / out.name / "metrics.jsonl"
    rows = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    steps = [json.loads(row)["step"] for row in rows if row.endswith(b"\n")]
    return max(steps, default=0)


def fork(work: Callable[[], object], log: Path) -> int:
    """Run ``work`` in a child whose output goes to a file; returns its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = 1
    try:
        work()
        code = 0
    finally:
        if code:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(child: int, root: Path) -> None:
    """Wait for a child that must succeed; shows what it printed when it does not."""
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        for log in sorted(root.glob("*.log"), key=lambda p: p.stat().st_mtime)[-1:]:
            print(log.read_text("utf-8", errors="replace")[-3000:], file=sys.stderr)
        raise SystemExit(f"a run failed with status {status}")


if __name__ == "__main__":
    sys.exit(main())
