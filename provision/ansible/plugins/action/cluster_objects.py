"""Action plugin ``cluster_objects``: fills secrets into objects and hands them to the module.

The values are read here, at the last moment, and travel over the connection's
standard input, never as an argument of a process, a file, or a line in a log.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from provision.adapters.keptsecrets import kept_secrets
from provision.errors import OperatorError
from provision.objectsecrets import has_secrets, with_secrets
from provision.secrets import SecretStore

ARGUMENTS = {
    "objects": {"type": "list", "elements": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}

IDENTITY = ("apiVersion", "kind", "metadata")
"""All that is needed of an object to delete it."""


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is published without types
    """Keeps objects in the cluster, or takes them out."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ansible's entry point for the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        # Plain data, without what Ansible notes about its origin.
        objects = json.loads(json.dumps(arguments["objects"]))
        if not objects:
            return {**result, "changed": False}
        if arguments["state"] == "absent":
            objects = [{name: item[name] for name in IDENTITY} for item in objects]
        elif any(map(has_secrets, objects)):
            objects = self._filled(objects, variables)
        answer = self._execute_module(
            module_name="cluster_objects",
            module_args={"state": arguments["state"], "order": json.dumps(objects)},
            task_vars=variables,
        )
        if answer.get("failed"):
            raise AnsibleActionFail(
                str(answer.get("msg", "the module failed without a message")),
                result={key: answer[key] for key in ("module_stderr", "rc") if key in answer},
            )
        return {**result, "changed": bool(answer.get("changed"))}

    def _filled(self, objects: list[Any], variables: dict[str, Any]) -> list[Any]:
        if not self._is_pipelining_enabled("new"):
            raise AnsibleActionFail(
                "a secret would be written into a temporary file on the machine, since pipelining"
                " is off; set ANSIBLE_PIPELINING=True and unset ANSIBLE_KEEP_REMOTE_FILES"
            )
        path = self._templar.template(variables.get("provision_secrets_path"))
        try:
            store = SecretStore(Path(path))
            return [with_secrets(item, store, kept_secrets(store)) for item in objects]
        except OperatorError as error:
            raise AnsibleActionFail(str(error)) from None
