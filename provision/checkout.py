"""The site's own Git repository as it lies beside the site file, judged before it is followed."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from provision.argocd.names import NAMESPACE
from provision.checks.finding import Finding, error, warning
from provision.dns.zones import DNS_NAME
from provision.errors import BundleError, ConfigError
from provision.manifests import Manifest
from provision.phases.platform import THIS_CLUSTER, PlatformSettings

PLACEHOLDER = "https://git.example.org/site.git"
"""Repository of a site file that nobody has edited yet."""
NAME = re.compile(DNS_NAME)
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[a-z0-9._-]+)*(:[\w.-]+)?(@[a-z0-9:]+)?")
NAMING_NO_IMAGES = (
    "Application",
    "ApplicationSet",
    "ConfigMap",
    "CustomResourceDefinition",
    "Secret",
)
UNFETCHED = "missing in charts/ directory"
"""What helm says of a chart's dependencies that are not in the repository."""
UNREAD = (yaml.YAMLError, RecursionError, TypeError, ValueError)
"""What reading YAML and handing it on as JSON may end with: it may hold dates, bytes or itself."""
AGAIN = "then: provision check"
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MANIFESTS = (".yaml", ".yml", ".json")
PICKED = ("exclude", "include", "jsonnet")
"""Fields of a folder's source by which Argo CD reads other files than all manifests."""

Template = Callable[..., str]
"""As :meth:`provision.charts.ChartRenderer.template`, the Kubernetes version filled in."""


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: ``2026-11-28`` and ``=`` are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - replaces what the base class shares
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
        ]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass
