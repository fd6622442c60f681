"""Whether a registry of images answers this machine."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPException, HTTPSConnection, InvalidURL

SECONDS = 5.0
"""How long each step may take; a registry may be far away."""


def answers(server: str) -> bool | str:
    """Ask the registry ``name`` or ``name:port``; True, or the reason why not.

    It counts as an answer that one who has not logged in is sent away.

    Raises
    ------
    OSError
        Nobody is there, or nobody whom this machine trusts.
    UnicodeError
        The name is none.
    """
    try:
        with closing(HTTPSConnection(server, timeout=SECONDS)) as connection:
            connection.request("GET", "/v2/")
            status = connection.getresponse().status
    except InvalidURL as error:
        return str(error)
    except HTTPException as error:
        return f"no HTTP answer: {error!r}"
    return True if status < 500 else f"HTTP status {status}"
