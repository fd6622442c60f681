"""Reads one published file over HTTP: resumes, notices stalls, verifies while it reads.

Every try appends to the same part file, so a broken connection costs only
what had not arrived. The checksum decides, nothing else: a file whose sum is
right is whole, whatever length the server had announced.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
import urllib3

from provision.bundle.cancellation import Cancellation
from provision.bundle.transfer_errors import (
    Cancelled,
    FinalError,
    SlowError,
    TryError,
    checksum_error,
    disk_full,
    gave_up,
)

CHUNK = 256 * 1024
"""Bytes read at once."""
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that say "later" (RFC 9110, RFC 6585, RFC 8470)."""
LONGEST_PAUSE = 30.0
"""Seconds; the most that is waited between two tries, whatever ``Retry-After`` says."""


@dataclass(frozen=True)
class HttpSettings:
    """How patient reads are."""

    connect_timeout: float = 10.0
    """Seconds for the connection to be made."""
    stall_timeout: float = 30.0
    """Seconds that may pass without a byte."""
    slowest: int = 1024
    """Bytes a second, averaged over ``slowness_window``, below which a try ends."""
    slowness_window: float = 60.0
    """Seconds."""
    tries: int = 5
    """Tries in a row that may bring nothing new."""
    first_pause: float = 1.0
    """Seconds before the second try; doubled before each further one."""
    ca_bundle: Path | None = None
    """PEM file of all authorities to believe; without it, the system's."""


@dataclass(frozen=True)
class Download:
    """A published file and the sum it must have.

    Parameters
    ----------
    name
        What the operator calls it.
    url
        Where it is read from.
    sha256
        Its published checksum, 64 hexadecimal digits.
    """

    name: str
    url: str
    sha256: str