class Checkout:
    """What is found in one checkout.

    Parameters
    ----------
    root
        Folder of the site file.
    settings
        How the repository is followed.
    template
        Renders a chart; ``None`` without a helm, where charts are left alone.
    bundled
        Images that machines have; ``None`` without a bundle.
    """

    root: Path
    settings: PlatformSettings
    template: Template | None
    bundled: frozenset[str] | None
    findings: list[Finding] = field(default_factory=list)
    unrendered: list[str] = field(default_factory=list)
    partial: bool = False
    """Whether there is more than what was looked into."""

    def judge(self) -> list[Finding]:
        """Everything that is wrong; nothing where the repository is elsewhere."""
        settings = self.settings
        try:
            if not (self.root / settings.path).is_dir():
                return []
        except OSError as problem:
            self._unreadable(f"platform {settings.name}", settings.path, problem)
            return self.findings
        if settings.repository == PLACEHOLDER:
            self._error(
                "platform.repository is still the example's",
                found=settings.repository,
                wanted="the address that the cluster reads this repository from",
                fix=f"write it into the site file, {AGAIN}",
            )
        source = {
            "path": settings.path,
            "helm": {"valueFiles": settings.value_files, "valuesObject": settings.values},
        }
        objects = self._source(f"platform {settings.name}", settings.name, NAMESPACE, source)
        made, applications = self._followed(objects)
        projects = {_name(item) for item in made if _is_of_argo_cd(item, "AppProject")}
        for item in applications:
            self._project(item, {settings.name, "default", *projects})
        self._images(made)
        if self.unrendered:
            self._warning(
                "charts of the platform were not rendered, for want of the bundle's helm",
                found=", ".join(self.unrendered),
                fix=f"see to the bundle, {AGAIN}",
            )
        return self.findings

    def _error(self, what: str, *, found: str = "", wanted: str = "", fix: str = "") -> None:
        fix = fix or f"correct it in the repository, {AGAIN}"
        self.findings.append(error("", what, found=found, wanted=wanted, fix=fix))

    def _warning(self, what: str, *, found: str = "", wanted: str = "", fix: str = "") -> None:
        self.findings.append(warning("", what, found=found, wanted=wanted, fix=fix))

    def _unreadable(self, who: str, path: str, problem: OSError) -> None:
        self._error(f"{who}: {path} cannot be read", found=problem.strerror or str(problem))

    def _followed(self, objects: Sequence[Manifest]) -> tuple[list[Manifest], list[Manifest]]:
        """All that ``objects`` make, whatever makes it in turn, and the applications among it.

        Each application is followed once, so that one that makes what made it ends there.
        """
        applications: dict[str, Manifest] = {}
        made: list[Manifest] = []
        todo = deque((item, NAMESPACE) for item in objects)
        while todo:
            item, beside = todo.popleft()
            made.append(item)
            name = _name(item)
            if not _is_of_argo_cd(item, "Application") or name == self.settings.name:
                continue
            namespace = str(item["metadata"].get("namespace") or beside)
            if namespace != NAMESPACE:
                self._error(
                    f"application {name} is in a namespace that Argo CD does not look into",
                    found=namespace,
                    wanted=NAMESPACE,
                )
            elif name not in applications:
                applications[name] = item
                inside = str(_target(item).get("namespace", ""))
                todo += [(one, inside) for one in self._application(item)]
        return made, list(applications.values())

    def _project(self, item: Manifest, projects: set[str]) -> None:
        project = _project_of(item)
        if project in projects:
            return
        who, known = f"application {_name(item)}", f"one of: {', '.join(sorted(projects))}"
        if self.partial:
            what = f"{who} is of a project that is not among what was looked into"
            self._warning(what, found=project, wanted=known)
        else:
            self._error(f"{who} is of a project that there is not", found=project, wanted=known)

    def _application(self, item: Manifest) -> list[Manifest]:
        """Judge one Application; what this repository has it make in this cluster."""
        name = _name(item)
        who = f"application {name}"
        spec = _mapping(item.get("spec"))
        target = _target(item)
        own = _project_of(item) == self.settings.name
        here = target.get("server") == THIS_CLUSTER or target.get("name") == "in-cluster"
        if own and not here:
            self._error(
                f"{who} goes to another cluster, which its project does not allow",
                found=str(target.get("server") or target.get("name")),
                wanted=THIS_CLUSTER,
            )
        made: list[Manifest] = []
        sources = spec.get("sources")
        for source in _list(sources) or [spec.get("source")]:
            one = _mapping(source)
            url = str(one.get("repoURL"))
            if url == self.settings.repository:
                if "path" in one:
                    made += self._source(who, name, str(target.get("namespace", "")), one)
            elif own and not any(fnmatchcase(url, pattern) for pattern in self.settings.sources):
                self._error(
                    f"{who} comes from a repository that its project does not allow",
                    found=url,
                    wanted=", ".join([self.settings.repository, *self.settings.sources]),
                    fix=f"add it to platform.sources in the site file, {AGAIN}",
                )
        return made if here else []

    def _source(
        self, who: str, name: str, namespace: str, source: Mapping[str, Any]
    ) -> list[Manifest]:
        """The objects that a folder of this repository makes."""
        path = str(source["path"])
        folder = self._inside(self.root / path)
        if folder is None or not _is(Path.is_dir, folder):
            self._error(f"{who}: its path is no folder of the repository", found=path)
            return self._nothing()
        if _is(Path.is_file, folder / "Chart.yaml"):
            return self._chart(who, name, namespace, folder, _mapping(source.get("helm")))
        if any(_is(Path.is_file, folder / name) for name in KUSTOMIZATIONS):
            self._warning(f"{who} is a kustomization, which is not rendered here", found=path)
            return self._nothing()
        directory = _mapping(source.get("directory"))
        picked = [one for one in PICKED if directory.get(one)]
        if picked:
            self._warning(
                f"{who} picks files of its folder, which is not looked into here",
                found=f"{path} with {', '.join(picked)}",
            )
            return self._nothing()
        return [
            item
            for file in self._files(who, folder, deep=bool(directory.get("recurse")))
            for item in self._objects(f"{who}: {self._shown(file)}", self._text(who, file))
        ]

    def _nothing(self) -> list[Manifest]:
        """What is known of a source that is not looked into."""
        self.partial = True
        return []

    def _files(self, who: str, folder: Path, *, deep: bool) -> Iterator[Path]:
        """The manifests of a folder; what only looks like one is a finding."""
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as problem:
            self._unreadable(who, self._shown(folder), problem)
            return
        for entry in inside:
            path = Path(entry)
            if entry.is_dir(follow_symlinks=False):
                if deep:
                    yield from self._files(who, path, deep=deep)
                elif path.suffix in MANIFESTS:
                    self._warning(
                        f"{who}: {self._shown(path)} is a folder, which Argo CD passes over"
                    )
            elif path.suffix in MANIFESTS:
                yield path

    def _text(self, who: str, file: Path) -> str:
        """What a manifest says; nothing, and a finding, where it cannot be read."""
        shown = self._shown(file)
        real = self._inside(file)
        if real is None:
            self._error(f"{who}: {shown} is a link that leads nowhere, or out of the repository")
            return ""
        try:
            # Reading anything else, such as a named pipe, might never end.
            if real.exists() and not (real.is_file() or real.is_dir()):
                self._error(f"{who}: {shown} is no file")
                return ""
            return real.read_bytes().decode("utf-8-sig")
        except OSError as problem:
            self._unreadable(who, shown, problem)
        except UnicodeDecodeError as problem:
            byte = problem.object[problem.start]
            self._error(
                f"{who}: {shown} is no UTF-8 text",
                found=f"the byte 0x{byte:02x} at {problem.start}",
            )
        return ""

    def _shown(self, path: Path) -> str:
        """A path as it is called in the repository."""
        for root in (self.root, self.root.resolve()):
            if path.is_relative_to(root):
                return str(path.relative_to(root))
        return str(path)

    def _chart(
        self, who: str, name: str, namespace: str, folder: Path, helm: Mapping[str, Any]
    ) -> list[Manifest]:
        given = [str(one) for one in _list(helm.get("valueFiles"))]
        beyond = [one for one in given if "://" in one or one.startswith("$")]
        beyond += [one for one in ("parameters", "fileParameters") if helm.get(one)]
        if beyond:
            self._warning(
                f"{who} takes values that are not looked into here; it was not rendered",
                found=", ".join(beyond),
            )
            return self._nothing()
        paths = {one: self._value_file(folder, one) for one in given}
        lacking = [one for one, path in paths.items() if path is None]
        if lacking and not helm.get("ignoreMissingValueFiles"):
            self._error(
                f"{who}: files of values are not in the repository", found=", ".join(lacking)
            )
            return self._nothing()
        release = str(helm.get("releaseName") or name)
        wrong = [one for one in (release, namespace) if one and not NAME.fullmatch(one)]
        if wrong:
            self._error(
                f"{who}: its release or namespace has a name that Kubernetes does not take",
                found=", ".join(map(repr, wrong)),
            )
            return self._nothing()
        try:
            values = _values(helm)
            json.dumps(values)
        except UNREAD as problem:
            self._error(f"{who}: its values are no YAML that helm takes", found=str(problem))
            return self._nothing()
        if self.template is None:
            self.unrendered.append(self._shown(folder))
            return self._nothing()
        try:
            text = self.template(
                folder,
                release=release,
                namespace=namespace,
                values=values,
                value_files=[path for path in paths.values() if path is not None],
            )
        except (BundleError, ConfigError) as problem:
            told = problem.found or problem.what
            if UNFETCHED in told:
                self._warning(
                    f"{who} takes charts that Argo CD fetches; it was not rendered here", found=told
                )
            else:
                self._error(f"{who}: its chart does not render", found=told)
            return self._nothing()
        return list(self._objects(who, text))

    def _value_file(self, folder: Path, given: str) -> Path | None:
        """The file that Argo CD means: relative to the chart, or from the root with ``/``."""
        base = self.root if given.startswith("/") else folder
        path = self._inside(base / given.lstrip("/"))
        return path if path is not None and _is(Path.is_file, path) else None

    def _objects(self, where: str, text: str) -> Iterator[Manifest]:
        """The Kubernetes objects of a stream of YAML; whatever else is in it is a finding."""
        try:
            documents = _documents(text)
        except UNREAD as problem:
            self._error(f"{where} is no YAML", found=str(problem))
            return
        for document in documents:
            one = _mapping(document)
            unfolded = "items" in one and str(one.get("kind")).endswith("List")
            for item in _list(one["items"]) if unfolded else [document]:
                lacking = _lacking(_mapping(item))
                if lacking:
                    self._error(
                        f"{where} holds something that is no Kubernetes object",
                        found=f"without {', '.join(lacking)}",
                        wanted="apiVersion, kind and metadata.name",
                    )
                else:
                    yield item

    def _images(self, objects: Sequence[Manifest]) -> None:
        if self.bundled is None:
            return
        lacking = sorted(set(map(_full_name, _images(objects))) - self.bundled)
        if lacking:
            self._warning(
                "the platform runs images that the bundle does not have",
                found=", ".join(lacking),
                wanted="registries that every machine reaches under these names",
                fix="use images of the bundle, or see to it that machines can pull these",
            )

    def _inside(self, path: Path) -> Path | None:
        """``path`` without links and dots, unless it leads out of the repository."""
        try:
            found = path.resolve()
        except (OSError, RuntimeError, ValueError):
            # Links that go round in a circle, and names that no file has.
            return None
        return found if found.is_relative_to(self.root.resolve()) else None


