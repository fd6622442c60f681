"""What a failed download tells the operator: the address, what came, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import BundleError, DiskFullError, OperatorError

if TYPE_CHECKING:
    from provision.bundle.transfer import Download, HttpSettings

ADVICE = {
    "": "run the same command again: it resumes where it stopped",
    "busy": "run the same command again later: it resumes where it stopped",
    "proxy": "look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY: env | grep -i proxy",
    "slow": "run the same command again, or name a nearer copy with --mirror",
    "stalled": "run the same command again, or name a nearer copy with --mirror",
    "status": "compare the address with the publisher's page; a copy of your own is named by"
    " --mirror",
    "tls": "name your authority's certificate with --ca-bundle FILE",
    "unreachable": "curl -I URL from this machine; behind a proxy, set HTTPS_PROXY; a copy of"
    " your own is named by --mirror",
}
"""What to do about each kind of failure."""


class Cancelled(Exception):  # noqa: N818 - it is no failure, the operator asked for it
    """The operator stopped the build."""


class TryError(Exception):
    """One try failed; the next may do better.

    Parameters
    ----------
    found
        What was seen.
    advice
        Key of :data:`ADVICE`.
    retry_after
        Seconds that the server asked to be left alone.
    """

    def __init__(self, found: str, advice: str = "", retry_after: float = 0.0) -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice
        self.retry_after = retry_after


class SlowError(TryError):
    """The try brought something, but so slowly that this is no progress."""


class FinalError(Exception):
    """Trying again would bring the same; the parameters are those of :class:`TryError`."""

    def __init__(self, found: str, advice: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice

    def told(self, download: Download) -> BundleError:
        """The error for the operator."""
        return BundleError(
            f"{download.name} cannot be downloaded",
            where=download.url,
            found=self.found,
            wanted=f"the file whose sha256 is {download.sha256}",
            fix=ADVICE[self.advice].replace("URL", download.url),
        )


def gave_up(download: Download, error: TryError, settings: HttpSettings, size: int) -> BundleError:
    """The last of ``settings.tries`` tries in a row that brought nothing new."""
    return BundleError(
        f"{download.name} cannot be downloaded",
        where=download.url,
        found=f"{error.found} (try {settings.tries} of {settings.tries}; {size} bytes are kept)",
        wanted=f"the file whose sha256 is {download.sha256}",
        fix=ADVICE[error.advice].replace("URL", download.url),
    )


def checksum_error(download: Download, found: str, size: int) -> BundleError:
    """The whole file came, and it is another one."""
    return BundleError(
        f"{download.name} is not the file that was published",
        where=download.url,
        found=f"sha256 {found} ({size} bytes)",
        wanted=f"sha256 {download.sha256}, from the catalog",
        why="a proxy's error page, a wrong copy, or a file that was changed after publication;"
        " it was thrown away",
        fix=f"look at what is served: curl -sSL {download.url} | sha256sum",
    )


def disk_full(download: Download, folder: Path, missing: int) -> OperatorError:
    """The cache's file system has no room for the rest of the file."""
    return DiskFullError(
        f"there is no room for {download.name}",
        where=str(folder),
        found=f"less than {missing} bytes free",
        wanted=f"{missing} bytes more",
        fix="make room, or name another cache by PROVISION_CACHE; then run the same command"
        " again: it resumes where it stopped",
    )
