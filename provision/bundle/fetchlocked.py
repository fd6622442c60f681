"""Let a language's own package manager fetch what a lock names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from provision.bundle.toolchain import clean_environment
from provision.errors import BundleError


def fetch_locked(
    command: Sequence[str],
    lock: Path,
    *,
    manager: str,
    settings: str,
    fix: str,
    folder: Path | None = None,
) -> None:
    """Run ``command`` of the package ``manager``, which knows ``lock``, in ``folder``.

    Parameters
    ----------
    settings
        How the names begin by which the environment configures it, in lower or upper case; it
        gets these alone.
    fix
        How to see that it reaches its registry.

    Raises
    ------
    BundleError
        A package cannot be had, or is not the one that the lock names.
    """
    own = {
        name: value
        for name, value in os.environ.items()
        if name.lower().startswith(settings.lower())
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(**own),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BundleError(
            f"{manager} cannot fetch the packages of this lock",
            where=str(lock),
            found="\n".join(done.stderr.strip().splitlines()[-10:]),
            fix=fix,
        )
