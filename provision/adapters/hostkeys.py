"""Host keys: an unknown one is shown and asked for once, a changed one is refused."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.errors import ConfigError


def fingerprint(key: str) -> str:
    """The SHA256 fingerprint of a public key, as OpenSSH prints it.

    Parameters
    ----------
    key
        The key in base64, as it stands in ``known_hosts``.
    """
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class UnknownHostKey:
    """A host key that no ``known_hosts`` holds yet."""

    host: str
    """Machine of the site for which the connection was made."""
    name: str
    """Name in ``known_hosts``: an address, or ``[address]:port``."""
    type: str
    """Kind of key, such as ``ssh-ed25519``."""
    key: str
    """The public key in base64."""
    file: Path
    """The ``known_hosts`` file to pin it in."""

    @classmethod
    def from_reply(cls, host: str, reply: Mapping[str, Any]) -> UnknownHostKey:
        """From what the worker saw."""
        return cls(host, reply["name"], reply["type"], reply["key"], Path(reply["file"]))

    @property
    def fingerprint(self) -> str:
        """SHA256 fingerprint, as OpenSSH prints it."""
        return fingerprint(self.key)

    def __str__(self) -> str:
        return (
            f"The host key of {self.name} ({self.host}) is not known.\n"
            f"Its {self.type} key has the fingerprint {self.fingerprint}.\n"
            f"Trust it from now on, in {self.file}?"
        )

    def pinned(self) -> bool:
        """Whether the file holds exactly this key for this name."""
        if not self.file.exists():
            return False
        return f"{self.name} {self.type} {self.key}" in self.file.read_text("utf-8").splitlines()

    def pin(self) -> None:
        """Append the key to the ``known_hosts`` file, under a lock, in one write.

        Raises
        ------
        ConfigError
            The file cannot be written.
        """
        try:
            self._append()
        except OSError as error:
            raise ConfigError(
                "the host key cannot be pinned",
                where=str(self.file),
                found=(error.strerror or str(error)).lower(),
                wanted="a file that this user can write",
                fix="name another file: connection.known_hosts in the site file",
            ) from error

    def _append(self) -> None:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = f"{self.name} {self.type} {self.key}\n"
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (f"\n{line}" if torn else line).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


Ask = Callable[[UnknownHostKey], bool]
"""Asks the operator whether to trust a key."""
