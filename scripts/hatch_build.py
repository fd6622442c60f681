"""Puts the roles and playbooks inside the wheel, as data of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LEFT_OUT = {"__pycache__", "molecule"}
"""Parts of a role that only its development needs."""


class DataHook(BuildHookInterface):  # type: ignore[type-arg]
    """Maps `roles/` and `playbooks/` into the package, in a wheel that is to be handed on.

    An editable installation is left alone: there the package finds the folders in the checkout,
    and a copy would grow stale.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders to what the wheel holds; `version` is `standard` or `editable`."""
        if version != "standard":
            return
        build_data["force_include"]["playbooks"] = "provision/playbooks"
        root = Path(self.root)
        for part in sorted(root.glob("roles/*/*")):
            if part.name not in LEFT_OUT:
                inside = part.relative_to(root).as_posix()
                build_data["force_include"][inside] = f"provision/{inside}"
