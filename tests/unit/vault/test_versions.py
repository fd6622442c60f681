"""Which version of a secret is written over, by what the engine KV answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from provision.adapters.vault import OVERTAKEN, Vault
from provision.errors import VaultRefusalError

PATH = "secret/web"
DELETED = {"data": None, "metadata": {"version": 3, "deletion_time": "2026-01-01T00:00:00Z"}}
DESTROYED = {"data": None, "metadata": {"version": 4, "deletion_time": "", "destroyed": True}}


@contextmanager
def vault(folder: Path, status: int, answer: Any) -> Iterator[Vault]:
    """A member that gives every request one answer."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as inherited
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Vault(f"http://127.0.0.1:{server.server_port}", folder / "ca.crt")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "answer", "found"),
    [
        (200, {"data": {"data": {"a": "b"}, "metadata": {"version": 2}}}, (2, {"a": "b"})),
        (404, {"errors": []}, (0, None)),
        (404, {"data": DELETED}, (3, None)),
        (404, {"data": DESTROYED}, (4, None)),
    ],
)
def test_the_newest_version(tmp_path: Path, status: int, answer: Any, found: Any) -> None:
    with vault(tmp_path, status, answer) as api:
        assert api.versioned_secret(PATH) == found
        assert api.secret(PATH) == found[1]


def test_whether_another_was_faster(tmp_path: Path) -> None:
    with vault(tmp_path, 200, {"data": {"version": 3}}) as api:
        assert api.keep_secret(PATH, {"a": "b"}, 2)
    with vault(tmp_path, 400, {"errors": [f"{OVERTAKEN} the current version"]}) as api:
        assert not api.keep_secret(PATH, {"a": "b"}, 2)
    with (
        vault(tmp_path, 400, {"errors": ["no data provided"]}) as api,
        pytest.raises(VaultRefusalError),
    ):
        api.keep_secret(PATH, {"a": "b"}, 2)
