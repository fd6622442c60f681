"""The process in which pyinfra talks to machines.

pyinfra needs gevent's patched standard library, which nothing else in the program
tolerates, so it has a process of its own: a stream, at first standard input, brings
requests and takes replies as JSON lines. When the stream ends, the locks held through
it are let go. The connections stay for a minute, for the next run that finds the
process by the socket whose path is its argument; without one, with a sudo password
to keep, or with anything still running on a machine, it ends at once.

Requests: ``{"do": "machines", "machines": {name: {"data", "password", "config"}}}``
once, which begins to connect to all of them, then ``{"do": "run", "id", "host",
"command", "lines", "seconds"}``, ``{"do": "hold", "id", "host", "command", "lines"}``,
``{"do": "release", "id"}``, ``{"do": "forget keys"}``.
Replies carry the request's ``id`` and either ``output``, ``lost`` or ``error`` with a
``kind`` from :class:`provision.adapters.failures.Kind` and the fields it needs.
"""

# ruff: noqa: E402
from __future__ import annotations

from gevent import monkey

# Nothing here waits in the others; asking all installed packages for an opinion about each module
# takes gevent longer than patching it.
monkey.patch_all(ssl=False, queue=False, builtins=False, signal=False)

import errno
import getpass
import json
import logging
import os
import shlex
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pool import Group
from paramiko import (
    Agent,
    AuthenticationException,
    BadHostKeyException,
    ChannelException,
    MissingHostKeyPolicy,
    SSHException,
)
from paramiko.ssh_exception import NoValidConnectionsError
from pyinfra.api import Config, Inventory, State
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.connectors.ssh_util import load_key_with_certificate
from pyinfra.connectors.sshuserclient import SSHClient
from pyinfra.connectors.sshuserclient.client import get_host_keys, get_ssh_config

CONNECT_SECONDS = 10
"""For one TCP connection; pyinfra's CONNECT_TIMEOUT."""

WHOLE_CONNECT_SECONDS = 60
"""For a connection with its jump host, greeting and authentication."""

LINGER_SECONDS = 60
"""How long connections stay open after a run; Ansible's ControlPersist."""

HEARTBEAT_SECONDS = 5
"""How often a held lock is told that we are still there."""


class FailureError(Exception):
    """A machine's fault, to be told to the controller."""

    def __init__(self, kind: str, **fields: Any) -> None:
        super().__init__(kind)
        self.reply = {"kind": kind, **fields}


class UnknownKeyError(Exception):
    """Carries the host key that a machine showed."""

    def __init__(self, name: str, key: Any, file: str) -> None:
        super().__init__(name)
        self.reply = {
            "name": name,
            "type": key.get_name(),
            "key": key.get_base64(),
            "file": file,
        }


class _Show(MissingHostKeyPolicy):
    """Hands an unknown key over instead of judging it."""

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> NoReturn:
        file = client._host_keys_filename  # noqa: SLF001 - paramiko has no public name for it
        raise UnknownKeyError(hostname, key, file)


class _Looking(SSHClient):
    """Connects as pyinfra does, by the same configuration, but only to see the key."""

    def set_missing_host_key_policy(self, policy: Any) -> None:
        super().set_missing_host_key_policy(_Show())


class Program:
    """A program that runs on a machine and answers requests, a line of JSON each.

    Parameters
    ----------
    client
        The connection.
    command
        Text for the machine's shell.
    lines
        What the program's input begins with.
    """

    def __init__(self, client: Any, command: str, lines: list[str]) -> None:
        self.channel = client.get_transport().open_session(timeout=CONNECT_SECONDS)
        self.channel.exec_command(shlex.join(["sh", "-c", command]))
        self.output = self.channel.makefile("r")
        self.said = ""
        self._tell(lines)

    def ask(self, request: str, *, last: bool = False) -> dict[str, Any] | None:
        """The reply to a request, or None where the program ends without one."""
        sent = time.time()
        self._tell([request])
        if last:
            self.channel.shutdown_write()
        found = self.answer()
        return None if found is None else {"output": found, "sent": sent, "received": time.time()}

    def answer(self) -> dict[str, Any] | None:
        """The next answer, or None where the program ended without one."""
        for line in self.output:
            # A login shell may say something of its own before.
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
            self.said = line.rstrip("\n")
        return None

    def errors(self) -> str:
        """What the ended program said, without the mark that the command puts before each line."""
        lines = self.channel.makefile_stderr("r")
        return "\n".join(line.rstrip("\n").removeprefix(": ") for line in lines)

    def _tell(self, lines: list[str]) -> None:
        self.channel.sendall("".join(f"{line}\n" for line in lines).encode())


