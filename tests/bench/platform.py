"""Many people at the platform at once: they sign in, open the first page, start notebooks.

    python -m tests.bench.platform --site examples/platform/lab.yaml --users 200 --notebooks 20

The site must be up, with as many numbered people in its directory. Everybody signs in once through
the real pages, a few at a time; then all open the first page at once, each with a connection of his
own, and again over that connection, and then one after the other, evenly over some seconds. Then
some of them open the notebooks at once and run a cell each, and their servers are stopped.
Prints JSON: how often, errors, seconds (p50, p95, p99, max, and of all together), and what it took
of the processor, in seconds, in which part. Who asks is a program on the same host, which takes its
share of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from provision.app import find_site
from provision.paths import state_path
from tests.lab.machines import Lab
from tests.lab.platform import Platform
from tests.support.smoke import smoke

DEADLINE = 900
"""Seconds for one step of one person."""
PART = ("app.kubernetes.io/component", "app", "app.kubernetes.io/name", "component", "k8s-app")
"""Labels that say what a pod is, the first that it has."""
Session = aiohttp.ClientSession


@dataclass(frozen=True)
class Target:
    """Where the platform is, and whom to believe that it is the platform."""

    url: str
    """``https://HOST``."""
    address: str
    ca: Path


@dataclass
class Measured:
    """Seconds of what went well, and what went wrong, how often."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    together: float = 0
    """Seconds from the first beginning to the last end."""
    reconnected: int = 0
    """How often a way was lost, and a page connected again by itself."""

    def figures(self) -> dict[str, Any]:
        """What is printed."""
        shown: dict[str, Any] = {"count": len(self.seconds), "errors": self.errors.total()}
        if self.errors:
            shown["wrong"] = dict(self.errors.most_common(5))
        if self.seconds:
            shown |= {f"p{part}": round(rank(self.seconds, part), 3) for part in (50, 95, 99)}
            shown["max"] = round(max(self.seconds), 3)
        shown["together"] = round(self.together, 1)
        if self.reconnected:
            shown["reconnected"] = self.reconnected
        return shown


def rank(seconds: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all are not above (nearest rank)."""
    ordered = sorted(seconds)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


async def measure(works: Mapping[str, Callable[[], Awaitable[float]]]) -> Measured:
    """All at once; each work says its seconds."""
    measured = Measured()
    started = time.monotonic()

    async def one(name: str, work: Callable[[], Awaitable[float]]) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                measured.seconds.append(await work())
        except smoke.StepError as error:
            measured.errors[str(error).replace(name, "NAME")] += 1
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            measured.errors[f"{type(error).__name__}: {error}"] += 1

    await asyncio.gather(*(one(name, work) for name, work in works.items()))
    measured.together = time.monotonic() - started
    return measured


