"""Runs kubeadm, kubectl and systemctl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from .failure import WorkError

LAST_LINES = 25
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ADMIN = "/etc/kubernetes/admin.conf"


class Commands:
    """Runs commands that inherit the lock, so that it is held for as long as they run."""

    def __init__(self, lock: int | None = None) -> None:
        self.inherited = () if lock is None else (lock,)

    def run(self, *command: str, stdin: str | None = None) -> str:
        """What the command prints on standard output.

        Raises
        ------
        WorkError
            It is missing, or ends with another code than 0.
        """
        done = self.attempt(command, stdin)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:]
            raise WorkError(
                f"`{' '.join(command)}` ended with code {done.returncode}:\n" + "\n".join(said)
            )
        return done.stdout

    def attempt(
        self, command: Sequence[str], stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The finished command, however it ended."""
        try:
            return subprocess.run(
                list(command),
                input=stdin or "",
                capture_output=True,
                env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": PATH},
                text=True,
                errors="replace",
                check=False,
                pass_fds=self.inherited,
            )
        except OSError as error:
            raise WorkError(f"{command[0]} cannot be run: {error.strerror}") from error

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """``kubectl`` as this control-plane machine's administrator."""
        return self.run("kubectl", f"--kubeconfig={ADMIN}", *arguments, stdin=stdin)
