"""Published files on their way into the blob store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import requests

from provision.bundle.cancellation import Cancellation
from provision.bundle.jobs import PARALLEL
from provision.bundle.progress import Outcome, Progress
from provision.bundle.store import Blob, BlobStore, hash_file
from provision.bundle.transfer import Download, HttpSettings, Transfer, ca_file

MIB = 1024 * 1024


@dataclass
class Downloads:
    """Brings published files into ``store``.

    Parameters
    ----------
    store
        Where whole, verified files go.
    partial
        Folder of what has not arrived whole; kept between runs.
    settings
        Patience.
    cancelled
        Once set, transfers stop at the next chunk.
    """

    store: BlobStore
    partial: Path
    settings: HttpSettings = field(default_factory=HttpSettings)
    cancelled: Cancellation = field(default_factory=Cancellation)

    def held(self, download: Download) -> Blob | None:
        """The file, if the store has it whole; a damaged one is forgotten."""
        path = self.store.path(download.sha256)
        if not path.exists():
            return None
        blob = hash_file(path)
        if blob.sha256 == download.sha256:
            return blob
        self.store.remove(download.sha256)
        return None

    def missing_bytes(self, downloads: Sequence[Download]) -> int:
        """Bytes still to come, by what the servers answer to ``HEAD``; 0 for what they hide."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            return sum(pool.map(self._missing, downloads))

    def fetch(self, download: Download, progress: Progress) -> tuple[Blob, Outcome]:
        """The file in the store, read if it is not there.

        Raises
        ------
        BundleError
            It cannot be read, or is not the one that was published.
        DiskFullError
            There is no room for it.
        Cancelled
            The operator stopped the build.
        """
        self.partial.mkdir(parents=True, exist_ok=True)
        part = self._part(download)
        if blob := self.held(download):
            return blob, "kept"
        shown = _Shown(download.name, progress)
        transfer = Transfer(
            download, part, self.settings, cancelled=self.cancelled, advance=shown.advance
        )
        transfer.run()
        part.chmod(0o444)
        blob = Blob(download.sha256, part.stat().st_size)
        transfer.finish(self.store.path(download.sha256))
        return blob, "downloaded"

    def _part(self, download: Download) -> Path:
        return self.partial / f"{download.sha256}.part"

    def _missing(self, download: Download) -> int:
        if self.store.path(download.sha256).exists():
            return 0
        part = self._part(download)
        there = part.stat().st_size if part.exists() else 0
        timeout = (self.settings.connect_timeout, self.settings.stall_timeout)
        try:
            answer = requests.head(
                download.url,
                allow_redirects=True,
                timeout=timeout,
                verify=ca_file(self.settings),
                headers={"Accept-Encoding": "identity", "User-Agent": "provision"},
            )
        except requests.exceptions.RequestException:
            return 0  # the download itself will say what is wrong
        length = answer.headers.get("Content-Length", "")
        if not answer.ok or not (length.isascii() and length.isdigit()):
            return 0
        return max(0, int(length) - there)


class _Shown:
    """Tells the progress how far a file is, a MiB at a time."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.name = name
        self.progress = progress
        self.last = ""

    def advance(self, done: int, expected: int | None) -> None:
        total = "?" if expected is None else str(-(-expected // MIB))
        text = f"{done // MIB} of {total} MiB"
        if text != self.last:
            self.last = text
            self.progress.detail(self.name, text)
