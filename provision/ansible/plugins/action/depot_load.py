"""Action plugin ``depot_load``: brings a depot's content onto a machine, and only what is missing.

What differs is judged on the controller by the same function that the plan
uses. Blobs travel as they are over the standard input of a process on the
machine: nothing is packed into a temporary file on either side, and sudo with
a password and bastions work as for any task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from provision.ansible.sending import send
from provision.ansible.sources import Sources
from provision.depot_content import ContentDifferences, content_differences, content_query
from provision.depot_tree import DepotTree
from provision.errors import DiskFullError, OperatorError
from provision.facts import Query

if TYPE_CHECKING:
    from provision.phase import BundleView

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "verified"], "default": "present"},
}
RESERVE = 64 * 2**20
"""Bytes that must stay free on the machine's disk."""


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is published without types
    """Keeps, verifies or removes the content of a depot."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ansible's entry point for the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        self._folder: str = arguments["path"].rstrip("/")
        try:
            match arguments["state"]:
                case "present":
                    result.update(self._load(self._bundle()))
                case "verified":
                    result.update(self._verify(DepotTree.of(self._bundle())))
                case _:
                    result.update(self._remove())
        except OperatorError as error:
            raise AnsibleActionFail(str(error)) from None
        return result

    def _load(self, bundle: BundleView) -> dict[str, Any]:
        tree = DepotTree.of(bundle)
        answer = self._call({"read": content_query(tree, self._folder).as_dict()})
        found = content_differences(tree, self._folder, answer["observed"])
        result = self._result(found, tree)
        if not found or self._task.check_mode:
            return result
        wanted = {sha256: tree.blobs[sha256] for sha256 in found.wanted_blobs}
        self._require_room(wanted, answer)
        execute = self._low_level_execute_command
        result["sent"] = send(
            execute, self._folder, wanted, answer["partial"], bundle.blob, noted=True
        )
        content = {"blobs": dict(tree.blobs), "links": dict(tree.links), "stamp": tree.bundle}
        self._call({"complete": content})
        return result

    def _result(self, found: ContentDifferences, tree: DepotTree) -> dict[str, Any]:
        listed = found.listed(tree, self._folder)
        result: dict[str, Any] = {
            "changed": bool(found),
            "changes": [
                {"kind": one.kind, "name": one.name, "found": one.found, "wanted": one.wanted}
                for one in listed
            ],
        }
        if self._task.diff:
            result["diff"] = [{"prepared": "".join(f"{difference}\n" for difference in listed)}]
        return result

    def _require_room(self, wanted: Mapping[str, int], answer: Mapping[str, Any]) -> None:
        arrived = sum(answer["partial"].get(sha256, 0) for sha256 in wanted)
        needed = sum(wanted.values()) - arrived + RESERVE
        if answer["free"] < needed:
            raise DiskFullError(
                "there is no room for the bundle in this machine's depot",
                where=f"{self._host}:{self._folder}",
                found=f"{answer['free'] >> 20} MiB free",
                wanted=f"{needed >> 20} MiB free",
                why="nothing was written",
                fix=f"free some space on {self._host}, or mount a larger disk at {self._folder};"
                " then: provision up",
            )

    def _verify(self, tree: DepotTree) -> dict[str, Any]:
        answer = self._call({"read": content_query(tree, self._folder).as_dict()})
        result = self._result(content_differences(tree, self._folder, answer["observed"]), tree)
        forget = not self._task.check_mode
        damaged = self._call({"verify": {"blobs": dict(tree.blobs), "forget": forget}})["damaged"]
        if not damaged and not result["changed"]:
            return {"changed": False, "changes": []}
        lines = [f"blob sha256:{sha256} is {found}" for sha256, found in damaged.items()]
        lines += [
            f"{item['kind']} {item['name']} is {item['found']}, wanted {item['wanted']}"
            for item in result["changes"]
            if item["kind"] != "blob"
        ]
        return {
            "failed": True,
            "changed": False,
            "changes": result["changes"],
            "msg": f"the depot on {self._host} does not hold what the bundle has; repair it"
            " with: provision up\n" + "\n".join(lines),
        }

    def _remove(self) -> dict[str, Any]:
        pattern = f"{self._folder}/*"
        query = Query(globs=frozenset({pattern})).as_dict()
        there = self._call({"read": query})["observed"]["globs"][pattern]
        if there and not self._task.check_mode:
            self._call({"remove": True})
        changes = [
            {"kind": "depot", "name": path, "found": "present", "wanted": "absent"}
            for path in there
        ]
        return {"changed": bool(there), "changes": changes}

    @property
    def _host(self) -> str:
        return str(self._variables["inventory_hostname"])

    def _bundle(self) -> BundleView:
        named = {
            name: self._plain(name) for name in self._variables if name.startswith("provision_")
        }
        return Sources(named, self._host).bundle

    def _plain(self, name: str) -> Any:
        """The variable's value as plain data, without what Ansible notes about its origin."""
        return json.loads(json.dumps(self._templar.template(self._variables[name])))

    def _call(self, order: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="depot_load",
            module_args={"path": self._folder, "order": json.dumps(order)},
            task_vars=self._variables,
        )
        if answer.get("failed"):
            raise AnsibleActionFail(
                f"{self._host}: {answer.get('msg', 'the module failed without a message')}",
                result={key: answer[key] for key in ("module_stderr", "rc") if key in answer},
            )
        return answer
