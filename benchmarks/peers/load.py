"""The same load on every tool: judgments that arrive in open loop, and kill -9 under way."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

PROMISE_MS = 100.0
PATIENCE = 20.0


class ToolError(RuntimeError):
    """A tool answered with something else than success."""


class Rater(Protocol):
    """One person at a tool."""

    async def take(self) -> bool:
        """Fetch the next item; False when there is none left."""

    async def judge(self) -> str:
        """Hand in a judgment of the item; what the judgment is called, once acknowledged."""


@dataclass
class Tally:
    """What came back at one rate."""

    judge_ms: list[float] = field(default_factory=list)
    next_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def summary(self, rate: float, seconds: float) -> dict[str, Any]:
        """Figures of the step, and whether it kept the promise."""
        p99 = {"judge_p99_ms": quantile(self.judge_ms, 0.99),
               "next_p99_ms": quantile(self.next_ms, 0.99)}  # fmt: skip
        kept = not self.errors and max(p99.values()) < PROMISE_MS
        return {
            "judgments_per_second": rate,
            "requests_per_second": 2 * rate,
            "done_per_second": round(len(self.next_ms) / seconds, 1),
            "judge_p50_ms": quantile(self.judge_ms, 0.5),
            "next_p50_ms": quantile(self.next_ms, 0.5),
            **p99,
            "errors": len(self.errors),
            "first_error": self.errors[0] if self.errors else None,
            "kept": kept,
        }


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of them lie, of those that are there; infinite if none."""
    ranked = sorted(values)
    return (
        round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 1) if ranked else float("inf")
    )


async def step(raters: list[Rater], rate: float, seconds: float) -> dict[str, Any]:
    """Judgments arrive ``rate`` times a second, whether or not the tool keeps up.

    Each is handed in by a rater who is free, and then the next item is fetched. The time of a
    judgment counts from when it was due, so that a queue before the tool is part of it.
    """
    free: asyncio.Queue[Rater] = asyncio.Queue()
    for rater in raters:
        free.put_nowait(rater)
    tally = Tally()

    async def one(due: float) -> None:
        rater = await free.get()
        try:
            await asyncio.wait_for(rater.judge(), PATIENCE)
            told = time.perf_counter()
            tally.judge_ms.append(1000 * (told - due))
            more = await asyncio.wait_for(rater.take(), PATIENCE)
            tally.next_ms.append(1000 * (time.perf_counter() - told))
            if not more:
                tally.errors.append("no items left")
        except (OSError, ToolError, TimeoutError) as error:
            tally.errors.append(f"{type(error).__name__}: {error}"[:200])
        finally:
            free.put_nowait(rater)

    began = time.perf_counter()
    waiting = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waiting.append(asyncio.create_task(one(due)))
    _, pending = await asyncio.wait(waiting, timeout=PATIENCE)
    tally.errors += ["unanswered"] * len(pending)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return tally.summary(rate, time.perf_counter() - began)


async def climb(
    raters: list[Rater], rates: list[float], seconds: float, look: Callable[[], float]
) -> dict[str, Any]:
    """Rates from low to high until one is not kept twice; the highest kept, and every step."""
    steps, best = [], 0.0
    for rater in raters:
        await rater.take()
    for rate in rates:
        for _ in range(2):
            done = await step(raters, rate, seconds)
            done["memory_mb"] = look()
            steps.append(done)
            print(done, flush=True)
            if done["kept"]:
                best = rate
                break
            await asyncio.sleep(1)
        else:
            break
    return {"highest_kept_judgments_per_second": best, "steps": steps}


async def until_killed(
    raters: list[Rater], kill: Callable[[], None], after: float
) -> tuple[list[str], int, list[str]]:
    """Raters judge as fast as they are served; the server dies under them.

    Returns:
        What was acknowledged, how many requests were under way without an answer, and what went
        wrong before the kill.
    """
    acked: list[str] = []
    cut, dead = 0, False

    async def work(rater: Rater) -> None:
        nonlocal cut
        try:
            while await rater.take():
                acked.append(await rater.judge())
        except (OSError, ToolError):
            if not dead:
                raise
            cut += 1

    tasks = [asyncio.create_task(work(rater)) for rater in raters]
    await asyncio.sleep(after)
    dead = True
    kill()
    done, late = await asyncio.wait(tasks, timeout=PATIENCE)
    for task in late:
        task.cancel()
    refused = [str(task.exception()) for task in done if task.exception()]
    return acked, cut, refused


def moments(kills: int, seed: int = 0) -> list[float]:
    """Seconds of load before each kill."""
    draw = random.Random(seed)
    return [draw.uniform(1.5, 3.5) for _ in range(kills)]
