"""A Vault of one member that keeps its state, and a store that dies when it is told to."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from provision.errors import DiskFullError, VaultRefusalError
from provision.vault.api import Member
from provision.vault.configuration import Configuration
from provision.vault.steps import STATE_LEFT

ROOT = "root-token-1"


class Killed(BaseException):
    """The process ends here."""


class Deaths:
    """Counts moments, and ends the process at one of them."""

    def __init__(self, moment: int = 0) -> None:
        self.moment = moment
        self.passed = 0

    def pass_by(self) -> None:
        """One more moment."""
        self.passed += 1
        if self.passed == self.moment:
            raise Killed


class FakeStore:
    """The site's secret store in memory; may die before and after each writing."""

    def __init__(self, deaths: Deaths | None = None) -> None:
        self.deaths = deaths or Deaths()
        self.content: dict[str, bytes] = {}
        self.full_after = 0
        """After how many writings the disk is full; never, where 0."""
        self.written = 0

    def read(self, name: str) -> bytes:
        return self.content[name]

    def names(self) -> list[str]:
        return sorted(self.content)

    def put(self, name: str, content: bytes) -> None:
        self.deaths.pass_by()
        self.written += 1
        if self.full_after and self.written > self.full_after:
            raise DiskFullError("the disk is full", where=name)
        self.content[name] = content
        self.deaths.pass_by()


class FakeVault:
    """One member; every call may die before it takes effect, and after."""

    def __init__(self, deaths: Deaths | None = None, seal: str = "shamir") -> None:
        self.deaths = deaths or Deaths()
        self.seal_type = seal
        self.generation = 0
        self.error = ""
        self.refusing = False
        self.empty()
        self.token = ""

    def empty(self) -> None:
        """Lose everything, as an emptied machine does."""
        self.shares: tuple[str, ...] = ()
        self.bootstrapped = False
        self.threshold = 0
        self.given: set[str] = set()
        self.sealed = True
        self.tokens: set[str] = set()
        self.passwords: dict[str, str] = {}
        self.held: dict[str, dict[str, Any]] = {}
        self.written: dict[str, Mapping[str, Any]] = {}

    def member(self) -> Member:
        if self.error:
            return Member(error=self.error)
        made = bool(self.shares)
        return Member(
            initialized=made,
            sealed=self.sealed,
            active=made and not self.sealed,
            version="1.21.0",
            progress=len(self.given),
            threshold=self.threshold,
            seal=self.seal_type,
        )

    def initialise(
        self, shares: int, threshold: int, pgp_keys: Sequence[str], *, recovery: bool = False
    ) -> Mapping[str, Any]:
        self.deaths.pass_by()
        assert not self.shares
        if recovery != (self.seal_type == "transit"):
            raise VaultRefusalError("Vault refuses", found="parameters not applicable")
        if self.bootstrapped:
            raise VaultRefusalError("Vault refuses", found=f"error bootstrapping: {STATE_LEFT}")
        self.bootstrapped = True
        self.deaths.pass_by()
        if self.refusing:
            raise VaultRefusalError("Vault refuses", found="it has no valid encryption keys")
        self.generation += 1
        self.shares = tuple(f"share-{self.generation}-{number}" for number in range(shares))
        self.threshold = threshold
        self.tokens = {ROOT}
        # Vault unseals itself before it answers, where another one keeps its key.
        self.sealed = not recovery
        self.deaths.pass_by()
        return {"shares": list(self.shares), "root_token": ROOT}

    def join(self, leader: str, authority: str) -> None:
        raise AssertionError("there is nobody to join")

    def unseal(self, share: str) -> Member:
        self.deaths.pass_by()
        assert self.seal_type == "shamir", "no share unseals it"
        self.given.add(share)
        if len(self.given) >= self.threshold:
            given, self.given = self.given, set()
            if not given <= set(self.shares):
                raise VaultRefusalError("Vault refuses", found="message authentication failed")
            self.sealed = False
        return self.member()

    def forget_shares(self) -> None:
        self.given = set()

    def seal(self) -> None:
        self.sealed = True

    def use(self, token: str) -> None:
        self.token = token

    def login(self, user: str, password: str) -> str:
        if self.passwords.get(user) != password:
            raise VaultRefusalError("Vault refuses", found="invalid username or password")
        self.token = f"token-of-{user}"
        self.tokens.add(self.token)
        return self.token

    def token_holds(self) -> bool:
        return self.token in self.tokens

    def revoke(self) -> None:
        self.deaths.pass_by()
        self.tokens.discard(self.token)
        self.deaths.pass_by()

    def configuration(self, wanted: Configuration) -> Configuration:
        self._require_token()
        return {
            part: {name: self.held[part][name] for name in names if name in self.held.get(part, {})}
            for part, names in copy.deepcopy(dict(wanted)).items()
        }

    def configure(self, part: str, name: str, value: Any, *, password: str = "") -> None:
        self._require_token()
        self.deaths.pass_by()
        self.held.setdefault(part, {})[name] = value
        if password:
            self.passwords[name] = password
        self.deaths.pass_by()

    def read(self, path: str) -> Mapping[str, Any] | None:
        self._require_token()
        return self.written.get(path)

    def names(self, path: str) -> Sequence[str]:
        self._require_token()
        below = [item.removeprefix(f"{path}/") for item in self.written if item.startswith(path)]
        return sorted(below)

    def write(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self._require_token()
        self.written[path] = body
        return {}

    def delete(self, path: str) -> None:
        self._require_token()
        self.written.pop(path, None)

    def disable_auth(self, name: str) -> None:
        self._require_token()
        del self.held["auth"][name]

    def voters(self) -> Mapping[str, bool]:
        return {"n1": True}

    def snapshot(self) -> bytes:
        return b"snapshot"

    def restore(self, snapshot: bytes, *, force: bool) -> None:
        raise NotImplementedError

    def _require_token(self) -> None:
        assert not self.sealed
        if self.token not in self.tokens:
            raise VaultRefusalError("Vault refuses", found="permission denied")


def no_vault(members: Mapping[str, str], path: str, field: str) -> bytes:
    """Reads a secret of a Vault where nothing is to be read from one."""
    raise AssertionError(f"{path} {field} is asked for at {members}")
