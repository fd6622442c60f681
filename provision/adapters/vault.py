"""Speaks to Vault over its API, by hvac.

Tokens and shares pass in the bodies and headers of requests alone. Nothing is
taken from the environment or from ``~/.vault-token``: the site says it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import hvac
import requests
from hvac.exceptions import (
    BadGateway,
    InternalServerError,
    InvalidPath,
    InvalidRequest,
    RateLimitExceeded,
    VaultDown,
    VaultError,
)

from provision.errors import (
    OperatorError,
    UnreachableError,
    VaultFailureError,
    VaultRefusalError,
)
from provision.gates import Condition, judged
from provision.vault.api import Member, VaultApi
from provision.vault.configuration import Configuration, without_texts
from provision.vault.keys import Keys, KeySink
from provision.vault.names import OWN_USER, password_of
from provision.vault.transit import digest, token_of

CONNECT_SECONDS = 3
LOOK_SECONDS = 10
ANSWER_SECONDS = 60
"""Making keys takes seconds on a machine that has better things to do."""
ELECTION_SECONDS = 15.0
"""How long members may take to choose their leader: twice the 6 s of heartbeat that they have with
`raft_performance_multiplier` 2 (as they say in their logs), and a little."""
AUTHORITY = "site-ca.crt"
AUTHORITY_KEY = {"key_type": "ec", "key_bits": 256}
AUTHORITY_TTL = "87600h"
"""Of an authority that Vault makes for itself: as long as that of the site's own."""
OVERTAKEN = "check-and-set parameter did not match"
"""What the engine KV says of a write after a version that is not the newest any more."""
PLUGINS = "sys/plugins/catalog"
FAILURES = (BadGateway, InternalServerError, RateLimitExceeded, VaultDown)
"""HTTP status 502, 500, 429 and 503: what was asked is not judged."""


