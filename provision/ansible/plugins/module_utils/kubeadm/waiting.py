"""Wait for a condition on this machine, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from .failure import WorkError

INTERVAL = 0.5
"""Seconds between two looks."""


def until(what: str, holds: Callable[[], bool], *, seconds: float) -> None:
    """Return once ``holds()`` is true.

    Raises
    ------
    WorkError
        It was not within ``seconds``; the message names ``what``.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise WorkError(f"waited {seconds:.0f} seconds in vain for {what}")
        time.sleep(INTERVAL)
