"""What a build says of itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["built", "kept", "downloaded", "failed"]


@dataclass(frozen=True)
class Step:
    """One piece of the work, as shown."""

    name: str
    minutes: float
    """How long it takes on two cores, roughly; 0 when that is not known."""


class Progress(Protocol):
    """Hears what a build does; called from several threads."""

    def planned(self, steps: tuple[Step, ...]) -> None:
        """All that will be done, kept results included."""

    def started(self, name: str) -> None:
        """A step began."""

    def detail(self, name: str, text: str) -> None:
        """A step got somewhere: one short line, replacing the one before."""

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        """A step ended."""


@dataclass(frozen=True)
class WithMore:
    """Hears of a build that more steps come after than it knows of."""

    progress: Progress
    more: tuple[Step, ...]

    def planned(self, steps: tuple[Step, ...]) -> None:
        """Pass it on with the others."""
        self.progress.planned((*steps, *self.more))

    def started(self, name: str) -> None:
        """Pass it on."""
        self.progress.started(name)

    def detail(self, name: str, text: str) -> None:
        """Pass it on."""
        self.progress.detail(name, text)

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        """Pass it on."""
        self.progress.finished(name, outcome, seconds)


class Silent:
    """Hears everything, says nothing."""

    def planned(self, steps: tuple[Step, ...]) -> None:
        """Say nothing."""

    def started(self, name: str) -> None:
        """Say nothing."""

    def detail(self, name: str, text: str) -> None:
        """Say nothing."""

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        """Say nothing."""
