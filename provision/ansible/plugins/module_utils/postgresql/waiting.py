"""Waits for a condition on this machine, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 0.5
"""Seconds between two looks."""


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether ``holds()`` becomes true before ``seconds`` are over."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= deadline:
            return False
        time.sleep(INTERVAL)
    return True
