"""Installs and purges Debian packages without starting their services."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .commands import run
from .failure import WorkError
from .marks import locked
from .repository import Repository

LISTS = Path("/var/lib/apt/lists")
POLICY = Path("/usr/sbin/policy-rc.d")
LIST_MAX_AGE = 24 * 3600
SECONDS_FOR_OTHERS = 300
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
}
OPTIONS = (
    "--quiet=2",
    "--option=Dpkg::Options::=--force-confdef",
    "--option=Dpkg::Options::=--force-confold",
    f"--option=DPkg::Lock::Timeout={SECONDS_FOR_OTHERS}",
)


def install(names: Sequence[str], repository: Repository | None = None) -> None:
    """Install ``names``; their services are not started, that is for the units' turn.

    Lists older than a day are fetched anew first; so they are, once, when the
    installation fails with the lists at hand.

    Parameters
    ----------
    repository
        Where they come from, and nothing else; it is gone afterwards. Without it, they come
        from the machine's own sources.

    Raises
    ------
    WorkError
        apt says no; the message quotes it.
    """
    with locked("packages"), _services_kept_off():
        run(["dpkg", "--configure", "--pending"], environment=ENVIRONMENT)
        if repository is None:
            _install_from_mirrors(names)
            return
        try:
            repository.complete()
            _install(names, repository.options)
        finally:
            repository.drop()


def _install_from_mirrors(names: Sequence[str]) -> None:
    fresh = _lists_are_fresh()
    if not fresh:
        _update()
    try:
        _install(names)
    except WorkError:
        if not fresh:
            raise
        _update()
        _install(names)


def _install(names: Sequence[str], more: Sequence[str] = ()) -> None:
    options = (*OPTIONS, *more)
    command = ["apt-get", *options, "install", "--yes", "--no-install-recommends", *names]
    run(command, environment=ENVIRONMENT)


def purge(names: Sequence[str]) -> None:
    """Take ``names`` off with their configuration."""
    with locked("packages"):
        run(["apt-get", *OPTIONS, "purge", "--yes", *names], environment=ENVIRONMENT)


def _update() -> None:
    run(["apt-get", *OPTIONS, "update"], environment=ENVIRONMENT)


def _lists_are_fresh() -> bool:
    newest = max((path.stat().st_mtime for path in LISTS.glob("*_InRelease")), default=0.0)
    return time.time() - newest < LIST_MAX_AGE


@contextmanager
def _services_kept_off() -> Iterator[None]:
    """Debian's way to forbid service starts; void by itself when this process is gone."""
    ours = f"#!/bin/sh\n# provision\n[ -d /proc/{os.getpid()} ] && exit 101\nexit 0\n"
    if POLICY.exists() and "# provision\n" not in POLICY.read_text("utf-8", "replace"):
        yield
        return
    POLICY.write_text(ours, "utf-8")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
