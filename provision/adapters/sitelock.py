"""The site's lock, held on its control-plane machines over the open SSH connections.

On each of them a process holds an flock for as long as it hears from us (see
``onmachine/hold.py``), so a run that dies, or a controller that vanishes, keeps
nothing. Whoever holds most of the machines holds the site. The first machine that
answers is asked before the others: of two runs that start at once, one is refused
there, instead of each taking a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol, Self

from provision.errors import LockedError, OperatorError, UnreachableError
from provision.observe import Holder
from provision.site import Site

SILENCE_SECONDS = 30
"""How long a machine keeps the lock without hearing from the controller."""

Reply = Mapping[str, Any]


class Holding(Protocol):
    """Starts and ends the lock's process on machines."""

    def hold(
        self, host: str, request: Mapping[str, Any]
    ) -> tuple[int, SimpleQueue[dict[str, Any]]]:
        """Start it; its number, and where its replies come."""

    def release(self, number: int) -> None:
        """End it."""

    def explain(self, host: str, reply: dict[str, Any]) -> OperatorError:
        """The operator's error for a reply with ``error``."""


@dataclass
class _Attempt:
    host: str
    number: int
    replies: SimpleQueue[dict[str, Any]]
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        return "output" in self.reply

    @property
    def held(self) -> bool:
        return self.answered and bool(self.reply["output"]["held"]) and self.replies.empty()

    @property
    def holder(self) -> Holder | None:
        return Holder.from_dict(self.reply["output"]["holder"])


class HeldLock:
    """The site's lock while it is ours; leaving the block releases it."""

    def __init__(self, machines: Holding, hosts: Sequence[str], holder: Holder) -> None:
        self._machines = machines
        self._hosts = tuple(hosts)
        self._holder = holder
        self._attempts: dict[str, _Attempt] = {}

    @property
    def held(self) -> tuple[str, ...]:
        """Machines that hold the lock for us."""
        return tuple(host for host, attempt in self._attempts.items() if attempt.held)

    def take(self) -> None:
        """Take the lock on every machine that does not hold it for us yet.

        Raises
        ------
        LockedError
            Another run has it.
        UnreachableError
            Too few machines answer to know.
        """
        try:
            self._take()
        except OperatorError:
            self.release()
            raise

    def _take(self) -> None:
        missing = [host for host in self._hosts if host not in self.held]
        while missing and not self.held:
            first = self._attempt([missing.pop(0)])[0]
            if first.answered and not first.held:
                raise self._locked([first])
        attempts = self._attempt(missing)
        if len(self.held) * 2 > len(self._hosts):
            return
        refusals = [attempt for attempt in attempts if attempt.answered and not attempt.held]
        raise self._locked(refusals) if refusals else self._unreachable()

    def keep(self) -> None:
        """Take it again where a machine lost it, by a reboot for example.

        Raises
        ------
        LockedError
            Most of the machines do not hold it for us any more.
        """
        if len(self.held) == len(self._hosts):
            return
        self._attempt([host for host in self._hosts if host not in self.held])
        if len(self.held) * 2 <= len(self._hosts):
            raise LockedError(
                "most machines do not hold the site's lock for this run any more",
                where=", ".join(host for host in self._hosts if host not in self.held),
                found=f"{len(self.held)} of {len(self._hosts)} hold it",
                why="another run may have started meanwhile, so this one stops here",
                fix="see that the machines answer: provision check; then run the command again",
            )

    def release(self) -> None:
        """Let others have the site."""
        for attempt in self._attempts.values():
            self._machines.release(attempt.number)
        self._attempts.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _attempt(self, hosts: Sequence[str]) -> list[_Attempt]:
        request = {"holder": self._holder.as_dict(), "silence_seconds": SILENCE_SECONDS}
        started = [_Attempt(host, *self._machines.hold(host, request)) for host in hosts]
        for attempt in started:
            attempt.reply = attempt.replies.get()
            self._attempts[attempt.host] = attempt
        return started

    def _locked(self, refusals: Sequence[_Attempt]) -> LockedError:
        refused = refusals[0]
        holder = refused.holder
        return LockedError(
            "another run is working on this site",
            where=", ".join(attempt.host for attempt in refusals),
            found=str(holder) if holder else "a run that has just started",
            fix="wait for it, or see on that controller what it does: provision runs show"
            + (f" {holder.run}" if holder else ""),
        )

    def _unreachable(self) -> UnreachableError:
        silent = [attempt for attempt in self._attempts.values() if not attempt.answered]
        reasons = {
            attempt.host: self._machines.explain(attempt.host, attempt.reply) for attempt in silent
        }
        return UnreachableError(
            "too few control-plane machines answer to lock the site",
            where=", ".join(reasons),
            found="; ".join(
                f"{host}: {error.what} ({error.found})" for host, error in reasons.items()
            ),
            wanted=f"{len(self._hosts) // 2 + 1} of {', '.join(self._hosts)}",
            fix="provision check",
        )


def hold_site(machines: Holding, site: Site, holder: Holder) -> HeldLock:
    """Take the lock of ``site``.

    Raises
    ------
    LockedError
        Another run holds it; the error names that one.
    UnreachableError
        Most of the control-plane machines do not answer.
    """
    lock = HeldLock(machines, site.control_plane, holder)
    lock.take()
    return lock
