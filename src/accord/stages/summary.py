"""What a finished run tells its user: where everything is, how it went, what to try next."""

from __future__ import annotations

import json
import resource
from pathlib import Path

from accord.artifacts import Artifact
from accord.config import Recipe
from accord.types import Reading, from_dict


def summary(recipe: Recipe, artifact: Artifact, seconds: float) -> str:
    """A few lines for the terminal; ``seconds`` is what this command took."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # KiB on Linux
    lines = [
        f"\n{artifact.kind}: {artifact.path}",
        f"  {seconds / 60:.1f} minutes, peak memory {peak:.1f} GB",
    ]
    if artifact.kind != "report":
        lines += [f"  {k}: {v:.4g}" for k, v in artifact.manifest.metrics.items() if _number(v)]
        return "\n".join(lines)
    for path in sorted(artifact.path.glob("readings-*.jsonl")):
        name = path.stem.removeprefix("readings-")
        for reading in _readings(path):
            if reading.gauge.startswith("win_rate/") and reading.interval is not None:
                low, high = reading.interval
                scorer = reading.gauge.removeprefix("win_rate/")
                lines.append(
                    f"  {name} against sft, {scorer}: wins {reading.value:.0%} "
                    f"({low:.0%} to {high:.0%}) {reading.state}"
                )
    out = Path(recipe.out)
    lines += [
        f"\nRead the report:  {artifact.path / 'index.html'}",
        f"Talk to it:       accord chat {out / 'sft'} {out / 'ppo'}",
        f"What made it:     accord lineage {artifact.path}",
        f"Change it:        accord run {out / 'recipe.yaml'} --out runs/next ppo.kl_coef=0.1",
        "Your own data:    data.demonstrations=FILE data.prompts=FILE data.comparisons=FILE",
        "Your own model:   model.name=FOLDER (any Hugging Face causal language model)",
    ]
    return "\n".join(lines)


def _readings(path: Path) -> list[Reading]:
    rows = path.read_text(encoding="utf-8").splitlines()
    records = [from_dict(json.loads(row)) for row in rows]
    return [r for r in records if isinstance(r, Reading)]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