def _is_of_argo_cd(item: Manifest, kind: str) -> bool:
    return item["kind"] == kind and item["apiVersion"].startswith("argoproj.io/")


def _name(item: Manifest) -> str:
    return str(item["metadata"].get("name", ""))


def _project_of(application: Manifest) -> str:
    return str(_mapping(application.get("spec")).get("project"))


def _target(application: Manifest) -> Mapping[str, Any]:
    return _mapping(_mapping(application.get("spec")).get("destination"))


def _lacking(item: Mapping[str, Any]) -> list[str]:
    lacking = [name for name in ("apiVersion", "kind") if not isinstance(item.get(name), str)]
    metadata = _mapping(item.get("metadata"))
    if not any(isinstance(metadata.get(name), str) for name in ("name", "generateName")):
        lacking.append("metadata.name")
    return lacking


def _images(objects: Sequence[Manifest]) -> Iterator[str]:
    """Every image that the objects name, for pods or for what makes pods of a custom resource.

    More than :func:`provision.charts.images`, which must not refuse what only looks like one.
    """
    # An Application names what its chart is given, and a definition gives examples.
    todo: list[Any] = [item for item in objects if item["kind"] not in NAMING_NO_IMAGES]
    seen: set[int] = set()
    while todo:
        item = todo.pop()
        # YAML's aliases make one mapping part of many, or of itself.
        if id(item) in seen:
            continue
        if isinstance(item, Mapping):
            seen.add(id(item))
            image = item.get("image")
            if isinstance(image, str) and IMAGE.fullmatch(image):
                yield image
            todo.extend(item.values())
        elif isinstance(item, list):
            seen.add(id(item))
            todo.extend(item)


def _values(helm: Mapping[str, Any]) -> Mapping[str, Any]:
    if "valuesObject" in helm:
        return _mapping(helm["valuesObject"])
    return _mapping(next(iter(_documents(str(helm.get("values") or ""))), None))


def _documents(text: str) -> list[Any]:
    return [one for one in yaml.load_all(text, _Loader) if one]


def _mapping(item: object) -> Mapping[str, Any]:
    return item if isinstance(item, Mapping) else {}


def _list(item: object) -> Sequence[Any]:
    return item if isinstance(item, list | tuple) else ()


def _is(what: Callable[[Path], bool], path: Path) -> bool:
    """Whether ``path`` is seen to be ``what``."""
    try:
        return what(path)
    except OSError:
        return False


def _full_name(image: str) -> str:
    """An image's name with its registry, which is Docker's where none is named."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
