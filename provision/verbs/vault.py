"""``vault``: how Vault stands, unsealing by people, snapshots and their restoration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.app import Application
from provision.errors import SecretsError, UsageError, VaultRefusalError
from provision.locallock import local_lock
from provision.phases.vault import VaultSettings, member_urls, vault_url
from provision.privatefiles import write_private
from provision.vault.api import Member
from provision.vault.keys import Keys, KeySink, new_attempt
from provision.vault.steps import (
    STATE_LEFT,
    Sharing,
    initialise,
    replace_by,
    restore,
    unseal,
    wait_until_active,
)

RESTORING = "vault/restoring"
"""The site's secret with the keys of a Vault that only lives until a snapshot replaces it."""

PUT_ASIDE = (
    "systemctl stop vault && mv /var/lib/private/vault /var/lib/private/vault.aside"
    " && systemctl start vault"
)
"""Lets a machine's Vault begin without any storage; what it had stays there."""

Ask = Callable[[str], str]
"""Asks for a secret at the terminal."""


@dataclass(frozen=True)
class VaultStatus:
    """How Vault stands: its address, its members, and what is kept of its keys."""

    url: str
    members: Mapping[str, Member]
    keys: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        members = {name: member.as_dict() for name, member in self.members.items()}
        return {"url": self.url, "members": members, "keys": self.keys, "serves": self.serves}

    @property
    def serves(self) -> bool:
        """Whether every member does, and one is active."""
        members = self.members.values()
        return all(item.serves for item in members) and any(item.active for item in members)

    @property
    def kept_elsewhere(self) -> bool:
        """Whether another Vault keeps the key, so that shares unseal nothing."""
        members = self.members.values()
        return any(item.initialized and item.seal == "transit" for item in members)

    @property
    def sealed(self) -> tuple[str, ...]:
        """Members that wait for shares."""
        return tuple(
            name
            for name, member in self.members.items()
            if member.answers and member.initialized and member.sealed
        )


def vault_status(app: Application) -> VaultStatus:
    """Ask every member."""
    _require(app)
    members = {name: app.vault.member(url).member() for name, url in member_urls(app.site).items()}
    return VaultStatus(vault_url(app.site), members, app.vault.keys_kind())


def render(status: VaultStatus) -> Iterator[str]:
    """The status as lines of text, with what to run next."""
    yield f"address  {status.url}"
    for name, member in status.members.items():
        yield f"  {'ok ' if member.serves else 'BAD'}  {name}  {_words(member)}"
    yield f"keys     {_KEYS[status.keys]}"
    if status.sealed and status.kept_elsewhere:
        yield f"sealed on {', '.join(status.sealed)}, though another Vault keeps the key;"
        yield "  why: journalctl -u vault; restart them: provision up"
    elif status.sealed:
        yield f"sealed on {', '.join(status.sealed)}; unseal: provision vault unseal"
    elif not status.serves:
        yield "next: provision plan"


def unseal_members(app: Application, ask: Ask) -> list[str]:
    """Unseal every sealed member, with the kept shares or with shares that people give.

    Members that are empty join the others.

    Returns
    -------
    The members that were unsealed.
    """
    status = vault_status(app)
    initialised = [name for name, member in status.members.items() if member.initialized]
    empty = [
        name
        for name, member in status.members.items()
        if member.answers and not member.initialized and initialised
    ]
    waiting = [*status.sealed, *empty]
    if not waiting:
        return []
    if status.kept_elsewhere:
        raise UsageError(
            "Vault unseals itself with the key that another Vault keeps, and takes no shares",
            found=f"sealed or empty: {', '.join(waiting)}",
            fix="provision up",
        )
    kept = app.vault.sink.read()
    needed = max(status.members[name].threshold for name in initialised)
    shares = list(kept.shares) if kept and kept.usable else _asked(ask, needed)
    urls = member_urls(app.site)
    authority = app.secrets.read("site-ca.crt").decode()
    for name in waiting:
        if name in empty:
            wait_until_active([app.vault.member(urls[known]) for known in initialised])
        leader = urls[initialised[0]]
        unseal(app.vault.member(urls[name]), shares, leader=leader, authority=authority)
    return waiting


def encrypted_shares(app: Application) -> Sequence[str]:
    """The shares as the administrators' PGP keys encrypt them, in base64, in the keys' order.

    Raises
    ------
    SecretsError
        The shares are none that may be shown.
    """
    _require(app)
    kept = app.vault.sink.read()
    if kept is None or not kept.encrypted:
        raise SecretsError(
            "there are no shares that are encrypted to administrators",
            why="others are not shown; they unseal by themselves: provision vault unseal",
            fix="provision vault status",
        )
    return kept.shares


def take_snapshot(app: Application, file: Path) -> int:
    """Write a snapshot to a new file, readable by its owner alone; its size in bytes."""
    status = vault_status(app)
    if file.exists():
        raise UsageError("the file is there already", where=str(file), fix="name a new file")
    content = app.vault.log_in(app.vault.member(_active(app, status))).snapshot()
    write_private(file.absolute(), content)
    return len(content)


