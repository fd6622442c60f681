"""One thing that is not as a machine should be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether a site can come up in spite of it."""

    ERROR = "error"
    """The cluster would not come up, or not stay up."""
    WARNING = "warning"
    """It would, but the operator should know."""


@dataclass(frozen=True)
class Finding:
    """What is wrong, on which machine, and how to put it right."""

    severity: Severity
    host: str
    """The machine's name; empty where the site as a whole is meant."""
    what: str
    """One sentence that says what is wrong."""
    found: str = ""
    """What was read."""
    wanted: str = ""
    """What is allowed."""
    fix: str = ""
    """The command to run or the line to change."""
    among: tuple[str, ...] = ()
    """The machines that it comes from together, where it is about no single one."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data without the empty fields."""
        fields = ("severity", "host", "what", "found", "wanted", "fix")
        return {name: str(getattr(self, name)) for name in fields if getattr(self, name)}


def error(
    host: str,
    what: str,
    *,
    found: str = "",
    wanted: str = "",
    fix: str = "",
    among: Iterable[str] = (),
) -> Finding:
    """A finding that stops the site from coming up."""
    return Finding(Severity.ERROR, host, what, found, wanted, fix, tuple(among))


def warning(
    host: str,
    what: str,
    *,
    found: str = "",
    wanted: str = "",
    fix: str = "",
    among: Iterable[str] = (),
) -> Finding:
    """A finding that the operator should know of."""
    return Finding(Severity.WARNING, host, what, found, wanted, fix, tuple(among))
