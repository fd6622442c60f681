"""Render kustomizations on the controller, by the bundle's own kustomize and without a network."""

from __future__ import annotations

from pathlib import Path

from provision.rendering import BundledProgram, Work

PROGRAM = "kustomize"
FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""Names, one of which makes a folder a kustomization."""
NOWHERE = "http://127.0.0.1:1"
"""A proxy that nobody runs, so that nothing is fetched (RFC 6335: port 1 is tcpmux)."""
FETCHING = ("proxyconnect tcp", "no 'git' program on path")
"""What kustomize says of parts that are not in the folder and would have to be fetched."""


def build(kustomize: BundledProgram, folder: Path) -> str:
    """What a kustomization in a folder makes: a stream of YAML.

    As in Argo CD, neither plugins nor charts are run for it, and no file is read that is not
    in or below it or the kustomizations that it names.

    Raises
    ------
    ConfigError
        It does not render, or takes something that would have to be fetched; ``found`` has
        kustomize's own words.
    BundleError
        The bundle has no kustomize that runs here, or a damaged one.
    """
    work = Work(
        subject=f"the kustomization {folder.name}",
        refused="cannot be built",
        where=str(folder),
        fix="correct it there, then: provision check",
    )
    # Without a search path there is no git.
    environment = {"PATH": "", "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE}
    return kustomize.printed(["build", "--", str(folder)], work, environment=environment)
