"""Kill -9 at random moments: resumed runs end with the same bits (benchmarks/kill_loop.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KILL_LOOP = Path(__file__).parents[2] / "benchmarks" / "kill_loop.py"
SMALL = [
    "sft.max_steps=6",
    "sft.eval_every=3",
    "reward.max_steps=5",
    "reward.eval_every=2",
    "ppo.num_steps=4",
    "ppo.batch_size=12",
    "dpo.max_steps=5",
    "sample.num_candidates=2",
]


def test_killed_stages_end_bit_for_bit() -> None:
    done = subprocess.run(
        [sys.executable, KILL_LOOP, "--kills", "2", "--set", *SMALL],
        env={**os.environ, "ACCORD_TRACKERS": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 kills, 0 differences" in done.stdout
