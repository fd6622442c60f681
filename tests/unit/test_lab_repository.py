"""The repository of the lab's platform: committed once, read by everybody, written by nobody."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.gitserver import serving
from lab.repository import FOLDERS, certify, commit, end, server_of, start

HERE = "127.0.0.1"


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.test"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_SSL_CAINFO": str(folder / "ca.crt"),
        "GIT_TERMINAL_PROMPT": "0",
    }
    return subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_committed_once(tmp_path: Path) -> None:
    first = commit(tmp_path / "site.git")
    assert commit(tmp_path / "site.git") == first
    listed = git(tmp_path, "-C", "site.git", "ls-tree", "--name-only", "main").stdout.split()
    assert sorted(listed) == sorted(FOLDERS)


def test_everybody_may_read_it_and_nobody_write(tmp_path: Path) -> None:
    made = commit(tmp_path / "site.git")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certify(tmp_path, "127.0.0.1"))
    with serving(tmp_path, "127.0.0.1", 0, context) as port:
        url = f"https://127.0.0.1:{port}/site.git"
        cloned = git(tmp_path, "clone", "--quiet", url, "work")
        assert cloned.returncode == 0, cloned.stderr
        assert git(tmp_path, "-C", "work", "rev-parse", "HEAD").stdout.strip() == made
        git(tmp_path, "-C", "work", "commit", "--quiet", "--allow-empty", "--message", "More")
        pushed = git(tmp_path, "-C", "work", "push", "--quiet")
        assert "403" in pushed.stderr
    assert commit(tmp_path / "site.git") == made


class Machine:
    """Where servers of the test's own run."""

    def __init__(self, run: Path) -> None:
        self.pid = run / "test-git.pid"
        self.servers: list[subprocess.Popen[bytes]] = []

    def start(self, folder: Path, port: int) -> bool:
        """Whether a server had to be started."""
        server = start("test", folder, HERE, port, self.pid.parent)
        self.servers += [server] if server else []
        return server is not None

    def end(self) -> None:
        for server in self.servers:
            end(server.pid)
            server.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    one = Machine(tmp_path / "run")
    yield one
    one.end()


def checkout(folder: Path, address: str = HERE) -> Path:
    """What one checkout serves."""
    folder.mkdir(exist_ok=True)
    certify(folder, address)
    return folder


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return int(found.getsockname()[1])


def answers(folder: Path, port: int) -> bool:
    """Whether something with the certificate of ``folder`` answers."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    try:
        with (
            socket.create_connection((HERE, port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=HERE),
        ):
            return True
    except (ConnectionRefusedError, ssl.SSLCertVerificationError):
        return False


def test_a_server_that_serves_the_same_is_left_alone(tmp_path: Path, machine: Machine) -> None:
    folder, port = checkout(tmp_path / "one"), free_port()
    assert machine.start(folder, port)
    assert answers(folder, port)
    assert not machine.start(checkout(folder), port)


def test_another_checkout_takes_the_servers_place(tmp_path: Path, machine: Machine) -> None:
    one, other, port = checkout(tmp_path / "one"), checkout(tmp_path / "other"), free_port()
    machine.start(one, port)
    assert machine.start(other, port)
    assert answers(other, port)


def test_another_port_is_served_and_the_first_no_more(tmp_path: Path, machine: Machine) -> None:
    folder, first, second = checkout(tmp_path / "one"), free_port(), free_port()
    machine.start(folder, first)
    machine.start(folder, second)
    assert (answers(folder, first), answers(folder, second)) == (False, True)


def test_a_new_certificate_is_served(tmp_path: Path, machine: Machine) -> None:
    folder, port = checkout(tmp_path / "one"), free_port()
    machine.start(folder, port)
    (folder / "server.pem").unlink()
    assert machine.start(checkout(folder), port)
    assert answers(folder, port)


def test_a_server_that_cannot_serve_is_told_in_its_own_words(
    tmp_path: Path, machine: Machine
) -> None:
    folder = checkout(tmp_path / "one")
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(SystemExit, match=r":\nAddress already in use; who listens there"):
            machine.start(folder, port)
    assert server_of(machine.pid) is None
    assert machine.start(folder, port)
    assert answers(folder, port)


def test_a_pid_file_of_another_process_is_no_servers(tmp_path: Path) -> None:
    pid = tmp_path / "test-git.pid"
    for text in (f"{os.getpid()}\n", "0\n", "nothing"):
        pid.write_text(text)
        assert server_of(pid) is None


def test_a_certificate_is_for_the_address(tmp_path: Path) -> None:
    def made(address: str) -> bytes:
        return certify(tmp_path, address).read_bytes()

    first = made(HERE)
    assert made(HERE) == first
    second = made("127.0.0.2")
    assert second != first
    assert made("127.0.0.2") == second
