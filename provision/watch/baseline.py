"""What commits are judged by: the site file that was applied last, and the policy in it.

Never the commit's own: one that may say who signs, or what needs no approval, allows itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provision.errors import ConfigError
from provision.site import Site, WatchSettings, validated
from provision.watch.named import files_beside
from provision.watch.store import Store
from provision.yamlfile import parse_yaml

NAME = "applied"


@dataclass(frozen=True)
class Baseline:
    """A site file that is in force."""

    site: Site
    policy: WatchSettings
    signers: str | None
    """Content of ``allowed_signers``; None where signatures are not asked for."""
    files: Mapping[str, str]
    """sha256 of the files that the site file names beside itself, by path."""
    commit: str = ""
    """What it was applied from; empty for the site file that the watcher was started with."""


def of_site_file(site: Site, where: str, commit: str = "") -> Baseline:
    """A site file as it lies there with what it names.

    Raises
    ------
    ConfigError
        It says nothing of watching, or the signers cannot be read.
    """
    policy = policy_of(site, where)
    return Baseline(site, policy, _signers(site, policy), files_beside(site), commit)


def policy_of(site: Site, where: str) -> WatchSettings:
    """What the site file says of watching.

    Raises
    ------
    ConfigError
        It says nothing.
    """
    if site.watch is None:
        raise ConfigError(
            "the site file does not say what to watch",
            where=where,
            why="a watcher follows the repository that the key `watch` names",
            fix="write `watch: {repository: URL}` into the site file, there and in the repository",
        )
    return site.watch


def record(store: Store, baseline: Baseline, text: str, by: str) -> None:
    """Put ``baseline`` in force from here on.

    Parameters
    ----------
    text
        The site file.
    by
        Who approved it; empty where nobody had to.
    """
    data = {
        "commit": baseline.commit,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": by,
        "files": dict(baseline.files),
        "signers": baseline.signers,
        "text": text,
    }
    store.write(NAME, data)


def recorded(store: Store, model: type[Site]) -> Baseline | None:
    """What was put in force last, or None where nothing was.

    Parameters
    ----------
    model
        Reads its site file. Components judged it when it was applied, with the files that it
        names beside it, and those are not kept.

    Raises
    ------
    OperatorError
        What was kept of it is damaged, or this version does not take its site file.
    """
    data = store.read(NAME)
    if data is None:
        return None
    match data:
        case {"commit": str(commit), "text": str(text), "files": dict(files), "signers": kept}:
            pass
        case _:
            raise store.damaged(NAME, "something is missing")
    where = f"{commit[:12]}/site.yaml"
    site = validated(parse_yaml(text, Path(where)), model).site
    policy = policy_of(site, where)
    # One on this controller is the administrator's own to change, without any commit.
    beside = policy.allowed_signers is None or not policy.allowed_signers.expanduser().is_absolute()
    signers = _text(kept) if beside else _signers(site, policy)
    if policy.allowed_signers is not None and signers is None:
        raise store.damaged(NAME, "no signers")
    return Baseline(site, policy, signers, files, commit)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _signers(site: Site, policy: WatchSettings) -> str | None:
    if policy.allowed_signers is None:
        return None
    path = site.resolve(policy.allowed_signers)
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the file of those who may sign cannot be read",
            where="watch.allowed_signers",
            found=f"{path}: {getattr(error, 'strerror', None) or error}",
            wanted="a file as ssh-keygen(1) describes under ALLOWED SIGNERS",
            fix="name such a file, relative to the site file",
        ) from error
