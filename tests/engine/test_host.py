"""What a process sets for itself: threads, and memory that stays."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator

import pytest
import torch

from accord.engine import host


class Libc:
    def __init__(self, name: str | None) -> None:
        assert name is None  # this process itself
        CALLS.append(("opened", 0))

    def mallopt(self, option: int, value: int) -> int:
        CALLS.append((option, value))
        return 1


CALLS: list[tuple[object, int]] = []


@pytest.fixture(autouse=True)
def libc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    CALLS.clear()
    monkeypatch.setattr(ctypes, "CDLL", Libc)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_set_only_when_asked_for() -> None:
    torch.set_num_threads(1)
    host.prepare(2)
    assert torch.get_num_threads() == 2
    host.prepare(None)
    assert torch.get_num_threads() == 2


def test_freed_memory_is_kept_where_malloc_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    host.prepare(None)
    # malloc.h: M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD is -1, both take an int
    assert CALLS == [("opened", 0), (-3, 2**30), (-1, -1)]
    CALLS.clear()
    for other in (("", ""), ("musl", "1.2")):
        monkeypatch.setattr(platform, "libc_ver", lambda other=other: other)
        host.prepare(None)
    assert CALLS == []
