"""The repository of the lab's platform: committed once, read by everybody, written by nobody."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

from lab.gitserver import serving
from lab.repository import FOLDERS, certify, commit


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
