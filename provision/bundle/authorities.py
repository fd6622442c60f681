"""Certificate authorities that downloads believe: the system's, and a company's own."""

from __future__ import annotations

import ssl
from pathlib import Path

from provision.bundle.store import write_atomically
from provision.errors import ConfigError


def require_certificates(path: Path) -> None:
    """Refuse a file that holds no certificates.

    Raises
    ------
    ConfigError
        It is missing, unreadable or not PEM.
    """
    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "the authorities' certificates cannot be read",
            where=str(path),
            found=error.strerror or str(error),
            wanted="a PEM file of certificates",
            fix="name the right file by --ca-bundle",
        ) from error


def with_system_authorities(path: Path, folder: Path) -> Path:
    """A file in ``folder`` that holds the system's authorities and those in ``path``."""
    system = ssl.get_default_verify_paths().cafile
    parts = [Path(system).read_bytes()] if system else []
    together = folder / "authorities.pem"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(together, b"\n".join([*parts, path.read_bytes()]))
    return together
