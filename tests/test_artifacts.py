"""Artifacts: whole or absent after a kill, hashed, and traced back to the first ancestor."""

import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from accord import artifacts
from accord.artifacts import Artifact
from accord.errors import ArtifactError
from accord.manifest import Metric
from accord.types import Completion, Demonstration, Message, Prompt, Record, Sample


def _prompt(text: str = "Why?", name: str = "p0") -> Prompt:
    return Prompt(id=name, messages=(Message("user", text),), tags=("short",))


def _write(
    path: Path, kind: str = "prompts", *, text: str = "Why?", **keywords: object
) -> Artifact:
    with artifacts.write(path, kind, **keywords) as folder:  # type: ignore[arg-type]
        artifacts.write_records(folder, [_prompt(text)])
    return artifacts.read(path)


def _chain(root: Path) -> dict[str, Artifact]:
    """prompts -> samples -> comparisons, where comparisons also has prompts as a parent."""
    prompts = _write(root / "prompts", seed=0)
    samples = _write(root / "samples", "samples", parents={"prompts": prompts}, seed=0)
    both = {"prompts": prompts, "samples": samples}
    return {**both, "comparisons": _write(root / "comparisons", "comparisons", parents=both)}


# Write and read


def test_written_artifact_reads_back_with_everything_in_its_manifest(tmp_path: Path) -> None:
    prompts = _write(tmp_path / "prompts")
    metrics: dict[str, Metric] = {}
    extra: dict[str, object] = {}
    with artifacts.write(
        tmp_path / "deep" / "policy",
        "policy",
        parents={"prompts": prompts},
        config={"learning_rate": 1e-5, "betas": (0.9, 0.95)},
        seed=7,
        metrics=metrics,
        extra=extra,
    ) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights.bin").write_bytes(b"abc")
        metrics["loss"] = 0.5
        extra["chat"] = {"template": "plain"}
    artifact = artifacts.read(tmp_path / "deep" / "policy", "policy")
    manifest = artifact.manifest
    assert artifact.kind == "policy" and manifest.seed == 7 and manifest.status == "complete"
    assert manifest.files["sub/weights.bin"].sha256 == hashlib.sha256(b"abc").hexdigest()
    assert manifest.files["sub/weights.bin"].size == 3
    assert manifest.metrics == {"loss": 0.5} and manifest.extra == {"chat": {"template": "plain"}}
    assert manifest.config == {"learning_rate": 1e-5, "betas": [0.9, 0.95]}
    assert manifest.parents["prompts"].path == "../../prompts"
    assert manifest.parents["prompts"].hash == prompts.hash
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", artifact.hash)
    assert manifest.created_at.endswith("+00:00")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["policy"]


def test_content_hash_equals_one_computed_by_hand(tmp_path: Path) -> None:
    with artifacts.write(tmp_path / "a", "report", config={"b": 2.0, "a": None}, seed=3) as folder:
        (folder / "page.html").write_text("x")
    file = '{"sha256":"' + hashlib.sha256(b"x").hexdigest() + '","size":1}'
    text = (
        '{"config":{"a":null,"b":2.0},"extra":{},"files":{"page.html":' + file + "},"
        '"kind":"report","parents":{},"schema_version":1,"seed":3}'
    )
    expected = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert artifacts.read(tmp_path / "a").hash == expected


def test_records_round_trip_whatever_the_text(tmp_path: Path) -> None:
    records: list[Record] = [
        _prompt('a\nb\r\u2028\u0085"\\ é 😀'),
        Demonstration(_prompt(name="p1"), "half a pair \ud800, and é", id="d1"),
        Sample(_prompt(), (Completion("yes", "m", False), Completion(""))),
    ]
    with artifacts.write(tmp_path / "a", "samples") as folder:
        assert artifacts.write_records(folder, iter(records)) == 3
        assert artifacts.write_records(folder, [], name="none.jsonl") == 0
    artifact = artifacts.read(tmp_path / "a")
    assert list(artifact.records()) == records
    assert list(artifact.records("none.jsonl")) == []
    assert "😀" in (tmp_path / "a" / "records.jsonl").read_bytes().decode("utf-8")


