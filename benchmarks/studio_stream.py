"""How long a rater waits for the first words, and what the server weighs meanwhile.

A real server process, a real worker process with the tiny model, and raters who each hold ten
conversations of one turn: ``python benchmarks/studio_stream.py 8``. Prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

CONVERSATIONS = 10


def serve(folder: Path, num_raters: int) -> None:
    """A studio with one chat round; prints where it is and who may come in."""
    import uvicorn

    from accord.config.generators import AccordPolicy, GeneratorConfig, Speech
    from accord.store import accounts, rounds
    from accord.store.database import open_store
    from accord.store.task import RoundSettings
    from accord.web.app import create_app
    from accord.web.security import WebSettings

    store = open_store(folder / "studio.db")
    project = rounds.create_project(store, "p", "system")
    settings = RoundSettings(policies=("tiny",), speech=Speech(max_tokens=60))
    made = rounds.create_round(
        store, project.id, "r", task="chat", actor="system", settings=settings
    )
    rounds.open_round(store, made.id, "system")
    people = [accounts.create_account(store, f"rater {i}") for i in range(num_raters)]
    tokens = [accounts.create_token(store, p.id, "t", "rater", actor="system") for p in people]
    policies = GeneratorConfig(policies={"tiny": AccordPolicy(source="tiny")}, num_threads=1)
    app = create_app(store, WebSettings(requests_per_second=1000), policies)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))

    def tell() -> None:
        while not server.started or not app.state.generator.ready:
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        row = {"port": port, "round": made.id, "tokens": tokens, "torch": "torch" in sys.modules}
        print(json.dumps(row), flush=True)

    threading.Thread(target=tell, daemon=True).start()
    server.run()


def talk(url: str, round_id: str, token: str, first: list[float], whole: list[float]) -> None:
    """Ten conversations of one rater; seconds to the first text and to the end."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60
    ) as rater:
        for i in range(CONVERSATIONS):
            path = f"/rounds/{round_id}/conversations"
            made = rater.post(path, json={"key": f"s{i}"}).json()["conversation"]
            body = {"key": f"m{i}", "text": "what is the color of the sky ?"}
            began = time.perf_counter()
            turn = rater.post(f"/conversations/{made}/messages", json=body).json()["turn"]
            seen: set[str] = set()
            with rater.stream("GET", f"/turns/{turn}/stream") as answer:
                for line in answer.iter_lines():
                    if line.startswith("event:") and line not in seen:
                        seen.add(line)
                        if line == "event: delta":
                            first.append(time.perf_counter() - began)
                        elif line == "event: done":
                            whole.append(time.perf_counter() - began)


def resident_mb(pid: int) -> int:
    """Resident memory of a process (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def share(values: list[float], p: float) -> int:
    """A quantile in milliseconds."""
    return round(1000 * sorted(values)[min(len(values) - 1, int(p * len(values)))])


def main(num_raters: int) -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", folder, str(num_raters)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        ready, before = time.perf_counter() - began, resident_mb(server.pid)
        url = f"http://127.0.0.1:{told['port']}/api/v1"
        first: list[float] = []
        whole: list[float] = []
        raters = [
            threading.Thread(target=talk, args=(url, told["round"], token, first, whole))
            for token in told["tokens"]
        ]
        for rater in raters:
            rater.start()
        for rater in raters:
            rater.join()
        figures = {
            "raters": num_raters,
            "turns": len(whole),
            "ready_seconds": round(ready, 1),
            "torch_in_server": told["torch"],
            "server_mb_before": before,
            "server_mb_after": resident_mb(server.pid),
            "first_text_ms": {f"p{p}": share(first, p / 100) for p in (50, 90, 99)},
            "whole_ms": {f"p{p}": share(whole, p / 100) for p in (50, 90, 99)},
            "load": float(Path("/proc/loadavg").read_text().split()[0]),
        }
        print(json.dumps(figures))
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
