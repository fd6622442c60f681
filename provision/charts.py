"""Render Helm charts on the controller, by the bundle's own helm, without a cluster.

A rendering depends on the chart, the values and the Kubernetes version alone,
so it is kept under their digest and made once.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provision import manifests
from provision.errors import BundleError
from provision.manifests import Manifest
from provision.phase import BundleView
from provision.rendering import SECONDS, BundledProgram, Work


class ChartRenderer:
    """Renders charts of one bundle.

    Parameters
    ----------
    bundle
        Where the chart and ``helm`` come from.
    architecture
        The controller's own, in Debian's words.
    cache
        Folder for what was rendered.
    seconds
        Time that helm has for one chart.
    """

    def __init__(
        self, bundle: BundleView, architecture: str, cache: Path, seconds: float = SECONDS
    ) -> None:
        self.bundle = bundle
        self.cache = cache / "charts"
        self.helm = BundledProgram(bundle, "helm", architecture, self.cache, seconds)

    def render(
        self,
        chart: str,
        *,
        release: str,
        namespace: str,
        values: Mapping[str, Any],
        kubernetes: str,
    ) -> Sequence[Manifest]:
        """The chart's objects, in the order in which helm would apply them.

        Parameters
        ----------
        chart
            The chart's name among the bundle's plain files.
        kubernetes
            Version of Kubernetes that the chart is told.

        Raises
        ------
        ConfigError
            The chart refuses the values, or takes too long.
        BundleError
            The bundle lacks an image that the rendering names.
        """
        text = json.dumps(values, sort_keys=True)
        parts = (
            self.bundle.sha256(chart, self.helm.architecture),
            self.bundle.sha256(self.helm.name, self.helm.architecture),
            *(release, namespace, kubernetes, text),
        )
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        kept = self.cache / f"{release}-{digest}.json"
        if kept.exists():
            objects: list[Manifest] = json.loads(kept.read_text("utf-8"))
        else:
            command = (
                *("template", release, str(self.bundle.path(chart, self.helm.architecture))),
                *("--namespace", namespace, "--kube-version", kubernetes),
                *("--include-crds", "--skip-tests", "--values", "-"),
            )
            objects = list(manifests.parse(self._helm(command, text, release)))
            keep_text(kept, json.dumps(objects))
        require_images(self.bundle, f"{chart} with these values", objects)
        return objects

    def template(
        self,
        folder: Path,
        *,
        release: str,
        namespace: str,
        values: Mapping[str, Any],
        value_files: Sequence[Path],
        kubernetes: str,
        options: Sequence[str] = (),
    ) -> str:
        """What a chart in a folder, which may change at any time, makes: a stream of YAML.

        ``values`` count more than ``value_files``, as in an Application of Argo CD. ``options``
        are helm's, each one argument (``--set=a=b``), so that no value is taken for another.

        Raises
        ------
        ConfigError
            It does not render; ``found`` has helm's own words.
        """
        command = ["template", "--namespace", namespace, "--kube-version", kubernetes]
        command += ["--include-crds", "--skip-tests", *options]
        for path in value_files:
            command += ["--values", str(path)]
        # Names come from the repository, and none of them may be taken for an option.
        command += ["--values", "-", "--", release, str(folder)]
        return self._helm(command, json.dumps(values), release)

    def _helm(self, command: Sequence[str], values: str, release: str) -> str:
        work = Work(
            subject=f"the chart of {release}",
            refused="refuses the values that it is given",
            where=f"{release}.values",
            fix="correct them in the site file, then: provision plan",
        )
        # Nothing of the caller's own helm: no plugins, repositories or registries.
        environment = {"PATH": os.defpath}
        return self.helm.printed(command, work, given=values.encode(), environment=environment)


def require_images(bundle: BundleView, what: str, objects: Sequence[Manifest]) -> None:
    """Refuse objects whose pods run images that the bundle does not have.

    Raises
    ------
    BundleError
        There are some; the error names them.
    """
    missing = sorted(set(images(objects)) - set(bundle.images))
    if missing:
        raise BundleError(
            f"{what} needs images that the bundle lacks",
            found=", ".join(missing),
            why="machines get images from the bundle alone",
            fix="switch off what needs them in the site file, or add them to the catalog and:"
            " provision bundle build",
        )


def images(objects: Sequence[Manifest]) -> list[str]:
    """Every image that the objects' pods run."""
    found: list[str] = []
    todo: list[Any] = list(objects)
    while todo:
        item = todo.pop()
        if isinstance(item, Mapping):
            for name in ("containers", "initContainers"):
                found.extend(
                    container["image"]
                    for container in item.get(name) or ()
                    if isinstance(container, Mapping) and isinstance(container.get("image"), str)
                )
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return found


def keep_text(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` as a whole, or leave what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as fresh:
        fresh.write(text)
        fresh.flush()
        os.fsync(fresh.fileno())
    Path(fresh.name).replace(path)
