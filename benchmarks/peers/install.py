"""What each tool weighs: megabytes and packages beside an empty virtual environment."""

from __future__ import annotations

import shutil
import subprocess
import time
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SERVICES = {
    "accord": "none",
    "label-studio": "none (Redis optional)",
    "potato": "none",
    "argilla-server": "Elasticsearch or OpenSearch, and Redis",
}
PACKAGES = {"label-studio": "label-studio", "potato": "potato-annotation",
            "argilla-server": "argilla-server"}  # fmt: skip
WITHOUT_TORCH = ("filelock", "jinja2", "numpy", "orjson", "pydantic", "pyyaml", "rich", "typer")
"""What accord needs where no model is loaded; the studio's server process imports no more."""


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Install one tool into a fresh environment.

    Packages are those that an empty environment does not have; bytecode counts, as pip makes it.
    """
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    empty, before = size_mb(place), packages(place)
    began = time.perf_counter()
    row: dict[str, Any] = {"tool": name, "services": SERVICES[name]}
    if name == "accord":
        web = tomllib.loads((ROOT / "pyproject.toml").read_text())
        pip(place, *WITHOUT_TORCH)
        pip(place, "--no-deps", str(ROOT))
        row |= {"base_mb": round(size_mb(place) - empty), "base_packages": len(packages(place))}
        row["base_packages"] -= len(before)
        pip(place, *web["project"]["optional-dependencies"]["web"])
        row["web_extra_mb"] = round(size_mb(place) - empty - row["base_mb"])
    else:
        pip(place, PACKAGES[name])
    return row | {
        "version": packages(place)[PACKAGES.get(name, name)],
        "added_mb": round(size_mb(place) - empty),
        "added_packages": len(packages(place).keys() - before.keys()),
        "seconds": round(time.perf_counter() - began),
    }


def pip(place: Path, *what: str) -> None:
    """Install into an environment."""
    command = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *what], check=True)


def packages(place: Path) -> dict[str, str]:
    """Installed distributions and their versions."""
    command = [str(place / "bin" / "pip"), "list", "--format=freeze", "--disable-pip-version-check"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split("==", 1) for line in out.splitlines() if "==" in line)


def size_mb(place: Path) -> float:
    """What an environment takes on the disk, in blocks, as ``du`` counts."""
    files = (path.lstat() for path in place.rglob("*"))
    return sum(file.st_blocks * 512 for file in files) / 1e6


def python_of(name: str, folder: Path) -> Path:
    """The interpreter of an installed tool."""
    return folder / name / "bin" / "python"
