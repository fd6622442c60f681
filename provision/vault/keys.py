"""Vault's unsealing keys: where they are kept, and how none is lost.

Vault tells its keys once, in its answer to the one call that initialises it.
So the place that will hold them is written to *before* that call: an attempt,
with a name of its own. The machines of that Vault are marked with the same
name, and the attempt notes which of them is asked. Where a run died before it
had kept the answer, the keys were given to nobody, and nothing can have been
written to that Vault: the next run finds an attempt without keys, and begins
again on the machine that was asked, whose storage it puts aside. A machine that
was not asked, or does not bear the name, is never touched.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from secrets import token_hex
from typing import Protocol

from provision.errors import SecretsError
from provision.vault.names import KEYS


def new_attempt() -> str:
    """A name that no other attempt to initialise a Vault has: 64 random bits."""
    return token_hex(8)


@dataclass(frozen=True)
class Keys:
    """What Vault told when it was initialised; without ``shares`` only an attempt."""

    attempt: str
    shares: tuple[str, ...] = ()
    """In base64 as Vault tells them; with ``encrypted`` PGP messages, one a given key."""
    threshold: int = 0
    """How many shares unseal Vault."""
    encrypted: bool = False
    """Only the administrators whose PGP keys were given can read the shares."""
    recovery: bool = False
    """The shares unseal nothing, since another Vault keeps the key: they prove who may recover."""
    root_token: str = ""
    """Kept until everything is set up; then revoked, and forgotten here."""
    asked: str = ""
    """The machine whose Vault is asked for keys, or was, by a run that never got its answer."""

    @property
    def told(self) -> bool:
        """Whether Vault's answer is here."""
        return bool(self.shares)

    @property
    def usable(self) -> bool:
        """Whether Vault can be unsealed with what is here."""
        return self.told and not self.encrypted and not self.recovery

    @property
    def kind(self) -> str:
        """``attempt``, ``usable`` or ``encrypted``.

        Of a Vault whose key another one keeps, ``recovery`` or ``encrypted-recovery``.
        """
        if not self.told:
            return "attempt"
        if self.recovery:
            return "encrypted-recovery" if self.encrypted else "recovery"
        return "encrypted" if self.encrypted else "usable"

    def without_root_token(self) -> Keys:
        """The same once set-up is over."""
        return replace(self, root_token="")

    def __repr__(self) -> str:
        return f"<keys of the attempt {self.attempt}>"


class Store(Protocol):
    """What is needed of the site's secret store."""

    def read(self, name: str) -> bytes:
        """The content of a secret."""

    def names(self) -> list[str]:
        """Names of all secrets."""

    def put(self, name: str, content: bytes) -> None:
        """Keep a secret durably, in one step."""


class KeySink:
    """Keeps Vault's keys in the site's secret store, as one file called ``name``."""

    def __init__(self, store: Store, name: str = KEYS) -> None:
        self.store = store
        self.name = name

    def read(self) -> Keys | None:
        """What is kept, or None.

        Raises
        ------
        SecretsError
            It is damaged.
        """
        if self.name not in self.store.names():
            return None
        try:
            data = json.loads(self.store.read(self.name))
            return Keys(**{**data, "shares": tuple(data["shares"])})
        except (ValueError, KeyError, TypeError) as error:
            raise SecretsError(
                "the kept keys of Vault are damaged",
                where=self.name,
                fix="bring a backup: provision secrets import FILE",
            ) from error

    def begin(self, attempt: str) -> Keys:
        """Prove that keys can be kept, by keeping the attempt that will bring them.

        Raises
        ------
        SecretsError
            They could not be kept, or keys are kept already.
        DiskFullError
            There is no room.
        """
        kept = self.read()
        if kept is not None:
            if kept.told:
                raise SecretsError(
                    "keys of a Vault are kept already, and are not given up for another",
                    where=self.name,
                    fix="bring that Vault back: provision vault restore FILE; or put its keys"
                    " aside: provision vault forget",
                )
            return kept
        self.keep(Keys(attempt))
        return Keys(attempt)

    def note_asked(self, machine: str) -> Keys:
        """Note which machine's Vault is asked for keys from now on; none when it is empty again.

        Raises
        ------
        SecretsError
            There is no attempt, or keys are kept already.
        """
        kept = self.read()
        if kept is None or kept.told:
            raise SecretsError(
                "no attempt to initialise Vault is under way",
                where=self.name,
                fix="provision vault status",
            )
        noted = replace(kept, asked=machine)
        self.keep(noted)
        return noted

    def keep(self, keys: Keys) -> None:
        """Keep ``keys`` in the place of what is there."""
        self.store.put(self.name, (json.dumps(asdict(keys), indent=1) + "\n").encode())

    def put_aside(self, attempt: str) -> str:
        """Keep what is here under a name of its own, and begin the next attempt.

        Returns
        -------
        The name under which the keys are now.

        Raises
        ------
        SecretsError
            There are no keys to put aside.
        """
        kept = self.read()
        if kept is None or not kept.told:
            raise SecretsError(
                "no keys of a Vault are kept here", where=self.name, fix="provision vault status"
            )
        aside = KeySink(self.store, f"{self.name}-{kept.attempt}")
        aside.keep(kept)
        self.keep(Keys(attempt))
        return aside.name
