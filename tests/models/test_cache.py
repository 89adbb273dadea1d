"""The model cache: built once, atomic, repaired, safe for two builders."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from accord.models import cache


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path / "cache"))


class Builder:
    def __init__(self, text: str = "weights") -> None:
        self.text, self.calls = text, 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "model").write_text(self.text)
        (folder / "config").write_text("{}")


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path / "mine"))
    assert cache.root() == tmp_path / "mine"
    monkeypatch.delenv("ACCORD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "accord"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "accord"


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert cache.sha256(tmp_path / "abc") == expected


def test_built_once() -> None:
    builder = Builder()
    first, second = cache.build_once("m", builder), cache.build_once("m", builder)
    assert first == second == cache.root() / "m"
    assert builder.calls == 1
    assert (first / "model").read_text() == "weights"
    assert [path.name for path in cache.root().iterdir()] == ["m"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "unstamped", "bad stamp"])
def test_damage_is_noticed_and_mended(damage: str) -> None:
    folder = cache.build_once("m", Builder())
    if damage == "truncated":
        (folder / "model").write_text("wei")
    elif damage == "changed":
        (folder / "model").write_text("weighty")
    elif damage == "missing":
        (folder / "config").unlink()
    elif damage == "unstamped":
        (folder / cache.STAMP).unlink()
    else:
        (folder / cache.STAMP).write_text("{")
    assert not cache.sound(folder)
    assert cache.build_once("m", Builder("mended")) == folder
    assert (folder / "model").read_text() == "mended"
    assert cache.sound(folder)
    assert [path.name for path in cache.root().iterdir()] == ["m"]


def test_a_failed_build_leaves_nothing_behind() -> None:
    def fail(folder: Path) -> None:
        (folder / "model").write_text("half")
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        cache.build_once("m", fail)
    assert list(cache.root().iterdir()) == []


def test_two_builders_at_once_agree() -> None:
    both_inside = threading.Barrier(2)

    def build(folder: Path) -> None:
        both_inside.wait(timeout=10)
        (folder / "model").write_text("weights")

    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda: folders.append(cache.build_once("m", build)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert folders == [cache.root() / "m"] * 2
    assert cache.sound(folders[0])
    assert [path.name for path in cache.root().iterdir()] == ["m"]
