"""Reads images from registries by ``skopeo``, without a shell, by digest.

skopeo repeats what fails before a body begins (``--retry-times``) but not a
body that breaks off, and it waits for ever on a silent registry: both are
seen to here, within the same bounds that files have.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.bundle.cancellation import Cancellation
from provision.bundle.transfer import LONGEST_PAUSE, HttpSettings
from provision.bundle.transfer_errors import ADVICE, Cancelled
from provision.errors import BundleError, DiskFullError, OperatorError

GLANCE = 0.5
"""Seconds between two looks at a running copy."""


@dataclass(frozen=True)
class Address:
    """An image where it is really read from.

    Parameters
    ----------
    repository
        ``registry[:port]/path``.
    digest
        Of the manifest or index, ``sha256:…``.
    encrypted
        False for a mirror that is named by ``http://``.
    """

    repository: str
    digest: str
    encrypted: bool = True

    def __str__(self) -> str:
        return f"docker://{self.repository}@{self.digest}"


class _RunError(Exception):
    """One run of skopeo failed."""

    def __init__(self, found: str, *, again: bool, advice: str) -> None:
        super().__init__(found)
        self.found = found
        self.again = again
        self.advice = advice


_CAUSES: tuple[tuple[str, bool, str], ...] = (
    (r"no space left on device|disk quota exceeded", False, "disk"),
    (r"HTTP response to HTTPS client|first record does not look like", False, "plain"),
    (r"x509|tls: |certificate", False, "tls"),
    (r"StatusCode: 404|manifest unknown|name unknown|not found", False, "absent"),
    (r"unauthorized|authentication required|denied|StatusCode: 40[13]", False, "login"),
    (r"[Dd]igest did not match|does not match", False, "digest"),
    (r"no such host|connection refused|network is unreachable", False, "unreachable"),
    (r"proxyconnect", True, "proxy"),
    (r"StatusCode: (429|5\d\d)|toomanyrequests", True, "busy"),
    (r"EOF|connection reset|broken pipe|timeout|server closed", True, ""),
)
"""What skopeo says, whether to start it again, and the key of the advice.

