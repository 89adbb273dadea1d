"""The quick start over several seeds: win rates with intervals, KL, minutes, memory.

Each seed is one ``accord run`` in a process of its own, as a user would start it. Usage:
python benchmarks/quickstart_seeds.py --preset tiny --seeds 0 1 2 --out runs/tiny-seeds
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from accord.config import load
from accord.types import Reading, from_dict

GOLD, JUDGE = "win_rate/gold raters", "win_rate/held-out reward model"


def run(preset: str, seed: int, out: Path, overrides: list[str]) -> dict[str, float]:
    """Run one seed; minutes and peak memory (GB) of the process, from the kernel's accounting."""
    command = [sys.executable, "-m", "accord.cli", "run", "--preset", preset, "--out", str(out)]
    start = time.monotonic()
    with (out.parent / f"{out.name}.log").open("w") as log:
        process = subprocess.Popen([*command, f"seed={seed}", *overrides], stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"seed {seed} failed; see {out.parent / f'{out.name}.log'}")
    return {
        "minutes": (time.monotonic() - start) / 60,
        "cpu_minutes": (usage.ru_utime + usage.ru_stime) / 60,
        "memory_gb": usage.ru_maxrss / (1 << 20),
    }


def readings(out: Path, policy: str) -> dict[str, Reading]:
    """The report's readings of one policy, by gauge."""
    lines = (out / "report" / f"readings-{policy}.jsonl").read_text().split("\n")
    records = [from_dict(json.loads(line)) for line in lines if line]
    return {r.gauge: r for r in records if isinstance(r, Reading)}


def row(out: Path, seed: int, policy: str, cost: dict[str, float], tiny: bool) -> dict[str, Any]:
    """One line of the table."""
    found = readings(out, policy)
    made: dict[str, Any] = {"seed": seed, "policy": policy, **cost}
    for name, gauge in (("gold", GOLD), ("judge", JUDGE), ("kl", "kl/sequence")):
        reading = found[gauge]
        assert reading.interval is not None
        made[name] = reading.value
        made[f"{name}_low"], made[f"{name}_high"] = reading.interval
    if tiny:
        from optimum_gap import gap

        share = gap(out, policy)
        made["optimum_ratio"], made["gain_ratio"] = share.ratio, share.gain_ratio
    return made


def table(rows: list[dict[str, Any]], kl_target: float | None) -> str:
    """The rows as Markdown."""
    lines = [
        "| seed | policy | wins by gold raters | wins by held-out reward model | KL, nats "
        "| gold / exact optimum | minutes | peak memory, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        target = f" (target {kl_target:g})" if r["policy"] == "ppo" and kl_target else ""
        optimum = f"{r['optimum_ratio']:.0%}" if "optimum_ratio" in r else "not known"
        lines.append(
            f"| {r['seed']} | {r['policy']} "
            f"| {r['gold']:.0%} ({r['gold_low']:.0%} to {r['gold_high']:.0%}) "
            f"| {r['judge']:.0%} ({r['judge_low']:.0%} to {r['judge_high']:.0%}) "
            f"| {r['kl']:.2f}{target} | {optimum} "
            f"| {r['minutes']:.1f} | {r['memory_gb']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the seeds one after the other; print the table and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", metavar="SECTION.FIELD=VALUE")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    recipe = load(None, arguments.overrides, arguments.preset)
    costs: dict[int, dict[str, float]] = {}
    for seed in arguments.seeds:  # all runs first: a child's peak memory starts at its parent's
        kept = arguments.out / f"seed-{seed}.cost.json"
        if not kept.exists():
            cost = run(arguments.preset, seed, arguments.out / f"seed-{seed}", arguments.overrides)
            kept.write_text(json.dumps(cost))
        costs[seed] = json.loads(kept.read_text())
    tiny = recipe.model.name == "tiny"
    rows = [
        row(arguments.out / f"seed-{seed}", seed, policy, cost, tiny)
        for seed, cost in costs.items()
        for policy in ("ppo", "dpo")
    ]
    (arguments.out / "rows.json").write_text(json.dumps(rows, indent=1))
    print(table(rows, recipe.ppo.kl_target))


if __name__ == "__main__":
    main()
