"""Action plugin ``vault_secrets``: keeps secrets of the site in its Vault, from the controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from provision.adapters.vault import VaultReader
from provision.adapters.vaultsecrets import VaultSecrets
from provision.errors import OperatorError
from provision.secrets import SecretStore


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is published without types
    """Writes what is missing; values go from the site's secrets to Vault's API and nowhere else."""

    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ansible's entry point for the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = self._templar.template((task_vars or {})["provision_secrets_path"])
        # Plain data, without what Ansible notes about its origin.
        given = json.loads(json.dumps(self._task.args))
        if self._task.check_mode or not given["secrets"]:
            return {**result, "changed": False}
        try:
            written = VaultSecrets(VaultReader(SecretStore(Path(path)))).keep(given)
        except OperatorError as error:
            raise AnsibleActionFail(str(error)) from None
        changes = [f"secret {name} written" for name in written]
        return {**result, "changed": bool(written), "changes": changes}
