"""Named conditions to wait for.

A condition is asked with its arguments and says whether it holds, and what it
saw. :class:`Gates` asks again and again until it holds or the deadline passes;
then the error tells the last thing seen. Retrying belongs here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from provision.errors import DeadlineError, OperatorError
from provision.phase import GateSpec

Condition = Callable[[Mapping[str, Any]], tuple[bool, str]]
"""Whether it holds now, and what was seen; it does not raise for what may pass."""

INTERVAL = 1.0
"""Seconds between two looks."""


def judged(
    judge: Callable[[Mapping[str, Any]], Iterable[str]], given: Mapping[str, Any]
) -> tuple[bool, str]:
    """What ``judge`` finds wrong, as a condition says it; it may raise :class:`OperatorError`."""
    try:
        problems = list(judge(given))
    except OperatorError as error:
        return False, error.found or error.what
    return not problems, "; ".join(problems)


class Gates:
    """Waits for conditions.

    Parameters
    ----------
    conditions
        Every condition by its name, a noun phrase such as ``nodes ready``.
    interval
        Seconds between two looks.
    clock, pause
        Time in seconds, and how to let it pass.
    """

    def __init__(
        self,
        conditions: Mapping[str, Condition],
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.conditions = conditions
        self.interval = interval
        self.clock = clock
        self.pause = pause

    def holds(self, gate: GateSpec) -> bool:
        """Whether ``gate`` holds now; one look."""
        return self.conditions[gate.condition](gate.arguments)[0]

    def wait(
        self, gate: GateSpec, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> None:
        """Return once ``gate`` holds, or when ``cancelled()`` becomes true.

        Each new thing that is seen is told to ``report``.

        Raises
        ------
        DeadlineError
            It did not hold in time.
        """
        condition = self.conditions[gate.condition]
        deadline = self.clock() + gate.seconds
        told = ""
        while not cancelled():
            holds, seen = condition(gate.arguments)
            if holds:
                return
            if seen != told:
                report(seen)
                told = seen
            if self.clock() >= deadline:
                raise DeadlineError(
                    f"waited {gate.seconds:.0f} seconds in vain for: {gate.condition}",
                    found=seen,
                    fix=gate.fix,
                )
            self.pause(self.interval)
