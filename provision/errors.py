"""What can go wrong, one class a kind, each with its documented exit code.

An :class:`OperatorError` is for the person at the terminal: it says what is
wrong, where, what was found, what is wanted, why, and what to run. Anything
else that escapes is our own defect and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; ``docs/errors.md`` lists them."""

    OK = 0
    BUG = 1
    CHANGES = 2
    CONFIG = 3
    CONNECTION = 4
    FINDINGS = 5
    BUNDLE = 6
    LOCKED = 7
    FAILED = 8
    DEADLINE = 9
    UNHEALTHY = 10
    SECRETS = 11
    DISK = 12
    USAGE = 64
    INTERRUPTED = 130


class OperatorError(Exception):
    """Something that the operator can put right.

    Parameters
    ----------
    what
        One sentence that says what is wrong.
    where
        File with line and column, key path, machine or address.
    found, wanted
        The value met and the values that are allowed.
    why
        Why it matters, where that is not plain.
    fix
        The command to run or the line to change next.
    also
        What else is wrong, one line each.
    """

    exit_code = ExitCode.FAILED

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        found: str = "",
        wanted: str = "",
        why: str = "",
        fix: str = "",
        also: Sequence[str] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.found = found
        self.wanted = wanted
        self.why = why
        self.fix = fix
        self.also = tuple(also)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        for label, text in self.details().items():
            lines.append(f"  {label + ':':8}{text}".replace("\n", "\n" + " " * 10))
        return "\n".join(lines)

    def details(self) -> dict[str, str]:
        """The filled fields besides ``what`` and ``where``, in reading order."""
        fields = {
            "found": self.found,
            "wanted": self.wanted,
            "why": self.why,
            "fix": self.fix,
            "also": "\n".join(self.also),
        }
        return {label: text for label, text in fields.items() if text}


class ConfigError(OperatorError):
    """The site file, or a file that it names, is wrong."""

    exit_code = ExitCode.CONFIG


class UsageError(OperatorError):
    """The command line itself is wrong."""

    exit_code = ExitCode.USAGE


class UnreachableError(OperatorError):
    """A machine or an API does not answer, or does not let us in."""

    exit_code = ExitCode.CONNECTION


class FindingsError(OperatorError):
    """The machines are not fit for what was asked, or a phase is blocked."""

    exit_code = ExitCode.FINDINGS


class BundleError(OperatorError):
    """The bundle is missing, unsigned, tampered with or for another machine."""

    exit_code = ExitCode.BUNDLE


class LockedError(OperatorError):
    """Another run holds the site."""

    exit_code = ExitCode.LOCKED


class PhaseFailedError(OperatorError):
    """A phase failed on a machine."""

    exit_code = ExitCode.FAILED


class DeadlineError(OperatorError):
    """A gate's condition did not become true in time."""

    exit_code = ExitCode.DEADLINE


class SecretsError(OperatorError):
    """A secret is missing, unreadable or readable by others."""

    exit_code = ExitCode.SECRETS


class DiskFullError(OperatorError):
    """There is no room for what has to be written."""

    exit_code = ExitCode.DISK


class VaultRefusalError(OperatorError):
    """Vault answers, and refuses."""

    exit_code = ExitCode.FAILED


class VaultFailureError(VaultRefusalError):
    """Vault answers that it cannot: it is sealed, has too much to do, or no leader, or failed.

    What was asked is not judged by that, and may be right. Whoever waits for an election, or for a
    member that joins, knows by its words what it is.
    """

    exit_code = ExitCode.CONNECTION