def test_broken_record_is_named_by_file_and_line(tmp_path: Path) -> None:
    with artifacts.write(tmp_path / "a", "samples") as folder:
        artifacts.write_records(folder, [_prompt()])
        with (folder / "records.jsonl").open("a") as file:
            file.write('{"type": "nonsense"}\n')
    with pytest.raises(ArtifactError, match=r"records\.jsonl:2: .*nonsense"):
        list(artifacts.read(tmp_path / "a").records())
    with pytest.raises(ArtifactError, match=r"holds no other\.jsonl"):
        list(artifacts.read(tmp_path / "a").records("other.jsonl"))


def test_failure_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), artifacts.write(tmp_path / "a", "prompts") as folder:
            (folder / "file").write_text("x")
            raise error
    assert list(tmp_path.iterdir()) == []


def test_existing_path_is_never_overwritten(tmp_path: Path) -> None:
    first = _write(tmp_path / "a")
    with (
        pytest.raises(ArtifactError, match="exists and artifacts are never overwritten"),
        artifacts.write(tmp_path / "a", "prompts"),
    ):
        pytest.fail("the block must not run")
    with (
        pytest.raises(ArtifactError, match="never overwritten"),
        artifacts.write(tmp_path / "b", "prompts"),
    ):
        _write(tmp_path / "b")  # someone else was faster
    assert artifacts.read(tmp_path / "a").hash == first.hash
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"kind": "policies"}, "unknown artifact kind 'policies'; known: prompts,"),
        ({"config": {"x": float("nan")}}, "config of .* cannot be written as JSON"),
        ({"extra": {"x": object()}}, "extra of .* cannot be written as JSON"),
        ({"metrics": {"x": [1]}}, "metrics or seed do not fit"),
    ],
)
def test_what_does_not_fit_a_manifest_is_refused(
    tmp_path: Path, keywords: dict[str, Any], message: str
) -> None:
    kind = str(keywords.pop("kind", "prompts"))
    with pytest.raises(ArtifactError, match=message):
        _write(tmp_path / "a", kind, **keywords)
    assert not (tmp_path / "a").exists()


def test_links_reserved_names_and_infinite_numbers_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ArtifactError, match="link is not a plain file"),
        artifacts.write(tmp_path / "a", "prompts") as folder,
    ):
        (folder / "link").symlink_to(tmp_path)
    with (
        pytest.raises(ArtifactError, match=r"manifest\.json is accord's own file"),
        artifacts.write(tmp_path / "a", "prompts") as folder,
    ):
        (folder / "manifest.json").write_text("{}")
    infinite = Prompt(id="p", messages=(), tags=(float("inf"),))  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="record 2"):
        artifacts.write_records(tmp_path, [_prompt(), infinite])


def test_metrics_may_be_non_finite_and_stay_readable(tmp_path: Path) -> None:
    metrics: dict[str, Metric] = {"x": float("nan"), "n": 3, "ok": True, "f": 1.0}
    artifact = _write(tmp_path / "a", metrics=metrics)
    assert artifact.manifest.metrics == {"x": "NaN", "n": 3, "ok": True, "f": 1.0}
    assert artifacts.verify(tmp_path / "a") == []


def test_read_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such artifact"):
        artifacts.read(tmp_path / "none")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        artifacts.read(tmp_path / "plain")
    path = _write(tmp_path / "a").path
    with pytest.raises(ArtifactError, match="is a prompts artifact; needed: policy or report"):
        artifacts.read(path, ("policy", "report"))
    content = json.loads((path / "manifest.json").read_text())
    for change, message in (
        ({"schema_version": 99}, "schema version 99"),
        ({"status": "half"}, "damaged"),
        ({"surplus": 1}, "damaged"),
    ):
        (path / "manifest.json").write_text(json.dumps(content | change))
        with pytest.raises(ArtifactError, match=message):
            artifacts.read(path)
    for text in ("[]", "{", "{}"):
        (path / "manifest.json").write_text(text)
        with pytest.raises(ArtifactError, match="damaged"):
            artifacts.read(path)
    (path / "manifest.json").write_text(json.dumps(content))
    (path / "records.jsonl").write_text("")
    with pytest.raises(ArtifactError, match=r"missing or not [0-9]+ bytes"):
        artifacts.read(path)


