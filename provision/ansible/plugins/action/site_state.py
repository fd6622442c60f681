"""Action plugin ``site_state``: renders a role's ``state.yml`` and makes a machine so.

On the controller it resolves the list for the machine, reads the machine by
the same reader that ``provision plan`` uses, and compares by the same function
that the plan uses. Only where something differs does the module get work, and
only then do contents travel: over the connection's standard input, never as an
argument of a process, a file, or a line in a log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from jinja2 import TemplateError

from provision.ansible.sending import send
from provision.ansible.sources import Sources
from provision.ansible.work import (
    OS_RELEASE,
    PACKAGES,
    apply_work,
    changes,
    diff,
    state_query,
    withdrawal,
)
from provision.errors import OperatorError
from provision.state import DesiredState, desired_state

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent", "verified"], "default": "present"},
    "purge": {"type": "bool", "default": False},
    "role_path": {"type": "path"},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is published without types
    """Keeps, verifies or removes what a role's ``state.yml`` lists."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ansible's entry point for the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        role = Path(arguments["role_path"] or self._template(variables, "role_path") or "")
        if not (role / "state.yml").is_file():
            raise AnsibleActionFail(f"{role} is not the folder of a role with a state.yml")
        try:
            result.update(self._handle(role, arguments, variables))
        except (OperatorError, TemplateError, ValueError) as error:
            raise AnsibleActionFail(f"{role.name}: {error}") from None
        return result

    def _handle(
        self, role: Path, arguments: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        sources = Sources(
            {
                name: self._template(variables, name)
                for name in variables
                if name.startswith("provision_")
            },
            variables["inventory_hostname"],
        )
        named = self._role_variables(role.name, variables)
        # What is taken off is remembered until its data is gone too, which comes after this.
        if arguments["state"] != "absent":
            named["provision_components"] = self._template(variables, "provision_components") or {}
        desired = desired_state(role, named, sources)
        observed = self._observe(desired, variables)
        if arguments["state"] == "verified":
            return _verdict(role.name, changes(desired, observed))
        if arguments["state"] == "absent":
            work, listed = withdrawal(role.name, desired, observed, purge=arguments["purge"])
        else:
            listed = changes(desired, observed)
            work = apply_work(role.name, desired, observed, sources.contents) if listed else {}
            work["from_bundle"] = bool(work.get("packages")) and sources.has_packages
        result: dict[str, Any] = {"changed": bool(listed), "changes": listed}
        if self._task.diff:
            result["diff"] = diff(desired, observed, listed)
        if listed and not self._task.check_mode:
            self._require_pipelining(work)
            if work.get("from_bundle"):
                self._bring_packages(work, sources, observed, variables)
            done = self._call({"state": arguments["state"], "order": json.dumps(work)}, variables)
            result["restarted"] = done.get("restarted", [])
        return result

    def _observe(self, desired: DesiredState, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        query = state_query(desired, texts=self._task.diff)
        order = json.dumps({"query": query.as_dict()})
        observed: Mapping[str, Any] = self._call({"order": order}, variables)["observed"]
        return observed

    def _bring_packages(
        self,
        work: Mapping[str, Any],
        sources: Sources,
        observed: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> None:
        """Send the packages of the bundle that the machine needs and that no depot gives it."""
        offer = {
            "index": sources.package_index(observed["texts"][OS_RELEASE] or ""),
            "names": work["packages"],
            "depots": sources.depot_urls(""),
        }
        order = json.dumps({"role": work["role"], "offer": offer})
        answer = self._call({"order": order}, variables)
        blob = sources.bundle.blob
        needed = {sha256: blob(sha256).stat().st_size for sha256 in answer["needed"]}
        folder = f"{PACKAGES}/{work['role']}"
        send(self._low_level_execute_command, folder, needed, answer["arrived"], blob)

    def _call(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="site_state", module_args=arguments, task_vars=variables
        )
        if answer.get("failed"):
            # Without the answer's "invocation", and whatever else there is to be careful with.
            raise AnsibleActionFail(
                str(answer.get("msg", "the module failed without a message")),
                result={key: answer[key] for key in ("module_stderr", "rc") if key in answer},
            )
        return answer

    def _require_pipelining(self, work: Mapping[str, Any]) -> None:
        if work["has_secret"] and not self._is_pipelining_enabled("new"):
            raise AnsibleActionFail(
                "a secret would be written into a temporary file on the machine, since pipelining"
                " is off; set ANSIBLE_PIPELINING=True and unset ANSIBLE_KEEP_REMOTE_FILES"
            )

    def _role_variables(self, role: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        named = {
            name: self._template(variables, name)
            for name in variables
            if name.startswith((f"{role}_", f"__{role}_"))
        }
        return {**named, "inventory_hostname": str(variables["inventory_hostname"])}

    def _template(self, variables: Mapping[str, Any], name: str) -> Any:
        """The variable's value as plain data, without what Ansible notes about its origin."""
        value = self._templar.template(variables.get(name))
        return json.loads(json.dumps(value))


def _verdict(role: str, listed: list[dict[str, str]]) -> dict[str, Any]:
    if not listed:
        return {"changed": False, "changes": []}
    lines = [
        f"{item['kind']} {item['name']} is {item['found']}, wanted {item['wanted']}"
        for item in listed
    ]
    return {
        "failed": True,
        "changed": False,
        "changes": listed,
        "msg": f"{role}: the machine is not as it should be:\n" + "\n".join(lines),
    }