class Vault:
    """One member of Vault.

    Parameters
    ----------
    url
        ``https://address:port``.
    authority
        File with the certificate that its own is signed with.
    """

    def __init__(self, url: str, authority: Path) -> None:
        self.url = url
        self._authority = authority
        session = requests.Session()
        # Neither a proxy nor a certificate bundle from the environment.
        session.trust_env = False
        session.verify = str(authority)
        self._client, self._looking = (
            hvac.Client(
                url=url,
                token="",
                verify=str(authority),
                timeout=(CONNECT_SECONDS, seconds),
                session=session,
            )
            for seconds in (ANSWER_SECONDS, LOOK_SECONDS)
        )

    def member(self) -> Member:
        """How it stands; never raises for Vault's own fault.

        On a site that was never up there is nothing yet by which it could be trusted.
        """
        if not self._authority.exists():
            return Member(error="not asked yet")
        try:
            with self._asking():
                seal = self._looking.sys.read_seal_status()
                if not seal["initialized"] or seal["sealed"]:
                    return _member(seal, active=False)
                leader = self._looking.sys.read_leader_status()
                return _member(seal, active=bool(leader["is_self"]))
        except OperatorError as error:
            return Member(error=error.found or error.what)

    def initialise(
        self, shares: int, threshold: int, pgp_keys: Sequence[str], *, recovery: bool = False
    ) -> Mapping[str, Any]:
        """Initialise it: ``shares``, of its unsealing or its recovery key, and ``root_token``."""
        keys = list(pgp_keys) or None
        with self._asking():
            if recovery:
                told = self._client.sys.initialize(
                    recovery_shares=shares, recovery_threshold=threshold, recovery_pgp_keys=keys
                )
                return {"shares": told["recovery_keys_base64"], "root_token": told["root_token"]}
            told = self._client.sys.initialize(shares, threshold, pgp_keys=keys)
            return {"shares": told["keys_base64"], "root_token": told["root_token"]}

    def join(self, leader: str, authority: str) -> None:
        """Become a member of the Vault at ``leader``."""
        with self._asking():
            self._client.sys.join_raft_cluster(leader_api_addr=leader, leader_ca_cert=authority)

    def unseal(self, share: str) -> Member:
        """Give one share."""
        with self._asking():
            return _member(self._client.sys.submit_unseal_key(share), active=False)

    def forget_shares(self) -> None:
        """Have it forget the shares that it was given and that do not unseal it yet."""
        with self._asking():
            self._client.sys.submit_unseal_key(reset=True)

    @property
    def token(self) -> str:
        """The token in use."""
        return str(self._client.token)

    def use(self, token: str) -> None:
        """Use ``token`` from now on."""
        self._client.token = token

    def login(self, user: str, password: str) -> str:
        """Log in by userpass, use the token from now on, and return it."""
        with self._asking():
            self._client.auth.userpass.login(user, password)
        return str(self._client.token)

    def token_holds(self) -> bool:
        """Whether the token in use is one that Vault knows."""
        with self._asking():
            return bool(self._client.is_authenticated())

    def revoke(self) -> None:
        """Revoke the token in use."""
        with self._asking():
            self._client.auth.token.revoke_self()
        self._client.token = ""

    def configuration(self, wanted: Configuration) -> Configuration:
        """What Vault holds of the names in ``wanted``."""
        with self._asking():
            sys = self._client.sys
            found = {
                "audit": _by_path(sys.list_enabled_audit_devices()),
                "secrets": _by_path(sys.list_mounted_secrets_engines()),
                "auth": _by_path(sys.list_auth_methods()),
            }
        listed: dict[str, Mapping[str, Any]] = {
            part: {name: found[part][name] for name in wanted.get(part, {}) if name in found[part]}
            for part in found
        }
        listed["policies"] = dict(self._present(wanted.get("policies", {}), self._policy))
        listed["users"] = dict(self._present(wanted.get("users", {}), self._user))
        listed["plugins"] = dict(self._present(wanted.get("plugins", {}), self._plugin))
        listed["authorities"] = dict(self._present(wanted.get("authorities", {}), self._issuers))
        listed["paths"] = dict(self._present(wanted.get("paths", {}), self._told))
        listed["secret_ids"] = dict(self._present(wanted.get("secret_ids", {}), self._secret_ids))
        return listed

    def configure(self, part: str, name: str, value: Any, *, password: str = "") -> None:
        """Make one thing of a configuration so."""
        sys = self._client.sys
        with self._asking():
            match part:
                case "audit":
                    sys.enable_audit_device(value["type"], options=value["options"], path=name)
                case "secrets":
                    sys.enable_secrets_engine(value["type"], name, options=value.get("options"))
                case "auth":
                    sys.enable_auth_method(value["type"], path=name)
                case "policies":
                    sys.create_or_update_acl_policy(name, value)
                case "users":
                    body = {**value, **({"password": password} if password else {})}
                    self._client.write_data(f"auth/userpass/users/{name}", data=body)
                case "plugins":
                    self.write(f"{PLUGINS}/{name}", value)
                    # One of another digest runs, or waits in vain, until it is loaded anew.
                    plugin = {"plugin": name.rpartition("/")[2], "scope": "global"}
                    self.write("sys/plugins/reload/backend", plugin)
                case "authorities":
                    made = {**value, **AUTHORITY_KEY, "ttl": AUTHORITY_TTL}
                    self._client.write_data(f"{name}/root/generate/internal", data=made)
                case "secret_ids":
                    path = f"auth/approle/role/{name}/custom-secret-id"
                    self._client.write_data(path, data={"secret_id": password})
                case "paths":
                    self.write(name, value)

    def read(self, path: str) -> Mapping[str, Any] | None:
        """What Vault tells at a path, or None where nothing is."""
        with self._asking(), suppress(InvalidPath):
            return _data(self._client.read(path))
        return None

    def names(self, path: str) -> Sequence[str]:
        """Names of what is below a path."""
        with self._asking(), suppress(InvalidPath):
            return list(_data(self._client.list(path))["keys"])
        return []

    def write(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write to a path; what Vault answers to it."""
        with self._asking():
            answer = self._client.write_data(path, data=body)
            # Without content the answer is one of requests'.
            return (answer.get("data") or {}) if isinstance(answer, Mapping) else {}

    def authenticate(
        self, path: str, body: Mapping[str, Any], *, token: str | None = None
    ) -> Mapping[str, Any]:
        """Write to a path that answers with a token; what Vault says of it.

        ``token`` is used for this request instead of the one in use.
        """
        own = self._client.token
        if token is not None:
            self._client.token = token
        try:
            with self._asking():
                told: Mapping[str, Any] = self._client.write_data(path, data=body)["auth"]
                return told
        finally:
            self._client.token = own

    def delete(self, path: str) -> None:
        """Delete what is at a path, if anything."""
        with self._asking(), suppress(InvalidPath):
            self._client.delete(path)

    def disable_auth(self, name: str) -> None:
        """Take an auth method out, with its roles and the tokens that it gave."""
        with self._asking():
            self._client.sys.disable_auth_method(name)

    def secret(self, path: str) -> Mapping[str, Any] | None:
        """The fields of a secret of an engine of kind KV version 2, or None where there is none."""
        return self.versioned_secret(path)[1]

    def versioned_secret(self, path: str) -> tuple[int, Mapping[str, Any] | None]:
        """The number of a secret's newest version, and its fields; 0 and None where there is none.

        A version that was deleted has a number, and no fields.
        """
        mount, _, name = path.partition("/")
        with self._asking():
            try:
                answer = self._client.secrets.kv.v2.read_secret_version(
                    name, mount_point=mount, raise_on_deleted_version=False
                )
            except InvalidPath as error:
                # One that was destroyed is not found, and told of nevertheless.
                answer = error.json
        told = (answer or {}).get("data") or {"metadata": {"version": 0}}
        return told["metadata"]["version"], told.get("data")

    def keep_secret(self, path: str, fields: Mapping[str, Any], after: int | None = None) -> bool:
        """Write a new version of a secret, with these fields alone.

        Parameters
        ----------
        after
            Number of the version that is the newest; without it whatever there is.

        Returns
        -------
        bool
            False where that is not the newest any more, and nothing was written.
        """
        mount, _, name = path.partition("/")
        with self._asking():
            try:
                self._client.secrets.kv.v2.create_or_update_secret(
                    name, secret=dict(fields), cas=after, mount_point=mount
                )
            except InvalidRequest as error:
                if not any(OVERTAKEN in str(said) for said in error.errors or ()):
                    raise
                return False
        return True

    def voters(self) -> Mapping[str, bool]:
        """Whether each member votes, by its machine's name."""
        with self._asking():
            servers = self._client.sys.read_raft_config()["data"]["config"]["servers"]
        return {item["node_id"]: bool(item["voter"]) for item in servers}

    def snapshot(self) -> bytes:
        """A snapshot of everything."""
        with self._asking():
            return bytes(self._client.sys.take_raft_snapshot().content)

    def restore(self, snapshot: bytes, *, force: bool) -> None:
        """Put a snapshot back."""
        with self._asking():
            if force:
                self._client.sys.force_restore_raft_snapshot(snapshot)
            else:
                self._client.sys.restore_raft_snapshot(snapshot)

    def _present(
        self, names: Mapping[str, Any], read: Callable[[str], Any]
    ) -> Iterator[tuple[str, Any]]:
        for name in names:
            with self._asking():
                try:
                    yield name, read(name)
                except InvalidPath:
                    continue

    def _policy(self, name: str) -> str:
        return str(self._client.sys.read_acl_policy(name)["data"]["policy"])

    def _user(self, name: str) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self._client.auth.userpass.read_user(name)["data"]
        return data

    def _plugin(self, name: str) -> Mapping[str, Any]:
        return self._told(f"{PLUGINS}/{name}")

    def _told(self, path: str) -> Mapping[str, Any]:
        return _data(self._client.read(path))

    def _issuers(self, mount: str) -> Mapping[str, Any]:
        return _data(self._client.list(f"{mount}/issuers"))

    def _secret_ids(self, role: str) -> Mapping[str, Any]:
        # Of a role that is not there Vault refuses to tell any, in other words than of a path.
        self._told(f"auth/approle/role/{role}")
        return _data(self._client.list(f"auth/approle/role/{role}/secret-id"))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except VaultError as error:
            # The text of an error holds Vault's words and the address, never what was sent.
            said = "; ".join(map(str, error.errors or [])) or type(error).__name__
            fix = "provision vault status"
            if isinstance(error, FAILURES):
                what = "Vault cannot do what it is asked"
                raise VaultFailureError(what, where=self.url, found=said, fix=fix) from error
            raise VaultRefusalError("Vault refuses", where=self.url, found=said, fix=fix) from error
        except requests.RequestException as error:
            raise UnreachableError(
                "Vault does not answer",
                where=self.url,
                found=_reason(error),
                fix="provision vault status",
            ) from error


class VaultReader:
    """Reads the site's Vault as a whole.

    Parameters
    ----------
    secrets
        The site's secret store: the authority, the keys and the project's own password.
    """

    def __init__(self, secrets: Any) -> None:
        self.secrets = secrets
        self.sink = KeySink(secrets)

    def member(self, url: str) -> Vault:
        """One member, to speak to."""
        return vault_at(url, self.secrets.path)

    def read(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """How Vault stands, as plain data; never raises for Vault's own fault.

        ``members`` by machine; ``keys``: ``none``, ``attempt``, ``usable`` or
        ``encrypted``; whether the ``root_token`` is still
        kept; ``transit``: the ``digest`` of where another Vault keeps the key,
        or ``error``; ``found``: the configuration, or None with ``error`` why not.
        """
        urls: Mapping[str, str] = arguments["members"]
        apis = {name: self.member(url) for name, url in urls.items()}
        members = settled(apis)
        keys = self.sink.read()
        told: dict[str, Any] = {
            "members": {name: member.as_dict() for name, member in members.items()},
            "keys": _kind(keys),
            "attempt": "" if keys is None else keys.attempt,
            "root_token": bool(keys and keys.root_token),
            "transit": self._transit(arguments.get("transit", {})),
            "found": None,
            "error": "",
        }
        serving = [name for name, member in members.items() if member.serves]
        active = [name for name in serving if members[name].active]
        # A Vault whose keys were never told has no user either.
        if active and not told["root_token"] and told["keys"] != "attempt":
            try:
                api = self.log_in(apis[active[0]])
                wanted = arguments["configuration"]
                told["found"] = without_texts(api.configuration(wanted), wanted, self.secrets.read)
            except OperatorError as error:
                told["error"] = error.found or error.what
        return told

    def _transit(self, arguments: Mapping[str, Any]) -> Mapping[str, str]:
        if not arguments:
            return {}
        try:
            return {"digest": digest(arguments, token_of(arguments, self.secrets))}
        except OperatorError as error:
            return {"error": f"{error.where}: {error.found or error.what}"}

    def keys_kind(self) -> str:
        """What is kept of the keys: ``none``, ``attempt``, ``usable`` or ``encrypted``."""
        return _kind(self.sink.read())

    def active(self, urls: Iterable[str]) -> Vault:
        """The active one of the members at ``urls``, with a token of this project's own user.

        Raises
        ------
        VaultRefusalError
            None is active, or this project's own user is refused.
        """
        for url in urls:
            api = self.member(url)
            if api.member().active:
                return self.log_in(api)
        raise VaultRefusalError("no member of Vault is active", fix="provision vault status")

    def log_in(self, api: Vault) -> Vault:
        """``api`` with a token of this project's own user, which ends by itself soon."""
        api.login(OWN_USER, self.secrets.read(password_of(OWN_USER)).decode())
        return api

    def conditions(self) -> Mapping[str, Condition]:
        """What can be waited for: ``Vault answers`` and ``Vault serves`` (``members``).

        It is not waited for where all members lost their data.
        """
        return {
            "Vault answers": partial(judged, self._silent),
            "Vault serves": partial(judged, self._not_serving),
        }

    def _silent(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        apis = {name: self.member(url) for name, url in arguments["members"].items()}
        for name, member in _members(apis).items():
            if not member.answers:
                yield f"{name}: {member.error}"

    def _not_serving(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        apis = {name: self.member(url) for name, url in arguments["members"].items()}
        members = _members(apis)
        if self._is_lost(members):
            return
        for name, member in members.items():
            if not member.serves:
                yield f"{name} {member.error or 'is sealed'}"
        active = [name for name, member in members.items() if member.active]
        if not active:
            yield "no member is active"
            return
        voters = self.log_in(apis[active[0]]).voters()
        yield from (f"{name} has no vote yet" for name in apis if not voters.get(name))

    def _is_lost(self, members: Mapping[str, Member]) -> bool:
        """Whether all members lost what they held: people bring it back, no waiting does."""
        keys = self.sink.read()
        empty = all(member.answers and not member.initialized for member in members.values())
        return empty and keys is not None and keys.told


def vault_at(url: str, secrets: Path) -> Vault:
    """The member at ``url``, trusted by the authority in the store at ``secrets``."""
    return Vault(url, secrets / AUTHORITY)


def settled(apis: Mapping[str, VaultApi], seconds: float = ELECTION_SECONDS) -> dict[str, Member]:
    """How each member stands, once one leads where enough of them serve to choose.

    What can be chosen is waited for, for at most so many ``seconds``.
    """
    began = monotonic()
    while True:
        members = _members(apis)
        serving = [member for member in members.values() if member.serves]
        choosing = len(serving) > len(apis) // 2 and not any(member.active for member in serving)
        if not choosing or monotonic() - began > seconds:
            return members
        sleep(0.5)


def _members(apis: Mapping[str, VaultApi]) -> dict[str, Member]:
    with ThreadPoolExecutor(max_workers=max(len(apis), 1)) as pool:
        asked = {name: pool.submit(api.member) for name, api in apis.items()}
        return {name: answer.result() for name, answer in asked.items()}


def _member(seal: Mapping[str, Any], *, active: bool) -> Member:
    return Member(
        initialized=bool(seal["initialized"]),
        sealed=bool(seal["sealed"]),
        active=active,
        version=str(seal.get("version", "")),
        progress=int(seal.get("progress", 0)),
        threshold=int(seal.get("t", 0)),
        seal=str(seal.get("type", "")),
    )


def _kind(keys: Keys | None) -> str:
    return "none" if keys is None else keys.kind


def _data(answer: Any) -> Mapping[str, Any]:
    """What Vault told; it tells nothing of what is not there."""
    if answer is None:
        raise InvalidPath
    data: Mapping[str, Any] = answer["data"]
    return data


def _by_path(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {path.rstrip("/"): value for path, value in answer["data"].items()}


def _reason(error: requests.RequestException) -> str:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return str(reason or error).rpartition(": ")[2] or type(error).__name__
