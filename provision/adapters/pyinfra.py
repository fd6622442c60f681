"""Reads machines through pyinfra, which works in a process of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from provision.adapters import payload
from provision.adapters.connection import Connections
from provision.adapters.failures import Kind, explain
from provision.adapters.hostkeys import Ask, UnknownHostKey
from provision.adapters.sitelock import HeldLock, hold_site
from provision.errors import OperatorError
from provision.facts import MachineFacts, Query
from provision.observe import Holder
from provision.site import SecretRef, Site
from provision.worker import END_SECONDS, Worker

READ_SECONDS = 60.0
"""How long one machine may take to answer once it is connected."""

Reply = dict[str, Any]


class PyinfraMachines:
    """The machines of a site.

    Connections to all of them open with :meth:`connect`, at the latest with the first
    request, and stay open until :meth:`close`. Any thread may use it.

    Parameters
    ----------
    site
        The site.
    connections
        How its machines are reached.
    worker
        The process that talks to them; it listens to nobody else as long as this object
        is open.
    sudo_password
        Reveals the secret that ``connection.sudo_password`` refers to; called once
        a machine that has one, before the first connection.
    ask
        Asks about an unknown host key; without it, unknown keys are refused.
    """

    def __init__(
        self,
        site: Site,
        connections: Connections,
        worker: Worker,
        *,
        sudo_password: Callable[[SecretRef], str] | None = None,
        ask: Ask | None = None,
    ) -> None:
        self.site = site
        self.connections = connections
        self.sudo_password = sudo_password
        self.ask = ask
        self._numbers = count(1)
        self._waiting: dict[int, SimpleQueue[Reply]] = {}
        self._writing = Lock()
        self._starting = Lock()
        self._asking = Lock()
        self._refused: set[str] = set()
        self._with_password: set[str] | None = None
        self._ended = False
        self._worker = worker
        self._listener = Thread(target=self._listen, name="pyinfra replies", daemon=True)
        self._listener.start()

    def connect(self) -> None:
        """Begin to connect to all machines, without waiting for any."""
        self._introduce()

    def read(self, queries: Mapping[str, Query]) -> dict[str, MachineFacts]:
        """Answer every query, in the order asked; all machines at the same time."""
        requests = {host: json.dumps(query.as_dict()) for host, query in queries.items()}
        running = {host: self._run(host, request) for host, request in requests.items()}
        found = {}
        for host, request in requests.items():
            reply = self._wait(running[host])
            if self._trusted_now(host, reply):
                reply = self._wait(self._run(host, request))
            found[host] = self._facts(host, reply)
        return found

    def lock(self, holder: Holder) -> HeldLock:
        """Take the site's lock on its control-plane machines.

        Raises
        ------
        LockedError
            Another run holds it; the error names that one.
        UnreachableError
            Most of the control-plane machines do not answer.
        """
        return hold_site(self, self.site, holder)

    def close(self) -> None:
        """Let go of the machines, and of every lock held on them."""
        self._worker.finish()
        self._listener.join(END_SECONDS)
        if self._listener.is_alive():
            self._worker.kill()
            self._listener.join()
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def hold(self, host: str, request: Mapping[str, Any]) -> tuple[int, SimpleQueue[Reply]]:
        """Start the lock's process on ``host``; its number, and where its replies come."""
        order = self._order(host, payload.HOLD, json.dumps(request))
        return self._send({"do": "hold", "host": host, **order})

    def release(self, number: int) -> None:
        """End a process started by :meth:`hold`."""
        self._write({"do": "release", "id": number})
        self._waiting.pop(number, None)

    def explain(self, host: str, reply: Reply) -> OperatorError:
        """The operator's error for a reply with ``error``."""
        return explain(self.site, host, reply["error"])

    def _run(self, host: str, request: str) -> int:
        order = self._order(host, payload.READER, request)
        return self._send({"do": "run", "host": host, "seconds": READ_SECONDS, **order})[0]

    def _wait(self, number: int) -> Reply:
        reply = self._waiting[number].get()
        del self._waiting[number]
        return reply

    def _order(self, host: str, main: str, request: str) -> dict[str, Any]:
        with_password = host in self._introduce()
        command = payload.command(with_password=with_password)
        return {"command": command, "lines": payload.stdin(main, request)}

    def _introduce(self) -> set[str]:
        """Tell the worker about the machines, once; the names of those with a sudo password."""
        with self._starting:
            if self._with_password is None:
                passwords = {host: self._password(host) for host in self.site.hosts}
                # What the file of the connections' options says, so that a change of it counts.
                config = hashlib.sha256(self.connections.text().encode()).hexdigest()
                machines = {
                    host: {
                        "data": self.connections.pyinfra_data(host),
                        "password": password,
                        "config": config,
                    }
                    for host, password in passwords.items()
                }
                self._write({"do": "machines", "machines": machines})
                self._with_password = {host for host, text in passwords.items() if text is not None}
            return self._with_password

    def _password(self, host: str) -> str | None:
        reference = self.site.connection_of(host).sudo_password
        if reference is None or self.sudo_password is None:
            return None
        return self.sudo_password(reference)

    def _send(self, request: Mapping[str, Any]) -> tuple[int, SimpleQueue[Reply]]:
        number = next(self._numbers)
        replies: SimpleQueue[Reply] = SimpleQueue()
        self._waiting[number] = replies
        self._write({"id": number, **request})
        if self._ended:
            replies.put(_GONE)
        return number, replies

    def _write(self, request: Mapping[str, Any]) -> None:
        line = json.dumps(request).encode() + b"\n"
        # Where the worker is gone, whoever waits is told by the listener.
        with self._writing:
            self._worker.send(line)

    def _listen(self) -> None:
        for line in self._worker.replies:
            reply = json.loads(line)
            replies = self._waiting.get(reply["id"])
            if replies is not None:
                replies.put(reply)
        self._ended = True
        for replies in list(self._waiting.values()):
            replies.put(_GONE)

    def _trusted_now(self, host: str, reply: Reply) -> bool:
        """Whether the operator came to trust the key that the machine showed."""
        error = reply.get("error", {})
        if error.get("kind") != Kind.KEY_UNKNOWN or self.ask is None:
            return False
        key = UnknownHostKey.from_reply(host, error)
        with self._asking:
            if key.name in self._refused:
                return False
            if key.pinned():
                # A jump host that another machine's connection asked about already.
                return True
            if not self.ask(key):
                self._refused.add(key.name)
                return False
            key.pin()
            self._write({"do": "forget keys"})
            return True

    def _facts(self, host: str, reply: Reply) -> MachineFacts:
        if "error" in reply:
            return MachineFacts(host, error=self.explain(host, reply))
        observed = reply["output"]
        observed["clock"] = _against_ours(observed["clock"], reply)
        return MachineFacts(host, observed)


def _against_ours(theirs: Mapping[str, float], reply: Mapping[str, float]) -> dict[str, float]:
    """The machine's clock against the controller's, in seconds, as NTP reckons it.

    ``uncertainty`` is half the time that was spent on the way: the true offset is
    within that distance of ``offset``.
    """
    there, back = theirs["started"] - reply["sent"], theirs["finished"] - reply["received"]
    way = (reply["received"] - reply["sent"]) - (theirs["finished"] - theirs["started"])
    return {**theirs, "offset": (there + back) / 2, "uncertainty": max(way, 0.0) / 2}


_GONE: Reply = {"error": {"kind": Kind.WORKER, "text": "it ended"}}
