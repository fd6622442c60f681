"""What may change a machine. Nothing else in the project does.

An effect is data; an :class:`EffectRunner` carries it out. Dry-run is the
field ``check``, so it cannot be forgotten in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from provision.events import Emit


@dataclass(frozen=True)
class Effect:
    """One play of one playbook.

    ``inventory`` is Ansible's inventory as plain data, holding just the
    machines to work on; ``variables`` are the play's own (no secrets: they
    are stored beside the run).
    """

    phase: str
    playbook: str
    inventory: Mapping[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False


@dataclass(frozen=True)
class EffectResult:
    """How an effect went: tasks that changed something, and failures, by machine."""

    changed: Mapping[str, int]
    failed: Mapping[str, str]
    cancelled: bool = False


class EffectRunner(Protocol):
    """Carries out effects."""

    def run(self, effect: Effect, emit: Emit, cancelled: Callable[[], bool]) -> EffectResult:
        """Carry out ``effect``; stop early once ``cancelled()`` is true."""