# Verify and lineage


def test_verify_is_silent_on_sound_artifacts_and_after_moving_the_tree(tmp_path: Path) -> None:
    _chain(tmp_path / "run")
    assert artifacts.verify(tmp_path / "run" / "comparisons") == []
    (tmp_path / "run").rename(tmp_path / "moved")
    assert artifacts.verify(tmp_path / "moved" / "comparisons") == []


def test_verify_works_from_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _chain(tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    assert artifacts.verify("comparisons") == []


def test_every_flipped_byte_of_every_file_is_found(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", config={"x": 1}, extra={"chat": "plain"}).path
    data = (path / "records.jsonl").read_bytes()
    for index in range(len(data)):
        (path / "records.jsonl").write_bytes(
            data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
        )
        assert len(artifacts.verify(path)) == 1
    (path / "records.jsonl").write_bytes(data)
    manifest = (path / "manifest.json").read_text()
    for old, new in (('"x":1', '"x":2'), ('"plain"', '"chatml"'), ('"seed":null', '"seed":1')):
        old, new = old.replace(":", ": "), new.replace(":", ": ")
        assert old in manifest
        (path / "manifest.json").write_text(manifest.replace(old, new))
        assert any("its hash does not fit" in line for line in artifacts.verify(path)), old
    (path / "manifest.json").write_text(manifest)
    (path / "surplus").write_text("")
    assert artifacts.verify(path) == [f"{path / 'surplus'}: not in the manifest (added later)"]


def test_verify_finds_a_damaged_a_missing_and_an_exchanged_ancestor(tmp_path: Path) -> None:
    chain = _chain(tmp_path)
    records = chain["prompts"].path / "records.jsonl"
    content = records.read_bytes()
    records.write_bytes(content.replace(b"Why", b"Who"))
    problems = artifacts.verify(chain["comparisons"].path)
    assert problems == [f"{records}: content changed (sha256 differs from the manifest)"]

    chain["prompts"].path.rename(tmp_path / "away")
    problems = artifacts.verify(chain["comparisons"].path)
    assert sum("no such artifact" in line for line in problems) == 1
    assert sum("parent prompts (prompts) is not sound" in line for line in problems) == 2

    _write(tmp_path / "prompts", text="Another text", seed=0)
    problems = artifacts.verify(chain["comparisons"].path)
    assert len(problems) == 2
    assert all("parent prompts at" in line and "has hash" in line for line in problems)
    assert artifacts.verify(tmp_path / "none") != []


def test_lineage_shows_roles_hashes_and_what_is_missing(tmp_path: Path) -> None:
    chain = _chain(tmp_path)

    def text() -> str:
        console = Console(width=400)
        with console.capture() as capture:
            console.print(artifacts.lineage(chain["comparisons"].path))
        return capture.get()

    lines = text().splitlines()
    assert lines[0].startswith("comparisons ") and chain["comparisons"].hash[:19] in lines[0]
    assert len(lines) == 4 and sum("prompts: prompts" in line for line in lines) == 2
    assert "samples: samples" in text()
    chain["prompts"].path.rename(tmp_path / "away")
    assert text().count("missing or damaged") == 2
    _write(tmp_path / "prompts", text="Another")
    assert text().count("not the parent") == 2


# The same job again


def test_hash_ignores_time_and_metrics_but_not_content(tmp_path: Path) -> None:
    base = _write(tmp_path / "a", config={"x": 1}, seed=0)
    same = _write(tmp_path / "b", config={"x": 1}, seed=0, metrics={"seconds": 3.5})
    assert base.hash == same.hash
    others = [
        _write(tmp_path / "c", config={"x": 2}, seed=0),
        _write(tmp_path / "d", config={"x": 1}, seed=1),
        _write(tmp_path / "e", config={"x": 1}, seed=0, text="Who?"),
        _write(tmp_path / "f", config={"x": 1}, seed=0, parents={"prompts": base}),
        _write(tmp_path / "g", "samples", config={"x": 1}, seed=0),
        _write(tmp_path / "h", config={"x": 1}, seed=0, extra={"chat": "plain"}),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 7


def test_fingerprint_depends_on_each_of_its_parts_and_not_on_order(tmp_path: Path) -> None:
    a, b = _write(tmp_path / "a"), _write(tmp_path / "b", text="Who?")
    make = artifacts.fingerprint
    base = make("policy", {"x": a, "y": b}, {"p": 1, "q": {"r": 2, "s": 3}}, 0)
    assert base == make("policy", {"y": b, "x": a}, {"q": {"s": 3, "r": 2}, "p": 1}, 0)
    different = {
        make("report", {"x": a, "y": b}, {"p": 1, "q": {"r": 2, "s": 3}}, 0),
        make("policy", {"x": b, "y": a}, {"p": 1, "q": {"r": 2, "s": 3}}, 0),
        make("policy", {"x": a}, {"p": 1, "q": {"r": 2, "s": 3}}, 0),
        make("policy", {"x": a, "y": b}, {"p": 1, "q": {"r": 2, "s": 4}}, 0),
        make("policy", {"x": a, "y": b}, {"p": 1, "q": {"r": 2, "s": 3}}, None),
    }
    assert len(different | {base}) == 6


def test_current_finds_the_same_job_and_lists_what_differs(tmp_path: Path) -> None:
    old, new = _write(tmp_path / "old"), _write(tmp_path / "new", text="Who?")
    path = tmp_path / "policy"
    config = {"ppo": {"kl_coef": 0.05, "clip": (1, 2)}}
    arguments: dict[str, Any] = {"parents": {"prompts": old}, "config": config, "seed": 0}
    assert artifacts.current(path, "policy", **arguments) is None
    _write(path, "policy", **arguments)
    found = artifacts.current(path, "policy", **arguments)
    assert found is not None and found.path == path
    with pytest.raises(ArtifactError) as caught:
        artifacts.current(
            path,
            "policy",
            parents={"prompts": new},
            config={"ppo": {"kl_coef": 0.1, "clip": [1, 2]}, "dpo": {}},
            seed=1,
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} was made from something else:"
    assert lines[1:-1] == [
        "  config.dpo: not set -> {}",
        "  config.ppo.kl_coef: 0.05 -> 0.1",
        f"  parents.prompts: {old.hash[:19]} -> {new.hash[:19]}",
        "  seed: 0 -> 1",
    ]
    assert "choose another output folder, or delete" in lines[-1]


def test_workspace_is_found_again_or_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = artifacts.workspace(tmp_path / "run" / "ppo", "sha256:one")
    assert folder == tmp_path / "run" / "ppo.partial"
    (folder / "checkpoint").write_text("1")
    assert artifacts.workspace(tmp_path / "run" / "ppo", "sha256:one") == folder
    assert (folder / "checkpoint").read_text() == "1" and capsys.readouterr().err == ""
    for number, fingerprint in ((1, "sha256:two"), (2, "sha256:three")):
        assert artifacts.workspace(tmp_path / "run" / "ppo", fingerprint) == folder
        assert f"ppo.partial.stale-{number}" in capsys.readouterr().err
        assert [p.name for p in folder.iterdir()] == ["fingerprint.json"]
    assert (tmp_path / "run" / "ppo.partial.stale-1" / "checkpoint").read_text() == "1"
    artifacts.finish(folder)
    artifacts.finish(folder)
    assert not folder.exists() and (tmp_path / "run" / "ppo.partial.stale-2").exists()


# A kill at any moment

_CHILD = """
import os, signal, sys
from pathlib import Path
from accord import artifacts, workspace
from accord.types import Message, Prompt

root, limit = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def count(real):
    def wrapped(*arguments, **keywords):
        global calls
        calls += 1
        if calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **keywords)
    return wrapped

# a kill before every one of these steps of a write
os.fsync, os.rename = count(os.fsync), count(os.rename)
Path.mkdir, Path.open, Path.rename = count(Path.mkdir), count(Path.open), count(Path.rename)
Path.write_text = count(Path.write_text)

partial = artifacts.workspace(root / "out", "sha256:f")
(partial / "checkpoint").write_text("1")
with artifacts.write(root / "out", "prompts", config={"x": 1}) as folder:
    message = Message("user", "x" * 100)
    artifacts.write_records(folder, [Prompt(str(i), (message,)) for i in range(9)])
    (folder / "sub").mkdir()
    (folder / "sub" / "second.txt").write_text("second")
    (folder / "third.txt").write_text("third")
artifacts.finish(partial)
print("finished", flush=True)
"""


def test_sigkill_at_every_step_leaves_nothing_or_a_whole_artifact(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(_CHILD))
    hashes, killed, limit = set(), 0, 0
    while True:
        limit += 1
        root = tmp_path / str(limit)
        root.mkdir()
        run = subprocess.run(
            [sys.executable, str(script), str(root), str(limit)], capture_output=True, check=False
        )
        assert run.returncode in (0, -signal.SIGKILL), run.stderr.decode()
        killed += run.returncode != 0
        if (root / "out").exists():
            assert artifacts.verify(root / "out") == []
            artifact = artifacts.read(root / "out")
            assert sorted(artifact.manifest.files) == [
                "records.jsonl",
                "sub/second.txt",
                "third.txt",
            ]
            assert len(list(artifact.records())) == 9
            hashes.add(artifact.hash)
        if run.returncode == 0:
            break
        # the next run cleans up after the killed one
        artifacts.finish(artifacts.workspace(root / "out", "sha256:f"))
        if not (root / "out").exists():
            _write(root / "out")
        assert [path.name for path in root.iterdir() if "tmp" in path.name] == []
    assert killed >= 15 and len(hashes) == 1


def test_sigkill_from_outside_at_random_moments(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(
        textwrap.dedent(
            """
            import itertools, sys
            from pathlib import Path
            from accord import artifacts
            print("ready", flush=True)
            for number in itertools.count():
                with artifacts.write(Path(sys.argv[1]) / str(number), "report") as folder:
                    for name in "abcd":
                        (folder / name).write_bytes(name.encode() * 50_000)
            """
        )
    )
    generator = random.Random(0)
    for trial in range(4):
        root = tmp_path / f"trial{trial}"
        with subprocess.Popen(
            [sys.executable, str(script), str(root)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None and child.stdout.readline() == b"ready\n"
            time.sleep(generator.uniform(0.02, 0.2))
            child.kill()
        done = [path for path in root.glob("*") if not path.name.startswith(".")]
        assert all(artifacts.verify(path) == [] for path in done)


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with artifacts.write(tmp_path / "a", "prompts") as mine:
        dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
        foreign = mine.with_name(".a.tmp-another-host-1-abc")
        living = mine.with_name(mine.name.replace(f"-{os.getpid()}-", "-1-"))
        for folder in (dead, foreign, living):
            folder.mkdir()
    _write(tmp_path / "b")
    assert dead.exists()
    with pytest.raises(ArtifactError), artifacts.write(tmp_path / "a", "prompts"):
        pass
    (tmp_path / "a").rename(tmp_path / "c")
    _write(tmp_path / "a")
    assert not dead.exists() and foreign.exists() and living.exists()


def test_a_removal_that_was_killed_half_way_is_finished(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    folder = artifacts.workspace(tmp_path / "out", "sha256:f")
    doomed = folder.with_name(f".{folder.name}.tmp-{socket.gethostname()}-{gone.pid}-abc")
    folder.rename(doomed)
    artifacts.finish(folder, "sha256:f")
    assert list(tmp_path.iterdir()) == []
