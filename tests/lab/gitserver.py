"""A Git server as sites have one: smart HTTP over TLS, for who has the password."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.gitserver import serving
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
    context, ca = server_context(folder, address)
    with serving(repositories, address, 0, context, f"{USER}:{password}") as port:
        yield GitServer(f"https://{address}:{port}/site.git", ca, work)