class Machine:
    """One machine and its connection, opened when first needed and kept.

    ``programs`` wait on it for their next request, by the command and the text that
    started them; they end with the connection.
    """

    def __init__(self, host: Any, password: str | None) -> None:
        self.host = host
        self.password = password
        self.connecting = BoundedSemaphore()
        self.refused: FailureError | None = None
        self.refused_at = 0.0
        self.programs: dict[tuple[str, ...], list[Program]] = {}

    def greet(self) -> None:
        """Open the connection ahead of the first request, which is told if that just failed."""
        try:
            self.connect()
        except FailureError as failure:
            self.refused = failure
            self.refused_at = time.monotonic()

    def connect(self) -> bool:
        """Open the connection; False where it was open already."""
        with self.connecting:
            if self.host.connected and self._alive():
                return False
            refused, self.refused = self.refused, None
            if refused is not None and time.monotonic() - self.refused_at < CONNECT_SECONDS:
                raise refused
            self.close()
            try:
                with gevent.Timeout(WHOLE_CONNECT_SECONDS, TimeoutError("timed out")):
                    self.host.connect(show_errors=False, raise_exceptions=True)
            except ConnectError as error:
                raise self._failure(error.__context__ or error) from error
            except (PyinfraError, SSHException, OSError, EOFError) as error:
                raise self._failure(error) from error
            self._notice_death()
            return True

    def close(self) -> None:
        """Drop the connection; pyinfra's own disconnect leaves the transport open."""
        self.programs.clear()
        if self.host.connector.client is not None:
            self.host.connector.client.close()
        self.host.connected = False

    def _alive(self) -> bool:
        transport = self.host.connector.client.get_transport()
        return transport is not None and transport.is_active()

    def _notice_death(self) -> None:
        """Let the kernel end the connection when the machine vanishes without a word."""
        sock = self.host.connector.client.get_transport().sock
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)

    def run(self, command: str, lines: list[str], seconds: float) -> dict[str, Any]:
        """Run ``command`` with ``lines`` as its input; once more on a connection gone stale."""
        fresh = self.connect()
        try:
            if not fresh:
                self._ask_for_life()
            return self._run(command, lines, seconds)
        except (SSHException, EOFError, OSError) as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise FailureError("silent", text=str(error)) from error
            if fresh:
                raise self._failure(error) from error
        self.connect()
        try:
            return self._run(command, lines, seconds)
        except (SSHException, EOFError, OSError) as error:
            self.close()
            raise self._failure(error) from error

    def _ask_for_life(self) -> None:
        """See that SSH still answers: a waiting program may take its time, and a machine not."""
        transport = self.host.connector.client.get_transport()
        with gevent.Timeout(CONNECT_SECONDS, SSHException("the connection is silent")):
            transport.global_request("keepalive@openssh.com", wait=True)

    def _run(self, command: str, lines: list[str], seconds: float) -> dict[str, Any]:
        *first, request = lines
        waiting = self.programs.setdefault((command, *first), [])
        with gevent.Timeout(seconds, TimeoutError(f"no answer within {seconds:g} s")):
            while waiting:
                program = waiting.pop()
                # Somebody may have ended it meanwhile.
                reply = None if program.channel.closed else program.ask(request)
                if reply is not None:
                    waiting.append(program)
                    return reply
            program = Program(self.host.connector.client, command, [*self._password(), *first])
            # sudo that takes a password gets its input through a pipe, which ends after ours only.
            reply = program.ask(request, last=self.password is not None)
            if reply is None:
                self._complain(program)
            elif self.password is None:
                waiting.append(program)
            return reply

    def _complain(self, program: Program) -> NoReturn:
        errors = program.errors()
        if not errors and not self._alive():
            raise EOFError("the connection was closed")
        raise FailureError("command", text=errors or program.said)

    def hold(self, command: str, lines: list[str]) -> tuple[Any, dict[str, Any]]:
        """Start ``command`` and leave it running; its channel and its first line."""
        self.connect()
        try:
            with gevent.Timeout(2 * CONNECT_SECONDS, TimeoutError("timed out")):
                program = Program(self.host.connector.client, command, [*self._password(), *lines])
                first = program.answer()
                if first is None:
                    raise FailureError("command", text=program.errors())
        except (SSHException, EOFError, OSError) as error:
            raise self._failure(error) from error
        return program.channel, first

    def _password(self) -> list[str]:
        return [] if self.password is None else [self.password]

    def _failure(self, error: BaseException) -> FailureError:
        name = self.host.data.ssh_hostname
        if isinstance(error, BadHostKeyException):
            return FailureError(
                "key changed",
                name=error.hostname,
                type=error.key.get_name(),
                key=error.key.get_base64(),
                file=self._known_hosts(),
            )
        if isinstance(error, SSHException) and str(error).startswith("StrictPolicy"):
            return self._unknown(error)
        if isinstance(error, AuthenticationException) or "authentication methods" in str(error):
            tried = self._tried()
            return FailureError(
                "login",
                name=name,
                # Only a connection that got past its jump host has a configuration.
                jump=not hasattr(self.host.connector.client, "_ssh_config"),
                user=self._user(),
                tried=tried,
                locked=[key for key in tried if _needs_passphrase(key)],
            )
        if isinstance(error, PyinfraError) and not isinstance(error, ConnectError):
            return FailureError("key file", text=str(error))
        return FailureError("connect", name=name, text=_reason(error))

    def _unknown(self, error: SSHException) -> FailureError:
        """See which key the machine, or the jump host before it, shows."""
        options = self.host.connector.make_paramiko_kwargs()
        hostname = options.pop("hostname")
        shown = str(error).partition("No host key for ")[2].partition(" found in")[0]
        client = _Looking()
        try:
            if hostname not in shown:
                # The jump host is the stranger: see its key directly.
                address, _, port = shown.strip("[").partition("]:")
                config = options["_pyinfra_ssh_config_file"]
                client.connect(address, _pyinfra_ssh_config_file=config, port=int(port or 22))
            else:
                client.connect(hostname, **options)
        except UnknownKeyError as seen:
            return FailureError("key unknown", **seen.reply)
        except (SSHException, OSError, EOFError) as other:
            return FailureError("connect", name=hostname, text=_reason(other))
        finally:
            client.close()
        return FailureError("connect", name=hostname, text=str(error))

    def _known_hosts(self) -> str:
        return str(getattr(self.host.connector.client, "_host_keys_filename", ""))

    def _user(self) -> str:
        config = getattr(self.host.connector.client, "_ssh_config", {})
        return str(config.get("username") or getpass.getuser())

    def _tried(self) -> list[str]:
        """Names of the keys that were offered."""
        own = self.host.data.get("ssh_key")
        if own:
            return [str(own)]
        config = getattr(self.host.connector.client, "_ssh_config", {})
        named = config.get("key_filename") or []
        folder = Path.home() / ".ssh"
        files = [
            *map(Path, [named] if isinstance(named, str) else named),
            *(folder / f"id_{kind}" for kind in ("rsa", "ecdsa", "ed25519")),
        ]
        agent = [f"{key.get_name()} of the agent" for key in Agent().get_keys()]
        return [*dict.fromkeys(str(path) for path in files if path.exists()), *agent]


