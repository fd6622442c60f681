"""What reading machines and holding a site needs, without saying how it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from provision.facts import MachineFacts, Query


class MachineReader(Protocol):
    """Reads many machines at once."""

    def read(self, queries: Mapping[str, Query]) -> Mapping[str, MachineFacts]:
        """Answer every query, in the order asked.

        A machine's fault is in its :attr:`MachineFacts.error`; one that hangs
        does not delay the others' answers beyond its own timeout.
        """

    def close(self) -> None:
        """End the connections."""


@dataclass(frozen=True)
class Holder:
    """Who holds a site's lock."""

    who: str
    """User, as ``user@controller``."""
    run: str
    """Name of the run, as ``provision runs`` lists it."""
    since: datetime
    """When the run took the lock."""
    where: str = ""
    """Process on the controller."""

    def as_dict(self) -> dict[str, str]:
        """Plain data, as it lies on the machines."""
        return {**asdict(self), "since": self.since.astimezone(UTC).isoformat(timespec="seconds")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Holder | None:
        """The holder that a machine told of, or None where it had not signed yet."""
        try:
            since = datetime.fromisoformat(data["since"])
            return cls(str(data["who"]), str(data["run"]), since, str(data["where"]))
        except (KeyError, TypeError, ValueError):
            return None

    def __str__(self) -> str:
        since = self.since.astimezone(UTC)
        run = f"run {self.run}" if self.run else ""
        parts = (self.who, self.where, run, f"since {since:%Y-%m-%d %H:%M:%S} UTC")
        return ", ".join(part for part in parts if part)


class SiteLock(Protocol):
    """The lock of a site, held on its machines until released."""

    def keep(self) -> None:
        """Take it again where a machine lost it, by a reboot for example.

        Raises
        ------
        LockedError
            Most of the machines do not hold it for us any more.
        """

    def release(self) -> None:
        """Let others have the site."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
