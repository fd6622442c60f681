"""Where the project's own files and the caller's caches and state lie."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _project_folder(name: str) -> Path:
    """A folder of roles or playbooks: beside the package in a checkout, inside it in a wheel."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def roles_path() -> Path:
    """Folder of the Ansible roles."""
    return _project_folder("roles")


def playbooks_path() -> Path:
    """Folder of the playbooks."""
    return _project_folder("playbooks")


def cache_path() -> Path:
    """The one cache folder: ``PROVISION_CACHE``, or ``provision`` in the XDG cache home."""
    chosen = os.environ.get("PROVISION_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "provision"


def state_path(site: str) -> Path:
    """Secrets and journals of a site, kept outside any Git tree; made 0700 by its users."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "provision" / site
