"""Waiting for something to become true in the lab, with a deadline and the last thing seen."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(what: str, look: Callable[[], object], seconds: float) -> float:
    """Look until ``look()`` is true; seconds that it took.

    An :class:`AssertionError` of ``look`` (a command that failed) counts as not yet.
    """
    started = time.monotonic()
    last: object = None
    while time.monotonic() - started < seconds:
        try:
            last = look()
        except AssertionError as error:
            last = error
        else:
            if last:
                return time.monotonic() - started
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {seconds} s; last: {last}")