Advance = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes expected, if the server said."""


def ca_file(settings: HttpSettings) -> str | bool:
    """The authorities to believe: named, by ``REQUESTS_CA_BUNDLE``, the system's, certifi's."""
    if settings.ca_bundle is not None:
        return str(settings.ca_bundle)
    return os.environ.get("REQUESTS_CA_BUNDLE") or ssl.get_default_verify_paths().cafile or True


class Transfer:
    """One file on its way into ``part``.

    Parameters
    ----------
    download
        What to read.
    part
        File that the bytes gather in; what an earlier run left there is resumed.
    settings
        Patience.
    cancelled
        Once set, the transfer stops at the next chunk.
    advance
        Told of progress.
    clock
        Seconds from any start; judges slowness.
    """

    def __init__(
        self,
        download: Download,
        part: Path,
        settings: HttpSettings,
        *,
        cancelled: Cancellation,
        advance: Advance,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.download = download
        self.part = part
        self.settings = settings
        self.cancelled = cancelled
        self.advance = advance
        self.clock = clock
        self._mark = part.with_suffix(".json")
        self._pieces = 1 if part.exists() else 0

    def run(self) -> None:
        """Read the file until its checksum is right.

        Raises
        ------
        BundleError
            The file is not there, has another checksum, or the connection
            failed ``tries`` times in a row.
        DiskFullError
            The cache's file system is full.
        """
        left, furthest, pause = self.settings.tries, self._size(), self.settings.first_pause
        fresh = False
        while True:
            try:
                found = self._read()
            except TryError as error:
                if self._size() > furthest and not isinstance(error, SlowError):
                    furthest, left, pause = self._size(), self.settings.tries, 0.0
                else:
                    left -= 1
                if left <= 0:
                    raise gave_up(self.download, error, self.settings, self._size()) from error
                self._wait(max(pause, error.retry_after))
                pause = max(pause * 2, self.settings.first_pause)
                continue
            except FinalError as error:
                raise error.told(self.download) from error
            if found == self.download.sha256:
                return
            size = self._size()
            self._discard()
            if fresh or self._pieces == 1:
                raise checksum_error(self.download, found, size)
            # Pieces of two different files may have met; once, everything is read anew.
            fresh, furthest, self._pieces = True, 0, 0

    def finish(self, blob: Path) -> None:
        """Rename the whole, verified part to ``blob``."""
        with self.part.open("rb") as file:
            os.fsync(file.fileno())
        self.part.replace(blob)
        self._mark.unlink(missing_ok=True)

    def _read(self) -> str:
        """One try: everything from where the part ends. Returns the sum of the whole."""
        digest, offset = self._digest_of_part()
        headers = {"Accept-Encoding": "identity", "User-Agent": "provision"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator := self._validator():
                headers["If-Range"] = validator
        if digest.hexdigest() == self.download.sha256:
            return self.download.sha256
        with requests.Session() as session, self._get(session, headers) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return self._beyond_the_end(response, digest.hexdigest(), offset)
            _refuse_status(response)
            if response.status_code == requests.codes.partial_content:
                _refuse_other_range(response, offset)
            else:
                digest, offset, self._pieces = hashlib.sha256(), 0, 0
            self._pieces += 1
            self._remember(response)
            announced = _length(response)
            expected = None if announced is None else offset + announced
            if announced is not None and shutil.disk_usage(self.part.parent).free < announced:
                raise disk_full(self.download, self.part.parent, announced)
            try:
                self._append(response, digest, offset, expected)
            except TryError:
                if digest.hexdigest() != self.download.sha256:
                    raise
        return digest.hexdigest()

    def _append(
        self,
        response: requests.Response,
        digest: hashlib._Hash,
        offset: int,
        expected: int | None,
    ) -> None:
        size, pace = offset, _Pace(self.settings, self.clock)
        self.advance(size, expected)
        try:
            with self.part.open("r+b" if offset else "wb") as file:
                file.seek(offset)
                file.truncate()
                for chunk in self._chunks(response):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    self.advance(size, expected)
                    pace.count(len(chunk))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full(
                    self.download, self.part.parent, (expected or size) - size
                ) from error
            raise

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as sent, without undoing any Content-Encoding: the sum is of those bytes."""
        try:
            with self.cancelled.unblocking(lambda: _hang_up(response)):
                yield from self._arriving(response)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TryError(
                f"no byte for {self.settings.stall_timeout:g} s", advice="stalled"
            ) from error
        except (urllib3.exceptions.HTTPError, ssl.SSLError, ConnectionError) as error:
            raise TryError(f"the connection broke: {_plain(error)}") from error

    def _arriving(self, response: requests.Response) -> Iterator[bytes]:
        # read1 hands over what has arrived; read would wait for a whole chunk, and a
        # crawling server would never be noticed.
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            if self.cancelled.is_set():
                raise Cancelled
            yield chunk

    def _get(self, session: requests.Session, headers: dict[str, str]) -> requests.Response:
        timeout = (self.settings.connect_timeout, self.settings.stall_timeout)
        try:
            return session.get(
                self.download.url,
                headers=headers,
                stream=True,
                timeout=timeout,
                verify=ca_file(self.settings),
            )
        except requests.exceptions.SSLError as error:
            raise FinalError(f"TLS failed: {_plain(error)}", advice="tls") from error
        except requests.exceptions.ProxyError as error:
            raise TryError(f"the proxy failed: {_plain(error)}", advice="proxy") from error
        except requests.exceptions.ConnectTimeout as error:
            waited = f"{self.settings.connect_timeout:g} s"
            raise TryError(f"no connection within {waited}", advice="unreachable") from error
        except requests.exceptions.ReadTimeout as error:
            waited = f"{self.settings.stall_timeout:g} s"
            raise TryError(f"no answer within {waited}", advice="stalled") from error
        except requests.exceptions.ConnectionError as error:
            raise TryError(_plain(error), advice="unreachable") from error
        except requests.exceptions.RequestException as error:
            raise FinalError(_plain(error), advice="status") from error

    def _beyond_the_end(self, response: requests.Response, found: str, size: int) -> str:
        """The server has nothing after what is there: it is whole, or it is of another file."""
        if found == self.download.sha256:
            return found
        self._discard()
        said = response.headers.get("Content-Range", "no length")
        raise TryError(f"the server has nothing after byte {size} ({said}); starting again")

    def _digest_of_part(self) -> tuple[hashlib._Hash, int]:
        digest, size = hashlib.sha256(), 0
        if self.part.exists():
            with self.part.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
        return digest, size

    def _remember(self, response: requests.Response) -> None:
        """Keep what names this version of the file, for ``If-Range`` (RFC 9110, 13.1.5)."""
        etag = response.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        mark = {"url": self.download.url, "validator": validator}
        self._mark.write_text(json.dumps(mark), encoding="utf-8")

    def _validator(self) -> str:
        """The validator of what is there, if it came from the same address."""
        try:
            mark = json.loads(self._mark.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return ""
        if not isinstance(mark, dict) or mark.get("url") != self.download.url:
            return ""
        return str(mark.get("validator", ""))

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def _wait(self, seconds: float) -> None:
        if self.cancelled.wait(min(seconds, LONGEST_PAUSE)):
            raise Cancelled


class _Pace:
    """Ends a try that crawls: each full window must have brought enough bytes."""

    def __init__(self, settings: HttpSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.clock = clock
        self.since = clock()
        self.arrived = 0

    def count(self, size: int) -> None:
        self.arrived += size
        elapsed = self.clock() - self.since
        if elapsed < self.settings.slowness_window:
            return
        rate = self.arrived / elapsed
        if rate < self.settings.slowest:
            raise SlowError(
                f"{rate:.0f} bytes/s over the last {elapsed:.0f} s,"
                f" below {self.settings.slowest} bytes/s",
                advice="slow",
            )
        self.since, self.arrived = self.clock(), 0


def _refuse_status(response: requests.Response) -> None:
    code = response.status_code
    if code in (requests.codes.ok, requests.codes.partial_content):
        return
    said = f"HTTP {code} {response.reason or ''}".strip()
    if code in TRY_AGAIN:
        raise TryError(said, advice="busy", retry_after=_retry_after(response))
    raise FinalError(said, advice="status")


def _refuse_other_range(response: requests.Response, offset: int) -> None:
    said = response.headers.get("Content-Range", "")
    if not said.startswith(f"bytes {offset}-"):
        raise FinalError(f"asked for byte {offset} on, was sent {said or 'no range'}", "status")


def _hang_up(response: requests.Response) -> None:
    """Let a blocked read return; a connection that is over already needs nothing."""
    with suppress(OSError, RuntimeError, ValueError):
        response.raw.shutdown()


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _retry_after(response: requests.Response) -> float:
    """Seconds from ``Retry-After``, a number or a date; 0 when it says neither."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _plain(error: BaseException) -> str:
    """The innermost cause in one line: the layers above only repeat the address."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException) or inner is error:
            break
        error = inner
    return str(error).strip() or type(error).__name__
