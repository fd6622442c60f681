"""The life of the lab: machines made for this run, thrown away at its end.

``PROVISION_KEEP_LAB=1`` leaves machines and state where they are, to look at; with
``PROVISION_LAB_STATE=FOLDER`` a later run goes on with them and that state folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.app import Application, read_site
from provision.paths import state_path
from provision.phase import Context
from tests.lab.machines import KEY_FOLDER, ROOT, SITE_FILE, Lab
from tests.lab.processes import ProcessWatch
from tests.lab.workload import Workload

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


@pytest.fixture(scope="session", autouse=True)
def watch() -> Iterator[ProcessWatch]:
    """What could be read of every process of the run, from its beginning."""
    with ProcessWatch() as watching:
        yield watching


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, report: Callable[[str], None]) -> Iterator[Lab]:
    """Fresh machines of ``inventory/lab``, with a state folder of their own.

    A lab of that name that is already there, whichever checkout made it, is replaced.
    The state folder holds nothing but the keys that this controller signs bundles with;
    it stays to be looked at, as pytest's temporary folders do.
    """
    kept = os.environ.get("PROVISION_LAB_STATE")
    if kept:
        yield Lab(SITE_FILE, Path(kept))
        return
    # pytest removes its own folders some runs later, and a kept lab is lost without its secrets.
    keep = os.environ.get("PROVISION_KEEP_LAB")
    state_home = Path(tempfile.mkdtemp()) if keep else tmp_path_factory.mktemp("state")
    shutil.copytree(state_path(KEY_FOLDER), state_home / "provision" / KEY_FOLDER)
    site = Lab(SITE_FILE, state_home)
    _remove(site.name)
    started = time.monotonic()
    _run("vagrant", "up")
    report(f"{len(site.machines)} machines up in {time.monotonic() - started:.1f} s")
    yield site
    if keep:
        report(f"kept: PROVISION_LAB_STATE={state_home}")
        return
    _remove(site.name)


@pytest.fixture
def context(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Context:
    """What decisions about the lab rest on, to ask a phase what it wants."""
    monkeypatch.setenv("XDG_STATE_HOME", str(lab.state_home))
    return Application(read_site(lab.site_file).site).context()


@pytest.fixture(scope="module")
def workload(lab: Lab) -> Iterator[Workload]:
    """A web server and a client on every machine of the cluster, which is there afterwards."""
    lab.provision("up", "--no-verify")
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