It has repeated refused connections itself (``--retry-times``).
"""
_FIXES = {
    **ADVICE,
    "absent": "look whether the registry has it: skopeo inspect ADDRESS; a registry of your own"
    " is named by --mirror",
    "digest": "the registry serves other bytes than its digest says: name another one by --mirror",
    "login": "skopeo login REGISTRY",
    "plain": "a registry without encryption is named by http://, not docker://, in --mirror",
}


class Skopeo:
    """Runs ``skopeo``.

    Parameters
    ----------
    settings
        Patience, and the authorities to believe.
    cancelled
        Once set, a running copy is ended.
    repeats
        skopeo's own ``--retry-times``, in each try.
    clock
        Seconds from any start; judges silence.
    """

    def __init__(
        self,
        settings: HttpSettings,
        cancelled: Cancellation,
        *,
        repeats: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.cancelled = cancelled
        self.repeats = repeats
        self.clock = clock

    def manifest(self, address: Address) -> bytes:
        """The manifest or index at ``address``, as published; skopeo checks its digest.

        Raises
        ------
        BundleError
            It is not there, or the registry cannot be read.
        """
        verify = f"--tls-verify={str(address.encrypted).lower()}"
        return self._tried(address, ("inspect", "--raw", verify, *self._retry()), None, None)

    def copy(self, address: Address, folder: Path, arrived: Callable[[int], None]) -> None:
        """Copy one platform's image into ``folder``, byte for byte (skopeo's ``dir:`` layout).

        Parameters
        ----------
        folder
            Is emptied first.
        arrived
            Told the bytes that are there.

        Raises
        ------
        BundleError
            It cannot be read, or its bytes do not match their digests.
        DiskFullError
            There is no room.
        """
        verify = f"--src-tls-verify={str(address.encrypted).lower()}"
        options = ("copy", "--preserve-digests", verify, *self._retry())
        self._tried(address, options, folder, arrived)

    def _retry(self) -> tuple[str, str]:
        return ("--retry-times", str(self.repeats))

    def _tried(
        self,
        address: Address,
        options: tuple[str, ...],
        folder: Path | None,
        arrived: Callable[[int], None] | None,
    ) -> bytes:
        pause = self.settings.first_pause
        for left in range(self.settings.tries - 1, -1, -1):
            if folder is not None:
                if folder.exists():
                    shutil.rmtree(folder)
                folder.mkdir(parents=True)
            command = ["skopeo", "--insecure-policy", *options, str(address)]
            command += [f"dir:{folder}"] if folder else []
            try:
                return self._run(command, folder, arrived)
            except _RunError as failure:
                if not failure.again or not left:
                    raise self._told(address, failure, folder) from failure
                if self.cancelled.wait(min(pause, LONGEST_PAUSE)):
                    raise Cancelled from failure
                pause *= 2
        raise AssertionError("a bounded loop that always returns or raises")

    def _run(
        self, command: list[str], folder: Path | None, arrived: Callable[[int], None] | None
    ) -> bytes:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            start_new_session=True,
        ) as process:
            try:
                output, complaint = self._watch(process, folder, arrived)
            except BaseException:
                _end(process)
                raise
        if process.returncode:
            raise _failure(complaint.decode(errors="replace"))
        return output

    def _watch(
        self,
        process: subprocess.Popen[bytes],
        folder: Path | None,
        arrived: Callable[[int], None] | None,
    ) -> tuple[bytes, bytes]:
        """Wait for the end; a folder that does not grow is a registry gone silent."""
        size, since = 0, self.clock()
        while True:
            try:
                return process.communicate(timeout=min(GLANCE, self.settings.stall_timeout))
            except subprocess.TimeoutExpired:
                if self.cancelled.is_set():
                    raise Cancelled from None
                now = _size(folder) if folder else 0
                if now > size:
                    size, since = now, self.clock()
                    if arrived:
                        arrived(size)
                elif self.clock() - since >= self.settings.stall_timeout:
                    waited = f"no byte for {self.settings.stall_timeout:g} s"
                    raise _RunError(waited, again=True, advice="stalled") from None

    def _environment(self) -> Mapping[str, str]:
        """The caller's: proxies, logins and registries.conf are the operator's to set."""
        if self.settings.ca_bundle is None:
            return os.environ
        return {**os.environ, "SSL_CERT_FILE": str(self.settings.ca_bundle)}

    def _told(self, address: Address, failure: _RunError, folder: Path | None) -> OperatorError:
        name = address.repository.rpartition("/")[2]
        if failure.advice == "disk":
            return _disk_full(name, folder)
        fix = _FIXES[failure.advice].replace("REGISTRY", address.repository.partition("/")[0])
        fix = fix.replace("curl -I URL", "skopeo inspect ADDRESS").replace("ADDRESS", str(address))
        tries = f" (tried {self.settings.tries} times)" if failure.again else ""
        return BundleError(
            f"the image {name} cannot be read",
            where=str(address),
            found=failure.found + tries,
            fix=fix,
        )


def _failure(complaint: str) -> _RunError:
    fatal = re.findall(r'level=fatal msg="((?:[^"\\]|\\.)*)"', complaint)
    said = fatal[-1].replace('\\"', '"') if fatal else complaint.strip()
    said = re.sub(r'^Error (parsing|determining)[^"]*"[^"]*": ', "", said)
    for pattern, again, advice in _CAUSES:
        if re.search(pattern, said):
            return _RunError(said, again=again, advice=advice)
    return _RunError(said or "skopeo said nothing", again=False, advice="")


def _disk_full(name: str, folder: Path | None) -> DiskFullError:
    where = folder.parent if folder else Path.cwd()
    return DiskFullError(
        f"there is no room for the image {name}",
        where=str(where),
        found=f"{shutil.disk_usage(where).free >> 20} MiB free",
        fix="make room, or name another cache by PROVISION_CACHE; then run the same command again",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End skopeo and what it started, and collect it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _size(folder: Path) -> int:
    total = 0
    for entry in os.scandir(folder):
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            continue  # skopeo renames a blob once it is whole
    return total
