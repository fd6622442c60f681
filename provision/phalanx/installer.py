"""Phalanx's installer: its own commands, in order, as its documentation has them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from provision.errors import OperatorError, UsageError
from provision.phalanx.preflight import Row, judged

INSTALL = "environment install"
PROGRAMS = ("git", "helm", "kubectl", "argocd")
"""What the installer calls."""


ASKING_SECONDS = 10.0
"""How long a program may take to tell its version."""
VERSION = re.compile(r"(?:^|[\sv:])(\d+(?:\.\d+){1,2})(?![\w.])")


@dataclass(frozen=True)
class Versioned:
    """How a program tells its version, and by how much of it it is too old."""

    asking: Sequence[str]
    parts: int


VERSIONED: Mapping[str, Versioned] = {
    # An older client than the server fails as if the password were wrong.
    "argocd": Versioned(("version", "--client", "--short"), 2),
    # The installer takes any of the major version.
    "helm": Versioned(("version", "--short"), 1),
}
"""Those of which an old one fails, in words that do not say so."""


@dataclass(frozen=True)
class Step:
    """One command of the installer."""

    name: str
    arguments: Sequence[str]
    as_administrator: bool = False
    """Whether it gets an administrator's token of Vault instead of the write token."""


def steps(environment: str, branch: str, static: Path) -> Sequence[Step]:
    """The commands that are left once policies, AppRole and write token are there.

    ``vault create-write-token`` is not among them: what it makes with a passing token, as
    people have, ends with that token. :mod:`provision.phalanx.vaultside` makes the same by the
    same calls, and ``vault audit`` is the installer's own judgement of it.
    """
    return (
        Step("vault audit", ("vault", "audit", environment), as_administrator=True),
        Step("secrets sync", ("secrets", "sync", "--secrets", str(static), environment)),
        Step("secrets audit", ("secrets", "audit", "--secrets", str(static), environment)),
        Step(
            INSTALL,
            (
                *("environment", "install", "--force-noninteractive"),
                *("--git-branch", branch, environment),
            ),
        ),
    )


def words_of(command: str) -> list[str]:
    """A command line as a shell would take it apart.

    Raises
    ------
    UsageError
        It cannot be, or nothing is in it.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _unusable(command, str(error)) from error
    if not words:
        raise _unusable(command, "nothing")
    return words


def program_rows(command: str, tools: Mapping[str, str]) -> Iterator[Row]:
    """Whether what the installer is run by, and what it calls, is there and new enough.

    Parameters
    ----------
    tools
        The version that the hand-over names, by program.
    """
    for name in (words_of(command)[0], *PROGRAMS):
        found = shutil.which(name)
        yield judged(f"program {name}", found or "not found", "in PATH", bool(found),
                     f"install {name}; versions.yaml of the hand-over says which")  # fmt: skip
        if found and name in VERSIONED:
            yield version_row(name, said(found, *VERSIONED[name].asking), tools[name])


def version_row(name: str, told: str, version: str) -> Row:
    """Whether a program is not older than it must be, by what it tells of itself."""
    parts = VERSIONED[name].parts
    has, wanted = _numbers(told)[:parts], _numbers(version)[:parts]
    least = ".".join(map(str, wanted))
    return judged(
        f"version of {name}",
        told or "it tells none",
        f"{least} or newer",
        bool(has) and has >= wanted,
        f"install {name} {version}, or say in the site file which is right: phalanx.tools.{name}",
    )


def said(program: str, *arguments: str) -> str:
    """The first line that a program prints; why there is none, where it fails."""
    try:
        ended = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASKING_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (ended.stdout or ended.stderr).decode(errors="replace").split("\n")
    return lines[0].strip()


def _numbers(told: str) -> list[int]:
    """The first version in a text."""
    found = VERSION.search(told)
    return [int(part) for part in found[1].split(".")] if found else []


def inputs(environment: Mapping[str, str], branch: str) -> str:
    """What a finished installation was made with, as a digest: other credentials need another."""
    told = (branch, environment["VAULT_ROLE_ID"], environment["VAULT_SECRET_ID"])
    return sha256("\0".join(told).encode()).hexdigest()


def run(
    step: Step,
    command: str,
    checkout: Path,
    environment: Mapping[str, str],
    administrator: Callable[[], str],
) -> None:
    """Run one of the installer's commands in a checkout; what it prints goes to standard error.

    The installer takes its tokens from its environment and from nowhere else, so that is where
    they are put: that of its own process.

    Raises
    ------
    OperatorError
        It fails.
    UsageError
        ``command`` cannot be run.
    """
    given = {**os.environ, **environment}
    if step.as_administrator:
        given["VAULT_TOKEN"] = administrator()
    words = [*words_of(command), *step.arguments]
    try:
        ended = subprocess.run(words, cwd=checkout, env=given, stdout=sys.stderr, check=False)
    except OSError as error:
        raise UsageError(
            "Phalanx's installer cannot be run", where=words[0], found=str(error)
        ) from error
    if ended.returncode:
        raise OperatorError(
            f"Phalanx's installer failed at: phalanx {step.name}",
            where=str(checkout),
            found=f"exit {ended.returncode}; its own words are above",
            fix="the same command again, which goes on from here",
        )


def _unusable(command: str, found: str) -> UsageError:
    return UsageError(
        "this is no command by which Phalanx's installer could be run",
        where=f"--command {shlex.quote(command)}",
        found=found,
        wanted="words as in a shell",
        fix="--command 'uv run phalanx'",
    )
