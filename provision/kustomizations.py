"""Render kustomizations on the controller, by the bundle's own kustomize and without a network."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from provision.phase import BundleView
from provision.rendering import SECONDS, Work, executable, printed

PROGRAM = "kustomize"
FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""Names, one of which makes a folder a kustomization."""
NOWHERE = "http://127.0.0.1:1"
"""A proxy that nobody runs, so that nothing is fetched (RFC 6335: port 1 is tcpmux)."""
FETCHING = ("proxyconnect tcp", "no 'git' program on path")
"""What kustomize says of parts that are not in the folder and would have to be fetched."""


class Kustomizer:
    """Renders kustomizations by one bundle's kustomize.

    Parameters
    ----------
    bundle
        Where ``kustomize`` comes from.
    architecture
        The controller's own, in Debian's words.
    cache
        Folder for an executable copy.
    seconds
        Time that it has for one kustomization.
    """

    def __init__(
        self, bundle: BundleView, architecture: str, cache: Path, seconds: float = SECONDS
    ) -> None:
        self.bundle = bundle
        self.architecture = architecture
        self.cache = cache / "charts"
        self.seconds = seconds

    @cached_property
    def program(self) -> Path:
        """The executable, which is kept, since all of it is read to see that it is whole.

        Raises
        ------
        BundleError
            The bundle has no kustomize that runs here, or a damaged one.
        """
        return executable(self.bundle, PROGRAM, self.architecture, self.cache)

    def build(self, folder: Path) -> str:
        """What a kustomization in a folder makes: a stream of YAML.

        As in Argo CD, neither plugins nor charts are run for it, and no file is read that is not
        in or below it or the kustomizations that it names.

        Raises
        ------
        ConfigError
            It does not render, or takes something that would have to be fetched; ``found`` has
            kustomize's own words.
        """
        work = Work(
            subject=f"the kustomization {folder.name}",
            refused="cannot be built",
            where=str(folder),
            fix="correct it there, then: provision check",
        )
        # Without a search path there is no git.
        environment = {"PATH": "", "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE}
        command = [str(self.program), "build", "--", str(folder)]
        return printed(command, work, environment=environment, seconds=self.seconds)