def _leave_to_agent(data: dict[str, Any]) -> None:
    """Drop a key that needs a passphrase: the agent may have it, and nobody can be asked here."""
    if "ssh_key" in data and _needs_passphrase(data["ssh_key"]):
        del data["ssh_key"]


def _needs_passphrase(file: str) -> bool:
    try:
        load_key_with_certificate(file, allow_prompt=False)
    except PyinfraError as error:
        return "encrypted" in str(error)
    return False


def _reason(error: BaseException) -> str:
    if isinstance(error, NoValidConnectionsError):
        reasons = {_reason(one) for one in error.errors.values()}
        return ", ".join(sorted(reasons))
    if "protocol banner" in str(error):
        return "no greeting came from an SSH server"
    if isinstance(error, ChannelException):
        return f"the jump host says: {error.text.lower()}"
    if isinstance(error, TimeoutError) or getattr(error, "errno", None) == errno.ETIMEDOUT:
        return str(error) if str(error).startswith("no answer") else "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or "the connection was closed"


class Worker:
    """Reads requests until there are no more."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.told: dict[str, Any] = {}
        self.held: dict[int, Any] = {}
        self.running = Group()
        self.writing = BoundedSemaphore()
        self.stream: Any = None

    def serve(self, stream: Any) -> None:
        """Work for the run at the other end of ``stream`` until that ends, and let go of it."""
        self.stream = stream
        # A run that was killed leaves replies unread, and its end is then an error.
        with suppress(OSError):
            for line in stream.makefile("rb"):
                self._take(json.loads(line))
        for number in list(self.held):
            self.held.pop(number).close()
        self.running.join(timeout=1)

    @property
    def may_stay(self) -> bool:
        """Whether another run may go on with the connections."""
        secret = any(machine.password is not None for machine in self.machines.values())
        return bool(self.machines) and not secret and not self.running

    def _take(self, request: dict[str, Any]) -> None:
        match request["do"]:
            case "machines":
                self._set_up(request["machines"])
            case "run" | "hold":
                self.running.spawn(self._answer, request).link_exception(
                    partial(self._crash, request)
                )
            case "release":
                channel = self.held.pop(request["id"], None)
                if channel is not None:
                    channel.close()
            case "forget keys":
                get_host_keys.cache.clear()

    def _set_up(self, machines: dict[str, Any]) -> None:
        get_host_keys.cache.clear()
        if machines == self.told:
            for machine in self.machines.values():
                self.running.spawn(machine.greet)
            return
        for machine in self.machines.values():
            machine.close()
        self.machines.clear()
        get_ssh_config.cache.clear()
        self.told = json.loads(json.dumps(machines))
        for it in machines.values():
            _leave_to_agent(it["data"])
        inventory = Inventory(([(name, it["data"]) for name, it in machines.items()], {}))
        State(inventory, Config(CONNECT_TIMEOUT=CONNECT_SECONDS))
        for name, it in machines.items():
            self.machines[name] = Machine(inventory.get_host(name), it["password"])
            self.running.spawn(self.machines[name].greet)

    def _answer(self, request: dict[str, Any]) -> None:
        machine = self.machines[request["host"]]
        try:
            if request["do"] == "run":
                reply = machine.run(request["command"], request["lines"], request["seconds"])
                self._reply(request, reply)
            else:
                channel, first = machine.hold(request["command"], request["lines"])
                self.held[request["id"]] = channel
                self._reply(request, {"output": first})
                self._beat(request, channel)
        except FailureError as failure:
            self._reply(request, {"error": failure.reply})

    def _crash(self, request: dict[str, Any], greenlet: Any) -> None:
        """Answer all the same where this program is at fault; gevent has shown the traceback."""
        self._reply(request, {"error": {"kind": "worker", "text": repr(greenlet.exception)}})

    def _beat(self, request: dict[str, Any], channel: Any) -> None:
        """Keep a held lock awake until it is released, or say that it is lost."""
        while request["id"] in self.held:
            try:
                channel.sendall(b"\n")
            except OSError:
                break
            if channel.status_event.wait(HEARTBEAT_SECONDS):
                break
        if self.held.pop(request["id"], None) is not None:
            channel.close()
            self._reply(request, {"lost": True})

    def _reply(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        # A run that is gone does not take it, and has been noticed by its stream's end.
        with self.writing, suppress(OSError):
            self.stream.sendall(json.dumps({"id": request["id"], **reply}).encode() + b"\n")


def next_run(place: str) -> Any:
    """The stream of a run that comes to the socket ``place`` in time, or None."""
    # Nobody waits for us any more, at a terminal, in a pipe or to remove a folder.
    os.dup2(os.open(os.devnull, os.O_RDWR), sys.stderr.fileno())
    os.chdir("/")
    waiting = socket.socket(socket.AF_UNIX)
    own = f"{place}.{os.getpid()}"
    try:
        waiting.bind(own)
        waiting.listen(1)
        Path(own).replace(place)
        waiting.settimeout(LINGER_SECONDS)
        stream, _ = waiting.accept()
        stream.sendall(b"\n")
    except OSError:
        stream = None
    finally:
        for path in (own, place):
            Path(path).unlink(missing_ok=True)
        waiting.close()
    return stream


def main() -> None:
    """Serve the process that started this one, and those that come after it."""
    for name in ("pyinfra", "paramiko"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    worker = Worker()
    stream: Any = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    # Nothing else of ours may hold the stream open, or go into it.
    empty = os.open(os.devnull, os.O_RDWR)
    os.dup2(empty, sys.stdin.fileno())
    os.dup2(empty, sys.stdout.fileno())
    while stream is not None:
        worker.serve(stream)
        stream.close()
        stream = next_run(sys.argv[1]) if worker.may_stay and sys.argv[1:] else None
    # Connections and their threads end with the process; nothing is left to say.
    os._exit(0)


if __name__ == "__main__":
    main()
