"""A bundle of charts alone: those of the catalog's releases, out of their Go modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from provision.bundle.catalog import Architecture, GoBuild, Selected, Selection, SourceKind, catalog
from provision.bundle.gomodules import CHART, GoWorkshop
from provision.bundle.results import Result
from provision.phase import BundleView, StoredFile

COMPONENTS = ("cert-manager", "local-path-provisioner", "metallb", "metrics-server")
"""Those of the services that come with a chart."""
ADDED: Mapping[tuple[str, str], Mapping[str, str]] = {
    # Its definitions are templates of the chart, as they were not before.
    ("cert-manager", "1.21.2"): {CHART: f"deploy/charts/cert-manager/{CHART}"},
}
"""What the release process adds to a chart, where it is not what the component's build adds."""


@dataclass(frozen=True)
class ChartBundle:
    """What a source has for a Kubernetes version, as far as rendering charts needs it.

    Parameters
    ----------
    original
        A real bundle, which has helm.
    workshop
        Where charts are packed.
    kind
        The source whose versions and images these are.
    """

    original: BundleView
    workshop: GoWorkshop
    kind: SourceKind

    digest = "sha256:" + "d" * 64

    @cached_property
    def selection(self) -> Selection:
        """One release of every component."""
        architecture: Architecture = self.workshop.architecture
        return catalog().select(self.original.versions["kubernetes"], architecture, self.kind)

    @property
    def versions(self) -> Mapping[str, str]:
        return self.selection.versions

    @cached_property
    def images(self) -> Mapping[str, str]:
        references = [image.reference for one in self.selection.components for image in one.images]
        return dict.fromkeys(references, self.digest)

    def images_of(self, component: str) -> set[str]:
        """Names of the images of one component."""
        return {image.reference for image in self._component(component).images}

    def sha256(self, name: str, architecture: str) -> str:
        if name not in self._charts:
            return self.original.sha256(name, architecture)
        return self._charts[name]

    def path(self, name: str, architecture: str) -> Path:
        if name not in self._charts:
            return self.original.path(name, architecture)
        return self.workshop.store.path(self._charts[name])

    def blob(self, sha256: str) -> Path:
        raise FileNotFoundError(sha256)

    def depot_tree(self) -> Sequence[StoredFile]:
        return ()

    @cached_property
    def _charts(self) -> Mapping[str, str]:
        """SHA-256 by file."""
        return {
            file.name: self._pack(one).outputs[file.source.output].sha256
            for one in map(self._component, COMPONENTS)
            for file in one.files
            if file.kind == "chart" and file.source is not None
        }

    def _component(self, name: str) -> Selected:
        return next(one for one in self.selection.components if one.component == name)

    def _pack(self, component: Selected) -> Result:
        """The component's chart, as its build makes it; nothing is compiled."""
        (build,) = (one for one in component.builds if isinstance(one, GoBuild) and one.charts)
        added = ADDED.get((component.component, component.version))
        less: dict[str, Any] = {"packages": {}, "files": {}}
        if added:
            less["chart_files"] = {"chart": added}
        name = f"{component.component}-{component.version}"
        return self.workshop.build_go(
            build.model_copy(update=less), component.modules, name, lambda _: None
        )