def restore_snapshot(app: Application, file: Path) -> str:
    """Put a snapshot back; what was restored into, in a few words.

    A Vault that serves goes back to the snapshot. Where every member is empty,
    a Vault for the time being is made of them and replaced by the snapshot; the
    keys of the Vault that was unseal it after a restart.

    Raises
    ------
    VaultRefusalError
        Vault neither serves nor is it empty.
    """
    status = vault_status(app)
    content = file.read_bytes()
    with local_lock(app.state, "provision vault restore"):
        if any(member.active for member in status.members.values()):
            active = app.vault.member(_active(app, status))
            restore(active, content, lambda: app.vault.log_in(active))
            return "the Vault that serves"
        return _restore_into_empty(app, status, content)


def _restore_into_empty(app: Application, status: VaultStatus, content: bytes) -> str:
    sink = KeySink(app.secrets, RESTORING)
    begun = sink.read()
    for name, member in status.members.items():
        if member.initialized and begun and not begun.told and begun.asked == name:
            raise VaultRefusalError(
                "an earlier restoration ended before it had the keys of its passing Vault",
                where=name,
                found=_words(member),
                fix=f"on {name}: {PUT_ASIDE}; then restore again",
            )
        if not member.answers or (member.initialized and not (begun and begun.told)):
            raise VaultRefusalError(
                "Vault neither serves nor is it empty, so nothing was restored",
                where=name,
                found=_words(member),
                fix="provision vault unseal; where its data is lost, take it off: provision reset",
            )
    initialised = any(member.initialized for member in status.members.values())
    if begun is None or (begun.told and not initialised):
        sink.keep(Keys(new_attempt()))
    members = {name: app.vault.member(url) for name, url in member_urls(app.site).items()}
    lead, *others = members.values()
    first = next(iter(members))
    try:
        initialise(lead, sink, Sharing(1, 1, recovery=_is_kept_elsewhere(app)), first)
    except VaultRefusalError as refusal:
        if STATE_LEFT not in refusal.found:
            raise
        raise VaultRefusalError(
            "an earlier restoration was refused, and raft was set up for it",
            where=first,
            found=refusal.found,
            fix=f"on {first}: {PUT_ASIDE}; then restore again",
        ) from refusal
    passing = sink.read()
    if passing is None:
        raise SecretsError("the keys of the passing Vault were not kept", where=RESTORING)
    shares = passing.shares if passing.usable else ()
    unseal(lead, shares)
    wait_until_active([lead])
    authority = app.secrets.read("site-ca.crt").decode()
    for other in others:
        unseal(other, shares, leader=lead.url, authority=authority)
    lead.use(passing.root_token)
    replace_by(lead, content, lambda: app.vault.log_in(lead))
    sink.keep(Keys(new_attempt()))
    return (
        f"an empty Vault; next, on each of {', '.join(members)}: systemctl restart vault;"
        " then: provision up"
    )


def forget_keys(app: Application) -> str:
    """Put the kept keys aside, so that the next ``up`` makes a new Vault; their new name.

    Raises
    ------
    VaultRefusalError
        They belong to a Vault that is there.
    """
    status = vault_status(app)
    there = [name for name, member in status.members.items() if member.initialized]
    silent = [name for name, member in status.members.items() if not member.answers]
    if there or silent:
        raise VaultRefusalError(
            "the keys belong to a Vault that is there, or may be",
            found=", ".join([*(f"{name} is initialised" for name in there), *silent]),
            fix="provision vault status",
        )
    return app.vault.sink.put_aside(new_attempt())


_KEYS = {
    "none": "not made yet: provision up",
    "attempt": "an attempt to initialise was begun: provision up",
    "usable": "kept in the site's secrets; back them up: provision secrets export FILE",
    "encrypted": "with the administrators, by their PGP keys: provision vault shares",
    "recovery": "with another Vault; the recovery key is in the site's secrets; back them up:"
    " provision secrets export FILE",
    "encrypted-recovery": "with another Vault; the recovery key is with the administrators, by"
    " their PGP keys: provision vault shares",
}


def _require(app: Application) -> None:
    if not app.site.has(VaultSettings):
        raise UsageError(
            "the site has no Vault of its own",
            why="it is optional, and its key does not stand in the site file",
            fix="write `vault: {}` into the site file",
        )


def _is_kept_elsewhere(app: Application) -> bool:
    return app.site.settings(VaultSettings).unseal == "transit"


def _active(app: Application, status: VaultStatus) -> str:
    for name, member in status.members.items():
        if member.active:
            return member_urls(app.site)[name]
    raise VaultRefusalError(
        "no member of Vault is active",
        found="; ".join(f"{name} {_words(member)}" for name, member in status.members.items()),
        fix="provision vault unseal"
        if status.sealed and not status.kept_elsewhere
        else "provision vault status",
    )


def _asked(ask: Ask, count: int) -> list[str]:
    return [ask(f"share {number} of {count}") for number in range(1, count + 1)]


def _words(member: Member) -> str:
    if not member.answers:
        return f"does not answer: {member.error}"
    if not member.initialized:
        return "is empty"
    if member.sealed:
        return f"is sealed ({member.progress} of {member.threshold} shares given)"
    return f"{'active' if member.active else 'standby'}, {member.version}"
