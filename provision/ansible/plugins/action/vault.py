"""Action plugin ``vault``: speaks to Vault from the controller, where the site's secrets are.

Keys and passwords go from the site's secrets to Vault's API, or over the
connection's standard input into a credential that only the machine can
decrypt. None is an argument of a process, a variable or a line of a log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from provision.adapters.vault import Vault, vault_at
from provision.errors import DeadlineError, OperatorError, VaultRefusalError
from provision.secrets import SecretStore
from provision.vault.configuration import with_texts
from provision.vault.keys import Keys, KeySink, new_attempt
from provision.vault.names import (
    OWN_USER,
    SNAPSHOT_CREDENTIAL,
    SNAPSHOT_USER,
    TRANSIT_CREDENTIAL,
    UNSEAL_CREDENTIAL,
    password_of,
    secret_id_of,
)
from provision.vault.pgp import public_key
from provision.vault.steps import (
    Sharing,
    answering,
    begin_anew,
    configure,
    despite_elections,
    initialise,
    joined_in_vain,
    refuse_strangers,
    unseal,
    wait_until_active,
    wait_until_serving,
    withdraw,
)
from provision.vault.transit import digest, token_of

TRANSIT_NAME = "transit-token"
"""The credential's name, by which Vault's configuration finds it."""
OWN_UNSEAL_SECONDS = 15
"""Vault looks every five seconds whether it can unseal itself."""


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is published without types
    """One step of bringing Vault up; each does only what is left to do."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ansible's entry point for the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        # Plain data, without what Ansible notes about its origin.
        self.given = json.loads(json.dumps(self._task.args))
        self.variables = variables
        path = self._templar.template(variables["provision_secrets_path"])
        self.store = SecretStore(Path(path))
        self.sink = KeySink(self.store)
        steps: dict[str, Callable[[], bool]] = {
            "seal": self._seal,
            "begin": self._begin,
            "ready": self._ready,
            "initialise": self._initialise,
            "unseal": self._unseal,
            "encrypt": self._encrypt,
            "configure": self._configure,
            "finish": self._finish,
            "withdraw": self._withdraw,
        }
        try:
            # What a check would find has not been started yet on a virgin machine.
            changed = not self._task.check_mode and steps[self.given["step"]]()
        except (OperatorError, ValueError) as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, "changed": changed}

    @property
    def api(self) -> Vault:
        """The member on the task's machine."""
        return vault_at(self.given["members"][self.machine], self.store.path)

    @property
    def machine(self) -> str:
        """The task's machine."""
        return str(self.variables["inventory_hostname"])

    def _seal(self) -> bool:
        where = dict(self.given["transit"])
        token = token_of(where, self.store)
        told = digest(where, token)
        del where["token"]
        return self._on_machine(
            work="seal",
            name=TRANSIT_NAME,
            path=TRANSIT_CREDENTIAL,
            content=token,
            key=where,
            digest=told,
            prove=not self.api.member().answers,
        )

    def _begin(self) -> bool:
        if self.sink.read() is not None:
            return False
        members = self.given["members"].values()
        found = [answering(vault_at(url, self.store.path)) for url in members]
        if any(member.initialized for member in found):
            return False
        self.sink.begin(new_attempt())
        return True

    def _ready(self) -> bool:
        keys = self.sink.read()
        if keys is None or keys.told:
            return False
        begun = begin_anew(keys, self.machine, answering(self.api))
        forgotten = self._on_machine(work="forget", path=UNSEAL_CREDENTIAL)
        if not begun:
            return self._on_machine(work="mark", attempt=keys.attempt) or forgotten
        self._on_machine(work="empty", attempt=keys.attempt)
        self.sink.note_asked("")
        return True

    def _initialise(self) -> bool:
        keys = self.sink.read()
        if keys is not None and keys.told:
            return False
        members = self.given["members"].items()
        refuse_strangers({name: vault_at(url, self.store.path) for name, url in members})
        pgp_keys = [public_key(Path(path)) for path in self.given["pgp_keys"]]
        sharing = Sharing(
            self.given["shares"],
            self.given["threshold"],
            pgp_keys,
            recovery=self.given["unseal"] == "transit",
        )
        return initialise(self.api, self.sink, sharing, self.machine)

    def _unseal(self) -> bool:
        keys = self.sink.read()
        if keys is not None and keys.recovery:
            return self._start_unsealed(keys)
        if keys is None or not keys.usable:
            return False
        by_hand = self.given["unseal"] == "manual" and not keys.root_token
        if by_hand and self.api.member().initialized:
            return False
        kept = self.given["unseal"] == "systemd-creds" and self._credential(
            "unseal", UNSEAL_CREDENTIAL, json.dumps(keys.shares[: keys.threshold]), "keep-keys"
        )
        return self._join_and_unseal(keys, keys.shares) or kept

    def _start_unsealed(self, keys: Keys) -> bool:
        """Vault unseals itself when it starts or joins, and at no other time."""
        member = self.api.member()
        if member.initialized and member.sealed:
            # It may be on its way; one that was sealed on purpose, or refused, is not.
            try:
                wait_until_serving(self.api, seconds=OWN_UNSEAL_SECONDS)
            except DeadlineError:
                self._on_machine(work="restart")
        return self._join_and_unseal(keys, ())

    def _join_and_unseal(self, keys: Keys, shares: Sequence[str]) -> bool:
        lead = self.given["members"][self.given["lead"]]
        authority = self.store.read("site-ca.crt").decode()
        if not answering(vault_at(lead, self.store.path)).initialized:
            # All lost their data; people bring it back, or begin anew.
            return False
        if lead == self.api.url:
            return unseal(self.api, shares)
        wait_until_serving(vault_at(lead, self.store.path))
        if not self.api.member().initialized:
            # Of those that are only sealed, most must be unsealed before one can be active.
            members = self.given["members"].values()
            wait_until_active([vault_at(url, self.store.path) for url in members])
        join = partial(unseal, self.api, shares, leader=lead, authority=authority)
        try:
            return join()
        except VaultRefusalError as refusal:
            if not joined_in_vain(refusal):
                raise
        self._on_machine(work="renew", attempt=keys.attempt)
        return join()

    def _encrypt(self) -> bool:
        password = self.store.read(password_of(SNAPSHOT_USER)).decode()
        return self._credential("snapshot", SNAPSHOT_CREDENTIAL, password)

    def _configure(self) -> bool:
        return self._despite_elections(self._configure_once)

    def _despite_elections(self, step: Callable[[], bool]) -> bool:
        members = [vault_at(url, self.store.path) for url in self.given["members"].values()]
        return despite_elections(step, partial(wait_until_active, members))

    def _configure_once(self) -> bool:
        api = self._serving()
        if api is None:
            return False
        wanted = with_texts(self.given["configuration"], self.store.read)
        places = {name: password_of(name) for name in (OWN_USER, *wanted.get("users", {}))}
        places |= {name: secret_id_of(name) for name in wanted.get("secret_ids", {})}
        passwords = {name: self.store.read(place).decode() for name, place in places.items()}
        return bool(configure(api, self.sink, wanted, passwords, OWN_USER))

    def _withdraw(self) -> bool:
        return self._despite_elections(self._withdraw_once)

    def _withdraw_once(self) -> bool:
        api = self._serving()
        if api is None:
            raise VaultRefusalError(
                "Vault serves nobody, and what it holds of this component stays there",
                fix="provision vault status",
            )
        api.login(OWN_USER, self.store.read(password_of(OWN_USER)).decode())
        return bool(withdraw(api, self.given["configuration"]))

    def _serving(self) -> Vault | None:
        """A member that serves, the active one where there is one."""
        members = [vault_at(url, self.store.path) for url in self.given["members"].values()]
        serving = {api: member for api in members if (member := api.member()).serves}
        return max(serving, key=lambda api: serving[api].active, default=None)

    def _finish(self) -> bool:
        keys = self.sink.read()
        return keys is not None and keys.told and self._on_machine(work="unmark")

    def _credential(self, name: str, path: str, content: str, work: str = "encrypt") -> bool:
        return self._on_machine(work=work, name=name, path=path, content=content)

    def _on_machine(self, **work: Any) -> bool:
        if "content" in work and not self._is_pipelining_enabled("new"):
            raise AnsibleActionFail(
                "a secret would be written into a temporary file on the machine, since pipelining"
                " is off; set ANSIBLE_PIPELINING=True and unset ANSIBLE_KEEP_REMOTE_FILES"
            )
        answer = self._execute_module(
            module_name="vault",
            module_args={"step": self.given["step"], **work},
            task_vars=self.variables,
        )
        if answer.get("failed"):
            # Without the answer's "invocation", and whatever else there is to be careful with.
            raise AnsibleActionFail(str(answer.get("msg", "the module failed without a message")))
        return bool(answer["changed"])
