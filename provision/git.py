"""The system's git, bounded in time, as a session of its own that asks nobody anything."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping

from provision.errors import ConfigError

LOCAL_SECONDS = 60.0
"""How long git may take for what it does on this controller."""
KEPT = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
"""What of git's own variables may come from the caller: how servers are reached."""
ASKING = ("SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY")
"""What could put a question on somebody's screen."""
NOTHING: Mapping[str, str] = {}


def run_git(
    *words: str, seconds: float = LOCAL_SECONDS, variables: Mapping[str, str] = NOTHING
) -> tuple[int, str]:
    """Run git; its exit code, and what it printed, errors where it failed.

    It is a session of its own: nothing can ask at the terminal, Ctrl-C reaches only us, and
    what git starts can be ended with it.

    Parameters
    ----------
    variables
        Set in its environment.

    Raises
    ------
    ConfigError
        There is no git on this controller.
    """
    try:
        process = subprocess.Popen(
            ["git", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(variables),
            start_new_session=True,
            umask=0o077,
        )
    except FileNotFoundError as error:
        raise ConfigError(
            "there is no git on this controller", fix="install it: apt-get install git"
        ) from error
    with process:
        try:
            printed, complaints = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return 1, f"no end after {seconds:.0f} seconds"
        except BaseException:
            _end(process)
            raise
    told = printed + complaints if process.returncode else printed
    lines = told.decode(errors="replace").splitlines()
    return process.returncode, "\n".join(line for line in lines if line.strip())


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if (not name.startswith("GIT_") or name in KEPT) and name not in ASKING
    }
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_NO_REPLACE_OBJECTS": "1",
        **variables,
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
