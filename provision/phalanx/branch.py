"""Whether what is judged in a checkout is what Argo CD will deploy: a branch, at its origin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

from provision.errors import ConfigError
from provision.git import run_git
from provision.phalanx.preflight import Row, judged

ORIGIN_SECONDS = 30.0
"""How long the origin may take to tell of one branch."""
ANONYMOUS = ("-c", "credential.helper=")
"""As Argo CD asks."""
BY_SSH = re.compile(r"git@github\.com:([^:/]+/[^:/]+)")
SHOWN = 3
"""How many changed files are named."""


def branch_rows(checkout: Path, branch: str) -> Iterator[Row]:
    """Whether all is committed, and pushed to the branch where Argo CD will read it.

    Parameters
    ----------
    branch
        That the environment is installed from.
    """
    at = f"git -C {quote(str(checkout))}"
    code, printed = _git(checkout, "status", "--porcelain", "--untracked-files=normal")
    changed = printed.splitlines()
    names = ", ".join(line[3:] for line in changed[:SHOWN])
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    yield judged(
        "changes in the checkout",
        printed if code else names + more or "none",
        "none that is not committed: the branch is deployed, not these files",
        not printed,
        f"{at} status; commit and push, or put aside",
    )
    origin = origin_of(checkout)
    url = deployed_url(origin)
    yield judged(
        "origin of the checkout",
        shown(origin) or "none",
        "https, or ssh to GitHub: Argo CD gets https from it, and no credentials",
        bool(url),
        f"{at} remote set-url origin https://SERVER/OWNER/phalanx",
    )
    if url:
        yield _pushed(checkout, branch, url, at)


def origin_of(checkout: Path) -> str:
    """Where a checkout comes from, as it was written down; empty where that is not known."""
    code, origin = _git(checkout, "config", "--get", "remote.origin.url")
    return "" if code else origin


def deployed_url(origin: str) -> str:
    """What the installer has Argo CD read for an origin; empty where it takes none such."""
    try:
        told = urlsplit(origin)
        host = told.hostname
    except ValueError:
        return ""
    if told.scheme == "https":
        return origin
    if told.scheme == "ssh" and host == "github.com":
        return f"https://github.com{told.path}"
    by_ssh = BY_SSH.fullmatch(origin)
    return f"https://github.com/{by_ssh[1]}" if by_ssh else ""


def shown(origin: str) -> str:
    """An address without the password that may be in it."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", origin)


def _pushed(checkout: Path, branch: str, url: str, at: str) -> Row:
    _, head = _git(checkout, "rev-parse", "HEAD")
    wanted = f"refs/heads/{branch}"
    code, told = _git(checkout, *ANONYMOUS, "ls-remote", url, wanted, seconds=ORIGIN_SECONDS)
    has = told.partition("\t")[0]
    found = f"{has[:12] or 'no such branch'}; the checkout has {head[:12]}"
    return judged(
        f"branch {branch} at its origin",
        shown(told) if code else has[:12] if has == head else found,
        f"the checkout's commit, at {shown(url)} for everybody to read",
        not code and has == head,
        f"{at} push origin HEAD:{branch}, or: {at} pull",
    )


def _git(checkout: Path, *words: str, seconds: float = ORIGIN_SECONDS) -> tuple[int, str]:
    try:
        return run_git("-C", str(checkout), "--no-optional-locks", *words, seconds=seconds)
    except ConfigError as error:
        return 1, error.what
