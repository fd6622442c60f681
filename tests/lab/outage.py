"""How long something does not answer, asked all the time by somebody outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

INTERVAL = 0.5
"""Seconds between two questions."""
PATIENCE = 3
"""Seconds after which no answer counts as none."""
Ask = Callable[[], Awaitable[bool]]


@dataclass
class Answers:
    """When something answered: moments in seconds of the monotonic clock."""

    moments: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def answering(self) -> bool:
        """Whether it answered when it was asked last."""
        return bool(self.moments) and self.moments[-1][1]

    def longest_silence(self, ended: float) -> float:
        """The longest time from one answer to the next, in which questions were in vain.

        Parameters
        ----------
        ended : end of a silence that has no answer after it.
        """
        longest, last, vain = 0.0, self.moments[0][0], False
        for moment, answered in [*self.moments, (ended, True)]:
            if not answered:
                vain = True
                continue
            if vain:
                longest = max(longest, moment - last)
            last, vain = moment, False
        return longest


@asynccontextmanager
async def watching(asks: Mapping[str, Ask]) -> AsyncIterator[dict[str, Answers]]:
    """Ask all of ``asks``, each on its own, for as long as the block runs."""
    found = {name: Answers() for name in asks}
    over = asyncio.Event()

    async def ask(name: str) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    answered = await asks[name]()
            except (aiohttp.ClientError, OSError, TimeoutError):
                answered = False
            found[name].moments.append((time.monotonic() if answered else began, answered))
            try:
                async with asyncio.timeout(INTERVAL):
                    await over.wait()
            except TimeoutError:
                continue

    tasks = [asyncio.create_task(ask(name)) for name in asks]
    try:
        yield found
    finally:
        over.set()
        await asyncio.gather(*tasks)
