"""A small web server on the loopback address that can misbehave on purpose.

Each path has a list of turns, one a request; the last one repeats. A test
says what goes wrong in which turn, and reads afterwards what was asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

MOST_REQUESTS = 500
"""No test asks more; a client that does is in a loop."""


@dataclass(frozen=True)
class Turn:
    """How one request is answered.

    Parameters
    ----------
    status
        HTTP status; anything but 200 is sent with an empty body.
    headers
        Further headers.
    content
        Served instead of the path's own content.
    cut_after
        Bytes of the body after which the connection is closed.
    stall_after
        Bytes of the body after which nothing more comes until the server stops.
    announced
        ``Content-Length`` instead of the true one.
    piece
        Bytes sent at once.
    ignore_range
        Answer 200 with everything, whatever range was asked for.
    silent
        Accept the request and never answer it.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    announced: int | None = None
    piece: int = 65536
    ignore_range: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


class FaultyServer:
    """Serves ``content`` by path on 127.0.0.1, encrypted with ``context``; a context manager."""

    def __init__(
        self,
        content: Mapping[str, bytes] | None = None,
        context: SSLContext | None = None,
    ) -> None:
        self.content = dict(content or {})
        self.asked: list[Asked] = []
        self._turns: dict[str, list[Turn]] = {}
        self._lock = Lock()
        self._stopped = Event()
        self._server = _Server(self)
        self._scheme = "http" if context is None else "https"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def misbehave(self, path: str, *turns: Turn) -> None:
        """Answer the next GET requests for ``path`` so, the last turn for ever."""
        self._turns[path] = list(turns)

    def gets(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == ("GET", path)]

    def take(self, asked: Asked) -> Turn:
        with self._lock:
            self.asked.append(asked)
            if len(self.asked) > MOST_REQUESTS:
                return Turn(status=410)
            turns: Sequence[Turn] = self._turns.get(asked.path, ())
            if not turns:
                return Turn()
            if asked.method != "GET":
                return turns[0]
            return self._turns[asked.path].pop(0) if len(turns) > 1 else turns[0]

    def wait_until_stopped(self) -> None:
        self._stopped.wait(60)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faulty: FaultyServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faulty = faulty


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    server: _Server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Keep the test's output clean."""

    def _answer(self, *, body: bool) -> None:
        turn = self.server.faulty.take(Asked(self.command, self.path, dict(self.headers)))
        self.close_connection = True
        if turn.silent:
            self.server.faulty.wait_until_stopped()
            return
        content = (
            self.server.faulty.content.get(self.path) if turn.content is None else turn.content
        )
        status = 404 if content is None and turn.status == 200 else turn.status
        if status != 200 or content is None:
            self._head(status, 0, turn.headers)
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes", **turn.headers}
        start = self._start(etag, turn)
        if start > 0 and start >= len(content):
            self._head(416, 0, {"Content-Range": f"bytes */{len(content)}"})
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        length = len(rest) if turn.announced is None else turn.announced
        self._head(206 if start else 200, length, headers)
        if body:
            self._body(rest, turn)

    def _start(self, etag: str, turn: Turn) -> int:
        wanted = self.headers.get("Range", "")
        if turn.ignore_range or not wanted.startswith("bytes="):
            return 0
        if self.headers.get("If-Range", etag) != etag:
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()

    def _body(self, content: bytes, turn: Turn) -> None:
        stops = (turn.cut_after, turn.stall_after)
        end = min((stop for stop in stops if stop is not None), default=len(content))
        try:
            for start in range(0, min(end, len(content)), turn.piece):
                self.wfile.write(content[start : min(start + turn.piece, end)])
                self.wfile.flush()
        except ConnectionError:
            return  # the client has given up, which is what some tests want
        if turn.stall_after is not None:
            self.server.faulty.wait_until_stopped()
