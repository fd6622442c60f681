"""The life of the lab: machines made for this run, thrown away at its end.

``PROVISION_KEEP_LAB=1`` leaves machines and state where they are, to look at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.machines import ROOT, Lab
from tests.lab.workload import Workload

SITE_FILE = ROOT / "inventory" / "lab" / "site.yaml"
STATE_HOME = ROOT / "build" / "lab-state"
"""Secrets and journals of the run; kept when a test failed."""

FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash[FIGURES]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Takes a line with a measured figure; all of them are printed at the end of the run."""
    return pytestconfig.stash[FIGURES].append


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, report: Callable[[str], None]) -> Iterator[Lab]:
    """Fresh machines of ``inventory/lab``, with an empty state folder of their own.

    A lab of that name that is already there, whichever checkout made it, is replaced.
    """
    shutil.rmtree(STATE_HOME, ignore_errors=True)
    STATE_HOME.mkdir(parents=True, mode=0o700)
    site = Lab(SITE_FILE, STATE_HOME)
    _remove(site.name)
    started = time.monotonic()
    _run("vagrant", "up")
    report(f"{len(site.machines)} machines up in {time.monotonic() - started:.1f} s")
    yield site
    if os.environ.get("PROVISION_KEEP_LAB"):
        return
    _remove(site.name)
    if not request.session.testsfailed:
        shutil.rmtree(STATE_HOME)


@pytest.fixture(scope="module")
def workload(lab: Lab) -> Iterator[Workload]:
    """A web server and a client on every machine of the cluster."""
    running = Workload(lab)
    running.start()
    yield running
    running.stop()


def _remove(name: str) -> None:
    """Take the lab's machines away, those of earlier and broken runs too."""
    _run(str(Path("lab") / "remove"), name)


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PROVISION_SITE_FILE": str(SITE_FILE)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}", pytrace=False)
