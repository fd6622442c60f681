"""A Vault that keeps a key for others, over TLS on the loopback address."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Thread
from types import TracebackType
from typing import Any, Self


class TransitServer:
    """Encrypts and decrypts with one key for whoever has its token; a context manager."""

    token = "hvs.token-of-the-other-vault"
    namespace = "observatory"
    mount = "keys/transit"
    key = "site"

    def __init__(self, context: SSLContext) -> None:
        self.sealed = False
        self.forgetful = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                status, told = server.answer(self.path, dict(self.headers), body)
                content = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_request(self, *_: object) -> None:
                """Nothing: tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    def answer(
        self, path: str, headers: dict[str, str], body: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Status and content, in Vault's words."""
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        folded = {name.lower(): value for name, value in headers.items()}
        known = folded.get("x-vault-namespace") == self.namespace
        if not known or folded.get("x-vault-token") != self.token:
            return 403, {"errors": ["2 errors occurred:\n\t* permission denied\n"]}
        match path.removeprefix(f"/v1/{self.mount}/").split("/"):
            case ["encrypt", self.key]:
                return 200, {"data": {"ciphertext": f"vault:v1:{body['plaintext']}"}}
            case ["decrypt", self.key]:
                text = body["ciphertext"].removeprefix("vault:v1:")
                return 200, {"data": {"plaintext": "" if self.forgetful else text}}
        return 404, {"errors": [f"no handler for route {path}"]}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
