"""A Git server as sites have one: smart HTTP over TLS, for who has the password."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.tls import server_context

USER = "git"
IDENTITY = {
    "GIT_AUTHOR_NAME": "A committer",
    "GIT_AUTHOR_EMAIL": "committer@example.test",
    "GIT_COMMITTER_NAME": "A committer",
    "GIT_COMMITTER_EMAIL": "committer@example.test",
}


@dataclass(frozen=True)
class GitServer:
    """A served repository, and a work tree to make commits in."""

    url: str
    ca: Path
    """PEM file of the authority of its certificate."""
    work: Path

    def commit(self, files: dict[str, str], message: str) -> str:
        """Write ``files``, commit and push them; the commit."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--message", message)
        return self._push()

    def revert(self) -> str:
        """Take the last commit back; the commit that does so."""
        git(self.work, "revert", "--no-edit", "HEAD")
        return self._push()

    def _push(self) -> str:
        git(self.work, "push", "--quiet", "origin", "main")
        return git(self.work, "rev-parse", "HEAD").strip()


def git(folder: Path, *arguments: str) -> str:
    """Run ``git`` in ``folder`` with nothing of the caller's own; what it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), **IDENTITY}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def git_server(folder: Path, address: str, password: str) -> Iterator[GitServer]:
    """Serve a new repository ``site.git`` at ``address``, for as long as the block runs."""
    repositories, work = folder / "repositories", folder / "work"
    for path in (repositories, work):
        path.mkdir()
    git(repositories, "init", "--quiet", "--bare", "--initial-branch", "main", "site.git")
    git(work, "init", "--quiet", "--initial-branch", "main")
    git(work, "remote", "add", "origin", str(repositories / "site.git"))
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Basic {token}":
                self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
                return
            parts = urlsplit(self.path)
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(repositories),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": parts.path,
                "QUERY_STRING": parts.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"],
                env=environment,
                input=body,
                capture_output=True,
                check=True,
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            status = int(headers.pop("Status", "200").split()[0])
            self._answer(status, headers, content)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    context, ca = server_context(folder, address)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield GitServer(f"https://{address}:{server.server_address[1]}/site.git", ca, work)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
