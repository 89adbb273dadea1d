"""Checkpoints inside a stage: what a killed run needs to end bit-identical.

Every draw of a stage comes from hash(seed, purpose, step, ...), so there is no random state to
keep: tensors (weights, optimizer moments) and a small JSON (step, controllers) are everything.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write checkpoint ``step`` whole or not at all, then drop the older ones."""
    target = folder / f"checkpoint-{step:08d}"
    if target.exists():
        return
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, temporary / "state.safetensors")
    (temporary / "state.json").write_text(json.dumps({"step": step, **state}), encoding="utf-8")
    for path in (*temporary.iterdir(), temporary):
        _sync(path)
    temporary.rename(target)
    _sync(folder)
    for old in sorted(folder.glob("checkpoint-*"))[:-1]:
        shutil.rmtree(old)


def latest(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint as (step, tensors, state), or None when there is none."""
    found = sorted(folder.glob("checkpoint-*"))
    if not found:
        return None
    state = json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
    return state["step"], load_file(found[-1] / "state.safetensors"), state


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with ``prefix/`` before each name, to keep several learners in one file."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that :func:`prefixed` put under ``prefix``."""
    start = f"{prefix}/"
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
