"""How machines are reached and held, on real ones: faults stay bounded and are named."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provision.adapters.connection import Connections
from provision.adapters.pyinfra import PyinfraMachines
from provision.app import read_site
from provision.errors import ExitCode, LockedError
from provision.facts import MachineFacts, Query
from provision.observe import Holder
from provision.site import SecretRef
from provision.worker import start_worker

if TYPE_CHECKING:
    from tests.lab.machines import Lab, Machine

LAST_WORDS = "correct-horse"
"""Password of the throw-away user."""

Found = Mapping[str, MachineFacts]


@contextmanager
def reading(lab: Lab, folder: Path, **connection: Any) -> Iterator[PyinfraMachines]:
    site = read_site(lab.site_file).site
    password = SecretRef(prompt=True) if connection.pop("password", False) else None
    changes = {**connection, "sudo_password": password}
    changed = site.model_copy(update={"connection": site.connection.model_copy(update=changes)})
    with PyinfraMachines(
        changed, Connections(changed, folder), start_worker(), sudo_password=lambda _: LAST_WORDS
    ) as machines:
        yield machines


def read(machines: PyinfraMachines) -> Found:
    return machines.read(dict.fromkeys(machines.site.hosts, Query()))


def faults(found: Found) -> dict[str, str]:
    return {name: facts.error.found for name, facts in found.items() if facts.error}


def holder(run: str) -> Holder:
    return Holder(who="lab@controller", run=run, since=datetime.now(UTC))


@pytest.fixture
def victim(lab: Lab) -> Machine:
    return list(lab.machines.values())[-1]


@pytest.fixture
def stranger(lab: Lab) -> Iterator[str]:
    """A user on every machine who becomes root only with a password."""
    public = subprocess.run(
        ["ssh-keygen", "-y", "-f", lab.ssh[-1]], capture_output=True, text=True, check=True
    )
    for machine in lab.machines.values():
        machine.run(
            "set -e; useradd --create-home --shell /bin/sh stranger; chpasswd;"
            " echo 'stranger ALL=(ALL) ALL' > /etc/sudoers.d/stranger;"
            " install -d -m 0700 -o stranger ~stranger/.ssh",
            stdin=f"stranger:{LAST_WORDS}\n",
        )
        machine.run(
            "install -m 0600 -o stranger /dev/stdin ~stranger/.ssh/authorized_keys",
            stdin=public.stdout,
        )
    yield "stranger"
    for machine in lab.machines.values():
        machine.run("userdel --remove --force stranger; rm /etc/sudoers.d/stranger")


def test_a_reading_costs_little(lab: Lab, tmp_path: Path, report: Callable[[str], None]) -> None:
    started = time.monotonic()
    with reading(lab, tmp_path) as machines:
        assert not faults(read(machines))
        first = time.monotonic() - started
        assert not faults(read(machines))
        again = time.monotonic() - started - first
    report(f"reading {len(lab.machines)} machines: {first:.1f} s, once connected {again:.1f} s")


def test_a_reader_that_somebody_ended_is_started_anew(
    lab: Lab, tmp_path: Path, victim: Machine
) -> None:
    with reading(lab, tmp_path) as machines:
        assert not faults(read(machines))
        victim.run("pkill --full '[p]rovision-begin'")
        assert not faults(read(machines))


def test_a_stopped_server_is_named_and_the_others_answer(
    lab: Lab, tmp_path: Path, victim: Machine
) -> None:
    lab.podman("exec", victim.container, "systemctl", "stop", "ssh.socket", "ssh.service")
    try:
        with reading(lab, tmp_path) as machines:
            assert faults(read(machines)) == {victim.name: "connection refused"}
    finally:
        lab.podman("exec", victim.container, "systemctl", "start", "ssh.service")


def test_a_machine_that_hangs_holds_nobody_up_for_long(
    lab: Lab, tmp_path: Path, victim: Machine
) -> None:
    with reading(lab, tmp_path) as machines:
        assert not faults(read(machines))
        lab.podman("pause", victim.container)
        try:
            started = time.monotonic()
            assert list(faults(read(machines))) == [victim.name]
            assert time.monotonic() - started < 60
        finally:
            lab.podman("unpause", victim.container)
        while faults(read(machines)):
            pass


def test_a_changed_host_key_is_refused(lab: Lab, tmp_path: Path, victim: Machine) -> None:
    site = read_site(lab.site_file).site
    pinned = Connections(site, tmp_path).known_hosts(victim.name)
    assert pinned is not None
    others = [line for line in pinned.read_text().splitlines() if victim.address not in line]
    known = tmp_path / "known_hosts"
    stolen = next(line.split()[1:] for line in others if "ed25519" in line)
    known.write_text("\n".join([*others, " ".join([victim.address, *stolen])]) + "\n")
    with reading(lab, tmp_path, known_hosts=known) as machines:
        error = read(machines)[victim.name].error
    assert error is not None
    assert "is not the one that was pinned" in error.what
    assert f"ssh-keygen -R '{victim.address}'" in error.fix


def test_machines_are_reached_through_a_jump_host(lab: Lab, tmp_path: Path) -> None:
    """By what reads machines and by what Ansible runs; both read one configuration."""
    first, *others = lab.machines.values()
    with reading(lab, tmp_path, bastion=f"{lab.user}@{first.address}") as machines:
        found = machines.read({machine.name: Query() for machine in others})
        assert not faults(found)
        for machine in others:
            command = machines.connections.ssh(machine.name, "echo $SSH_CONNECTION")
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert told.split()[0] == first.address
            logins = machine.run(
                "journalctl --no-pager -o cat -u 'ssh*'"
                f" | grep -c '^Accepted .* from {first.address} '"
            )
            assert int(logins) >= 2, "the reader's and ours"


def test_a_jump_host_that_lets_nobody_through_is_named(lab: Lab, tmp_path: Path) -> None:
    first, *others = lab.machines.values()
    with reading(lab, tmp_path, bastion=f"nobody@{first.address}") as machines:
        error = machines.read({others[0].name: Query()})[others[0].name].error
    assert error is not None
    assert error.what == "the jump host does not let us in"
    assert error.exit_code == ExitCode.CONNECTION


def test_a_key_that_nobody_knows_is_refused(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with reading(lab, tmp_path, key=key) as machines:
        assert set(faults(read(machines)).values()) == {f"keys tried: {key}"}


def test_a_sudo_password_works_and_is_seen_nowhere(lab: Lab, tmp_path: Path, stranger: str) -> None:
    with reading(lab, tmp_path, user=stranger) as machines:
        assert set(faults(read(machines)).values()) == {"sudo: a password is required"}
    with (
        reading(lab, tmp_path, user=stranger, password=True) as machines,
        machines.lock(holder("seen")) as lock,
    ):
        assert not faults(read(machines))
        for name in lock.held:
            assert lab.machines[name].run(SEARCH) == "held\n"


# Written so that the search does not find itself.
PATTERN = f"{LAST_WORDS[:-1]}[{LAST_WORDS[-1]}]"

SEARCH = f"""\
for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do
  if tr '\\0' '\\n' < "$file" 2>/dev/null | grep -q '{PATTERN}'; then echo "$file"; fi
