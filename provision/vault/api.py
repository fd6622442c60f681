"""What the project asks of one member of Vault; ``adapters/vault.py`` speaks to a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from provision.vault.configuration import Configuration


@dataclass(frozen=True)
class Member:
    """How one machine's Vault stands, as it tells everybody."""

    error: str = ""
    """Why it does not answer."""
    initialized: bool = False
    """It has a barrier: its own or, once it joined, the others'."""
    sealed: bool = True
    active: bool = False
    """It is the one that writes."""
    version: str = ""
    progress: int = 0
    """Shares that were given since the last unsealing."""
    threshold: int = 0
    """Shares that are needed."""
    seal: str = ""
    """What keeps its key: ``shamir``, which is people or the machine, or ``transit``."""

    @property
    def answers(self) -> bool:
        """Whether it answers at all."""
        return not self.error

    @property
    def serves(self) -> bool:
        """Whether requests to it are served, by itself or by the active one."""
        return self.answers and self.initialized and not self.sealed

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class VaultApi(Protocol):
    """One member of Vault.

    Every method but :meth:`member` raises ``UnreachableError`` where Vault
    does not answer, and ``VaultRefusalError`` where it refuses.
    """

    def member(self) -> Member:
        """How it stands; never raises for Vault's own fault."""

    def initialise(
        self, shares: int, threshold: int, pgp_keys: Sequence[str], *, recovery: bool = False
    ) -> Mapping[str, Any]:
        """Initialise it: ``shares`` and ``root_token``.

        The shares are of its unsealing key or, with ``recovery``, of the
        recovery key that a Vault has whose key another one keeps.
        """

    def join(self, leader: str, authority: str) -> None:
        """Become a member of the Vault at ``leader``; ``authority`` is a certificate in PEM."""

    def unseal(self, share: str) -> Member:
        """Give one share."""

    def forget_shares(self) -> None:
        """Have it forget the shares that it was given and that do not unseal it yet."""

    def use(self, token: str) -> None:
        """Use ``token`` from now on."""

    def login(self, user: str, password: str) -> str:
        """Log in by userpass, use the token from now on, and return it."""

    def token_holds(self) -> bool:
        """Whether the token in use is one that Vault knows."""

    def revoke(self) -> None:
        """Revoke the token in use."""

    def configuration(self, wanted: Configuration) -> Configuration:
        """What Vault holds of the names in ``wanted``."""

    def configure(self, part: str, name: str, value: Any, *, password: str = "") -> None:
        """Make one thing of a configuration so; ``password`` is a new user's, or a secret id."""

    def read(self, path: str) -> Mapping[str, Any] | None:
        """What Vault tells at a path, or None where nothing is."""

    def names(self, path: str) -> Sequence[str]:
        """Names of what is below a path."""

    def write(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write to a path; what Vault answers to it."""

    def delete(self, path: str) -> None:
        """Delete what is at a path, if anything."""

    def disable_auth(self, name: str) -> None:
        """Take an auth method out, with its roles and the tokens that it gave."""

    def voters(self) -> Mapping[str, bool]:
        """Whether each member votes, by its machine's name."""

    def snapshot(self) -> bytes:
        """A snapshot of everything; readable with the unsealing keys alone."""

    def restore(self, snapshot: bytes, *, force: bool) -> None:
        """Put a snapshot back; ``force`` where it is of a Vault with other keys."""
