"""Puts the roles and playbooks inside the wheel, as data of the package."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DataHook(BuildHookInterface):  # type: ignore[type-arg]
    """Maps `roles/` and `playbooks/` into the package, in a wheel that is to be handed on.

    An editable installation is left alone: there the package finds the folders in the checkout,
    and a copy would grow stale.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders to what the wheel holds; `version` is `standard` or `editable`."""
        if version == "standard":
            build_data["force_include"] |= {
                "playbooks": "provision/playbooks",
                "roles": "provision/roles",
            }