done
journalctl --no-pager | grep '{PATTERN}'
grep -rl '{PATTERN}' /run /tmp /var/log
test -f /run/provision/lock && echo held
"""
"""Looks for the password while the process that needed it runs."""


def test_one_of_two_controllers_gets_the_site(lab: Lab, tmp_path: Path) -> None:
    outcomes: list[str] = []
    ready = threading.Barrier(2)
    done = threading.Barrier(2)

    def run(name: str) -> None:
        with reading(lab, tmp_path / name) as machines:
            read(machines)
            ready.wait()
            try:
                lock = machines.lock(holder(name))
            except LockedError as refused:
                outcomes.append(f"refused: {refused.found.partition(',')[0]}")
                done.wait()
            else:
                outcomes.append("held")
                done.wait()
                lock.release()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", "refused: lab@controller"]


def test_a_dead_run_keeps_nothing(lab: Lab, tmp_path: Path) -> None:
    with reading(lab, tmp_path / "dead") as dead, reading(lab, tmp_path / "alive") as alive:
        assert not faults(read(alive))
        held = dead.lock(holder("dead")).held
        assert held == tuple(lab.control_plane)
        with pytest.raises(LockedError):
            alive.lock(holder("alive"))
        # SIGKILL leaves nobody who could tidy up.
        dead._worker.kill()
        while True:
            try:
                lock = alive.lock(holder("alive"))
            except LockedError:
                continue
            break
        assert lock.held == held
        lock.release()
    for name in held:
        while lab.machines[name].run("ls /run/provision || echo gone") != "gone\n":
            pass
