"""Fetches a file of the bundle by its digest from the site's depots."""

from __future__ import annotations

import hashlib
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import BinaryIO

from .failure import WorkError

AUTHORITY = "/etc/provision/ca.crt"
CHUNK = 1024 * 1024
SECONDS_WITHOUT_DATA = 30.0


def fetch(
    urls: Sequence[str], sha256: str, target: BinaryIO, *, authority: str = AUTHORITY
) -> None:
    """Write the blob with this digest to ``target``, from the first depot that has it whole.

    Parameters
    ----------
    urls
        Where the blob lies, one address a depot.
    sha256
        The digest in hexadecimal; other content is refused.
    target
        An empty file, open for writing and seeking.
    authority
        Certificate of the site's authority; no other is believed.

    Raises
    ------
    WorkError
        No depot gave it; the message says why for each.
    """
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise WorkError(f"the site's certificate {authority} cannot be used: {error}") from error
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    refusals = []
    for url in urls:
        target.seek(0)
        target.truncate()
        try:
            found = _download(opener, url, target)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            refusals.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        if found == sha256:
            return
        refusals.append(f"{url}: the content is corrupted, its sha256 is {found}")
    listed = "\n  ".join(refusals) or "the site names no depot"
    machine = os.uname().nodename
    raise WorkError(f"no depot gives {machine} the blob sha256:{sha256}:\n  {listed}")


def _download(opener: urllib.request.OpenerDirector, url: str, target: BinaryIO) -> str:
    digest = hashlib.sha256()
    with opener.open(url, timeout=SECONDS_WITHOUT_DATA) as answer:
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()
