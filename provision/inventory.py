"""Ansible's inventory of a site: connection, paths and every role's variables by machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.phase import Context, Phase


@dataclass(frozen=True)
class ControllerPaths:
    """Where action plugins find, on the controller, what they send to machines."""

    bundle: Path
    trusted_keys: Sequence[Path]
    secrets: Path


def group_of(component: str) -> str:
    """Ansible's group of the machines that a component works on, which its playbook plays on.

    Not the bare name, which a machine may have.
    """
    return f"component_{component}"


def groups(context: Context, phases: Sequence[Phase]) -> dict[str, list[str]]:
    """Machines by group; a component that the site does not have has no group."""
    return {group_of(phase.name): list(phase.hosts(context)) for phase in phases}


def machine_variables(
    context: Context,
    phases: Sequence[Phase],
    host: str,
    connection: Mapping[str, Any],
    paths: ControllerPaths,
) -> dict[str, Any]:
    """Everything Ansible knows of one machine for the roles of all ``phases``."""
    variables: dict[str, Any] = {
        **connection,
        "provision_bundle_path": str(paths.bundle),
        "provision_bundle_trusted_keys": [str(key) for key in paths.trusted_keys],
        "provision_secrets_path": str(paths.secrets),
        "provision_os_packages": context.site.os_packages.value,
        "provision_architecture": context.site.hosts[host].architecture.value,
    }
    components: dict[str, Any] = {}
    for phase in phases:
        components.update(phase.remembered(context.site))
        variables.update(phase.common_variables(context))
        if host in phase.hosts(context):
            variables.update(phase.variables(context, host))
    return {**variables, "provision_components": components}
