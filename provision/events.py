"""What happens during a run, as one stream that the journal and the reporter both take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    ``kind`` is one of ``run-started``, ``plan``, ``phase-started``, ``task``,
    ``host-failed``, ``waiting``, ``gate-passed``, ``phase-finished``,
    ``notice``, ``run-finished``.
    """

    kind: str
    phase: str = ""
    host: str = ""
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_dict(self) -> dict[str, Any]:
        """Plain data without the empty fields."""
        fields = {"phase": self.phase, "host": self.host, "text": self.text}
        return {
            "time": self.time.isoformat(timespec="milliseconds"),
            "event": self.kind,
            **{name: value for name, value in fields.items() if value},
            **self.data,
        }


Emit = Callable[[Event], None]
