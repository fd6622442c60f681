"""Runs a command of the machine and keeps what it said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from .failure import WorkError

LAST_LINES = 15


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    show_output: bool = True,
) -> str:
    """Run ``command`` and return what it printed.

    Parameters
    ----------
    command
        Program and arguments; no shell is involved.
    environment
        Variables laid over this process's own.
    show_output
        Whether a failure may quote the output; not when a secret may be in it.

    Raises
    ------
    WorkError
        The program is missing or ends with another code than 0.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise WorkError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = "\n".join(done.stdout.strip().splitlines()[-LAST_LINES:]) if show_output else ""
        raise WorkError(
            f"`{' '.join(command)}` ended with code {done.returncode}"
            + (f":\n{said}" if said else "")
        )
    return done.stdout
