"""Action plugin ``kubeadm``: hands the module the credential that its step needs.

The credential is composed here from the site's secrets, and travels over the
connection's standard input, never as an argument of a process.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from provision.errors import OperatorError
from provision.secrets import SecretStore

CREDENTIALS = {
    "join": "kubernetes/join",
    "rejoin": "kubernetes/join",
    "keep": "kubernetes/join",
    "leave": "kubernetes/admin",
}
"""Certificate of the site's secrets by step."""

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: site
clusters:
  - name: site
    cluster: {{server: "https://{endpoint}", certificate-authority-data: {ca}}}
users:
  - name: machine
    user: {{client-certificate-data: {certificate}, client-key-data: {key}}}
contexts:
  - name: site
    context: {{cluster: site, user: machine}}
"""


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is published without types
    """Runs the module ``kubeadm`` with a credential."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ansible's entry point for the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        name = _credential(arguments)
        if name is not None and not self._task.check_mode:
            if not self._is_pipelining_enabled("new"):
                raise AnsibleActionFail(
                    "a credential would be written into a temporary file on the machine, since"
                    " pipelining is off; set ANSIBLE_PIPELINING=True and unset"
                    " ANSIBLE_KEEP_REMOTE_FILES"
                )
            path = self._templar.template(variables.get("provision_secrets_path"))
            try:
                arguments["credential"] = kubeconfig(Path(path), name, arguments)
            except OperatorError as error:
                raise AnsibleActionFail(str(error)) from None
        result.update(
            self._execute_module(module_name="kubeadm", module_args=arguments, task_vars=variables)
        )
        result.pop("invocation", None)
        return result


def _credential(arguments: Mapping[str, Any]) -> str | None:
    step = arguments.get("step", "")
    if step == "leave" and not arguments.get("peers"):
        # Nobody stays who would have to be told, and the secrets may be lost.
        return None
    return CREDENTIALS.get(step)


def kubeconfig(store: Path, name: str, arguments: Mapping[str, Any]) -> str:
    """A kubeconfig with the certificate ``name`` of the site's secrets.

    Raises
    ------
    SecretsError
        A part of it is missing.
    """
    secrets = SecretStore(store)
    return KUBECONFIG.format(
        endpoint=arguments["endpoint"],
        ca=_encoded(secrets.read("kubernetes/ca.crt")),
        certificate=_encoded(secrets.read(f"{name}.crt")),
        key=_encoded(secrets.read(f"{name}.key")),
    )


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