class Crowd:
    """People with what their browsers keep.

    Parameters
    ----------
    target : the platform.
    people : names and passwords.
    """

    def __init__(self, target: Target, people: Sequence[tuple[str, str]]) -> None:
        self._target = target
        self._passwords = dict(people)
        self._cookies = {name: aiohttp.CookieJar() for name in self._passwords}

    @asynccontextmanager
    async def _browser(self, name: str) -> AsyncIterator[Session]:
        """Somebody's browser with what it knows of earlier, and no connection yet."""
        target = self._target
        async with smoke.browser(target.ca, target.address, self._cookies[name]) as session:
            yield session

    async def sign_in(self, together: int) -> Measured:
        """Everybody once, from opening the first page to seeing it, ``together`` at a time."""
        turn = asyncio.Semaphore(together)

        async def work(name: str) -> float:
            async with turn, self._browser(name) as session:
                began = time.monotonic()
                page = f"{self._target.url}/"
                await smoke.sign_in(session, page, name, self._passwords[name])
                return time.monotonic() - began

        return await measure({name: _of(work, name) for name in self._passwords})

    async def open_page(self, loads: int) -> list[Measured]:
        """All at once, ``loads`` times, the first time with a new connection each."""
        async with _all({name: self._browser(name) for name in self._passwords}) as sessions:
            works = {name: _of(self._load, session) for name, session in sessions.items()}
            return [await measure(works) for _ in range(loads)]

    async def open_page_in_turn(self, seconds: float) -> Measured:
        """One after the other, evenly over ``seconds``, with a new connection each."""
        apart = seconds / len(self._passwords)

        async def work(name: str, number: int) -> float:
            await asyncio.sleep(number * apart)
            async with self._browser(name) as session:
                return await self._load(session)

        names = enumerate(self._passwords)
        return await measure({name: _of(work, name, number) for number, name in names})

    async def _load(self, session: Session) -> float:
        began = time.monotonic()
        page = f"{self._target.url}/"
        async with session.get(page, allow_redirects=False) as answer:
            await answer.read()
            if answer.status != 200:
                raise smoke.StepError(page, f"HTTP {answer.status}", "the page of one signed in")
        return time.monotonic() - began

    async def use_notebooks(
        self, count: int, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[Measured, Measured]:
        """The first ``count`` at once, until each server is ready, and until a cell ran.

        ``meanwhile`` is called when all of them run. All are stopped afterwards.
        """
        names = list(self._passwords)[:count]
        ready = Measured()

        async def start(name: str) -> float:
            async with self._browser(name) as session:
                person = smoke.Person(session, self._target.url, name)
                began = time.monotonic()
                async with session.get(f"{self._target.url}/notebooks/") as answer:
                    await answer.read()
                await person.start_server()
                ready.seconds.append(time.monotonic() - began)
                ready.reconnected += person.reconnected
                await person.open_server()
                await person.run_cell(await person.start_kernel())
                return time.monotonic() - began

        async def stop(name: str) -> float:
            async with self._browser(name) as session:
                began = time.monotonic()
                await smoke.Person(session, self._target.url, name).stop_server()
                return time.monotonic() - began

        try:
            ran = await measure({name: _of(start, name) for name in names})
            meanwhile()
        finally:
            stopped = await measure({name: _of(stop, name) for name in names})
        ready.together = max(ready.seconds, default=0)
        ran.errors.update(stopped.errors)
        return ready, ran


def _of(
    work: Callable[..., Awaitable[float]], *arguments: object
) -> Callable[[], Awaitable[float]]:
    return lambda: work(*arguments)


@asynccontextmanager
async def _all(opened: Mapping[str, Any]) -> AsyncIterator[dict[str, Session]]:
    """Many at once, by their names."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(one) for name, one in opened.items()}


class Processors:
    """What the pods of a lab, whose machines are containers of this host, take of its processor."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._parts: dict[str, str] = {}
        self._last = self._taken()

    def since(self) -> dict[str, float]:
        """Seconds in each part since it was asked last, without those that took nearly nothing."""
        before, self._last = self._last, self._taken()
        took: Counter[str] = Counter()
        for pod, seconds in self._last.items():
            took[self._parts.get(pod, "others")] += seconds - before.get(pod, 0)  # type: ignore[assignment]
        return {part: round(seconds, 2) for part, seconds in took.most_common() if seconds >= 0.05}

    def _taken(self) -> dict[str, float]:
        """Seconds of all that runs, and of what it waited for, by the pod's id."""
        self._learn()
        taken: dict[str, float] = {}
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                groups = (process / "cgroup").read_text()
                figures = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                # It ended in between.
                continue
            _, found, rest = groups.partition("/pod")
            pod = rest.partition("/")[0] if found else ""
            # utime, stime, cutime, cstime: fields 14 to 17 of proc(5).
            ticks = sum(int(figure) for figure in figures[11:15])
            taken[pod] = taken.get(pod, 0) + ticks / os.sysconf("SC_CLK_TCK")
        return taken

    def _learn(self) -> None:
        pods = json.loads(self._lab.kubectl("get", "pods", "--all-namespaces", "-o", "json"))
        for pod in pods["items"]:
            about = pod["metadata"]
            labels = about.get("labels", {})
            name = next((labels[key] for key in PART if key in labels), about["name"])
            annotated = about.get("annotations", {}).get("kubernetes.io/config.hash")
            self._parts[annotated or about["uid"]] = f"{about['namespace']}/{name}"


def available_mebibytes() -> float:
    """What is left of the host's memory."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("/proc/meminfo has no MemAvailable")


async def run(
    target: Target,
    people: Sequence[tuple[str, str]],
    *,
    together: int = 8,
    loads: int = 5,
    over: float = 20,
    notebooks: int = 20,
    took: Callable[[], Mapping[str, float]] = dict,
) -> dict[str, Any]:
    """All of it once; the figures.

    Parameters
    ----------
    target : the platform.
    people : names and passwords.
    together : how many sign in at a time.
    loads : how often all open the first page at once.
    over : seconds over which everybody opens it in turn.
    notebooks : how many start a notebook at once.
    took : seconds of the processor that each part took since it was called last.
    """
    crowd = Crowd(target, people)
    figures: dict[str, Any] = {"people": len(people), "sign_in_at_a_time": together}

    def note(name: str, measured: Measured) -> None:
        figures[name] = {**measured.figures(), "processor": dict(took())}

    note("sign_in", await crowd.sign_in(together))
    first, *again = await crowd.open_page(loads)
    repeated = Measured(together=sum(one.together for one in again))
    for one in again:
        repeated.seconds += one.seconds
        repeated.errors.update(one.errors)
    figures["page_at_once_first"] = first.figures()
    note("page_at_once_again", repeated)
    note(f"page_over_{over:g}_seconds", await crowd.open_page_in_turn(over))
    if notebooks:
        before = available_mebibytes()
        running: dict[str, Any] = {}

        def look() -> None:
            each = (before - available_mebibytes()) / notebooks
            running.update(processor=dict(took()), mebibytes_each=round(each))

        ready, ran = await crowd.use_notebooks(notebooks, look)
        figures["notebook_ready"] = ready.figures()
        figures["notebook_cell_ran"] = {**ran.figures(), **running}
        figures["notebook_stopped"] = {"processor": dict(took())}
    return figures


def errors(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What went wrong, by what was done."""
    return {
        name: told["wrong"]
        for name, told in figures.items()
        if isinstance(told, Mapping) and told.get("errors")
    }


def measured_platform(platform: Platform, users: int, **sizes: Any) -> dict[str, Any]:
    """:func:`run` for a lab's platform, with what it takes of the processor."""
    target = Target(platform.url, platform.address, platform.ca)
    took = Processors(platform.lab).since
    return asyncio.run(run(target, platform.people(users), took=took, **sizes))


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--site", default="examples/platform/lab.yaml")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--together", type=int, default=8, help="who sign in at a time")
    parser.add_argument("--loads", type=int, default=5, help="how often all open the first page")
    parser.add_argument("--over", type=float, default=20, help="seconds to open it in turn")
    parser.add_argument("--notebooks", type=int, default=20)
    given = vars(parser.parse_args())
    site = find_site(given.pop("site"))
    platform = Platform.of(Lab(site, state_path("lab").parents[1]))
    print(json.dumps(measured_platform(platform, **given)))


if __name__ == "__main__":
    main()
