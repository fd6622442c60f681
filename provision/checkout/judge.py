"""The site's own Git repository as it lies beside the site file, judged before it is followed."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from provision import kustomizations
from provision.argocd.names import NAMESPACE
from provision.checkout.applicationsets import NotRenderedError, applications
from provision.checkout.folder import Folder, seen_as
from provision.checkout.images import Depots, judge_images
from provision.checkout.kinds import judge_kinds
from provision.checkout.objects import Made, lacking_fields, mapping, sequence
from provision.checkout.schemas import Schemas
from provision.checkout.told import AGAIN, Told
from provision.checkout.yamltext import UNREAD, documents, sourced
from provision.checks.finding import Finding
from provision.dns.zones import DNS_NAME
from provision.errors import BundleError, ConfigError
from provision.manifests import Manifest
from provision.phases.platform import THIS_CLUSTER, PlatformSettings, helm_values

PLACEHOLDER = "https://git.example.org/site.git"
"""Repository of a site file that nobody has edited yet."""
NAME = re.compile(DNS_NAME)
UNFETCHED = "missing in charts/ directory"
"""What helm says of a chart's dependencies that are not in the repository."""
FOLLOWED: Mapping[str, str] = {"Application": "application", "ApplicationSet": "application set"}
"""What makes more objects, in words for the operator."""
PICKED = ("exclude", "include", "jsonnet")
"""Fields of a folder's source by which Argo CD reads other files than all manifests."""
LONGEST_ARGUMENT = 128 * 1024
"""Bytes that Linux takes as one argument, the end's included (MAX_ARG_STRLEN, execve(2))."""

Template = Callable[..., str]
"""As :meth:`provision.charts.ChartRenderer.template`, the Kubernetes version filled in."""

Kustomize = Callable[[Path], str]
"""As :func:`provision.kustomizations.build`."""


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
    depots
        Where machines get images from; ``None`` without a bundle.
    authority
        The certificate of the site's authority, in PEM form; ``None`` while there is none.
    schemas
        What kinds look like; ``None`` where objects are not compared with it.
    kustomize
        Renders a kustomization; ``None`` without a kustomize, where they are left alone.
    """

    root: Path
    settings: PlatformSettings
    template: Template | None
    depots: Depots | None
    authority: str | None = None
    schemas: Schemas | None = None
    kustomize: Kustomize | None = None
    unrendered: list[str] = field(default_factory=list)
    unbuilt: list[str] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Applications that follow another revision of the repository than its own, and which."""
    registries: frozenset[str] = frozenset()
    """Where machines have to get images that the bundle lacks, once it was judged."""
    partial: bool = False
    """Whether there is more than what was looked into."""

    def __post_init__(self) -> None:
        self._told = Told()
        self._folder = Folder(self.root, self._told)

    def judge(self) -> list[Finding]:
        """Everything that is wrong; nothing where the repository is elsewhere."""
        settings = self.settings
        try:
            if not (self.root / settings.path).is_dir():
                return []
        except OSError as problem:
            self._told.unreadable(f"platform {settings.name}", settings.path, problem)
            return self._told.findings
        if settings.repository == PLACEHOLDER:
            self._told.error(
                "platform.repository is still the example's",
                found=settings.repository,
                wanted="the address that the cluster reads this repository from",
                fix=f"write it into the site file, {AGAIN}",
            )
        values = helm_values(settings, self.authority)
        source = {
            "path": settings.path,
            "helm": {"valueFiles": settings.value_files, "valuesObject": values},
        }
        objects = self._source(f"platform {settings.name}", settings.name, NAMESPACE, source)
        made, followed = self._followed(objects)
        items = [one.item for one in made]
        projects = {_name(item) for item in items if _is_of_argo_cd(item, "AppProject")}
        for item in followed:
            self._project(item, {settings.name, "default", *projects})
        if self.schemas is not None:
            judge_kinds(self._told, self.schemas, made)
        if self.depots is not None:
            self.registries = judge_images(self._told, self.depots, made)
        if self.elsewhere:
            self._told.warning(
                "applications follow another revision of the repository than platform.revision",
                found=", ".join(f"{name}: {one}" for name, one in sorted(self.elsewhere.items())),
                wanted=f"{settings.revision}, or else it holds the list of applications alone",
                fix=f"let their targetRevision be the same, {AGAIN}",
            )
        if self.unrendered:
            self._told.warning(
                "charts of the platform were not rendered, for want of the bundle's helm",
                found=", ".join(self.unrendered),
                fix=f"see to the bundle, {AGAIN}",
            )
        if self.unbuilt:
            self._told.warning(
                "kustomizations of the platform were not rendered, for want of the bundle's"
                " kustomize",
                found=", ".join(self.unbuilt),
                fix="build the bundle anew, with all that the site takes on request, such as"
                f" argocd, {AGAIN}",
            )
        return self._told.findings

    def _followed(self, objects: Sequence[Made]) -> tuple[list[Made], list[Manifest]]:
        """All that ``objects`` make, whatever makes it in turn, and the applications among it.

        Each application is followed once, so that one that makes what made it ends there.
        """
        followed: dict[tuple[str, str], Manifest] = {}
        made: list[Made] = []
        todo = deque((one, NAMESPACE) for one in objects)
        while todo:
            one, beside = todo.popleft()
            made.append(one)
            item = one.item
            kind = next((kind for kind in FOLLOWED if _is_of_argo_cd(item, kind)), "")
            key = kind, _name(item)
            if not kind or key == ("Application", self.settings.name):
                continue
            namespace = str(item["metadata"].get("namespace") or beside)
            if namespace != NAMESPACE:
                self._told.error(
                    f"{FOLLOWED[kind]} {_name(item)} is in a namespace that Argo CD does not look"
                    " into",
                    found=namespace,
                    wanted=NAMESPACE,
                )
            elif key not in followed:
                followed[key] = item
                if kind == "Application":
                    inside = str(_target(item).get("namespace", ""))
                    todo += [(found, inside) for found in self._application(item)]
                else:
                    todo += [(found, NAMESPACE) for found in self._application_set(one)]
        return made, [item for (kind, _), item in followed.items() if kind == "Application"]

    def _application_set(self, one: Made) -> list[Made]:
        """The applications that a set makes of what is in this repository."""
        who = f"application set {_name(one.item)}"
        try:
            made = applications(one.item, self.settings.repository, self._folder.folders)
        except NotRenderedError as problem:
            self._told.warning(
                f"{who} is not rendered here, nor what it makes", found=f"it takes {problem}"
            )
            return self._nothing()
        for item in made:
            if lacking_fields(item):
                self._told.error(
                    f"{who} makes an application without a name", wanted="template.metadata.name"
                )
        return [Made(item, who, one.file) for item in made if not lacking_fields(item)]

    def _project(self, item: Manifest, projects: set[str]) -> None:
        project = _project_of(item)
        if project in projects:
            return
        who, known = f"application {_name(item)}", f"one of: {', '.join(sorted(projects))}"
        if self.partial:
            what = f"{who} is of a project that is not among what was looked into"
            self._told.warning(what, found=project, wanted=known)
        else:
            self._told.error(
                f"{who} is of a project that there is not", found=project, wanted=known
            )

    def _application(self, item: Manifest) -> list[Made]:
        """Judge one Application; what this repository has it make in this cluster."""
        name = _name(item)
        who = f"application {name}"
        spec = mapping(item.get("spec"))
        target = _target(item)
        own = _project_of(item) == self.settings.name
        here = target.get("server") == THIS_CLUSTER or target.get("name") == "in-cluster"
        if own and not here:
            self._told.error(
                f"{who} goes to another cluster, which its project does not allow",
                found=str(target.get("server") or target.get("name")),
                wanted=THIS_CLUSTER,
            )
        made: list[Made] = []
        sources = spec.get("sources")
        for source in sequence(sources) or [spec.get("source")]:
            one = mapping(source)
            url = str(one.get("repoURL"))
            if url == self.settings.repository:
                revision = str(one.get("targetRevision") or "HEAD")
                if revision != self.settings.revision:
                    self.elsewhere[name] = revision
                if "path" in one:
                    made += self._source(who, name, str(target.get("namespace", "")), one)
            elif own and not any(fnmatchcase(url, pattern) for pattern in self.settings.sources):
                self._told.error(
                    f"{who} comes from a repository that its project does not allow",
                    found=url,
                    wanted=", ".join([self.settings.repository, *self.settings.sources]),
                    fix=f"add it to platform.sources in the site file, {AGAIN}",
                )
        return made if here else []

    def _source(self, who: str, name: str, namespace: str, source: Mapping[str, Any]) -> list[Made]:
        """The objects that a folder of this repository makes."""
        path = str(source["path"])
        folder = self._folder.inside(self.root / path)
        if folder is None or not seen_as(Path.is_dir, folder):
            self._told.error(f"{who}: its path is no folder of the repository", found=path)
            return self._nothing()
        if seen_as(Path.is_file, folder / "Chart.yaml"):
            return self._chart(who, name, namespace, folder, mapping(source.get("helm")))
        if any(seen_as(Path.is_file, folder / name) for name in kustomizations.FILES):
            return self._kustomization(who, folder, mapping(source.get("kustomize")))
        directory = mapping(source.get("directory"))
        picked = [one for one in PICKED if directory.get(one)]
        if picked:
            self._told.warning(
                f"{who} picks files of its folder, which is not looked into here",
                found=f"{path} with {', '.join(picked)}",
            )
            return self._nothing()
        return [
            one
            for file in self._folder.manifests(who, folder, deep=bool(directory.get("recurse")))
            for one in self._objects(who, self._folder.text(who, file), self._folder.shown(file))
        ]

    def _nothing(self) -> list[Made]:
        """What is known of a source that is not looked into."""
        self.partial = True
        return []

    def _chart(
        self, who: str, name: str, namespace: str, folder: Path, helm: Mapping[str, Any]
    ) -> list[Made]:
        given = [str(one) for one in sequence(helm.get("valueFiles"))]
        beyond = [one for one in given if "://" in one or one.startswith("$")]
        parameters = [mapping(one) for one in sequence(helm.get("parameters"))]
        # Argo CD fills in what it builds with, such as $ARGOCD_APP_REVISION.
        if any("$" in str(one.get("value")) for one in parameters):
            beyond.append("parameters")
        if helm.get("fileParameters"):
            beyond.append("fileParameters")
        if beyond:
            self._told.warning(
                f"{who} takes values that are not looked into here; it was not rendered",
                found=", ".join(beyond),
            )
            return self._nothing()
        paths = {one: self._value_file(folder, one) for one in given}
        lacking = [one for one, path in paths.items() if path is None]
        if lacking and not helm.get("ignoreMissingValueFiles"):
            self._told.error(
                f"{who}: files of values are not in the repository", found=", ".join(lacking)
            )
            return self._nothing()
        release = str(helm.get("releaseName") or name)
        wrong = [one for one in (release, namespace) if one and not NAME.fullmatch(one)]
        if wrong:
            self._told.error(
                f"{who}: its release or namespace has a name that Kubernetes does not take",
                found=", ".join(map(repr, wrong)),
            )
            return self._nothing()
        try:
            values = _values(helm)
            json.dumps(values)
            options = [_option(one) for one in parameters]
        except UNREAD as problem:
            self._told.error(f"{who}: its values are no YAML that helm takes", found=str(problem))
            return self._nothing()
        if self.template is None:
            self.unrendered.append(self._folder.shown(folder))
            return self._nothing()
        try:
            text = self.template(
                folder,
                release=release,
                namespace=namespace,
                values=values,
                value_files=[path for path in paths.values() if path is not None],
                options=options,
            )
        except (BundleError, ConfigError) as problem:
            told = problem.found or problem.what
            if UNFETCHED in told:
                self._told.warning(
                    f"{who} takes charts that Argo CD fetches; it was not rendered here", found=told
                )
            else:
                self._told.error(f"{who}: its chart does not render", found=told)
            return self._nothing()
        return [
            one._replace(file=self._template(folder, one.file)) for one in self._objects(who, text)
        ]

    def _template(self, folder: Path, source: str) -> str:
        """The file that helm means, which calls the folder by the chart's name."""
        inside = source.partition("/")[2]
        return f"{self._folder.shown(folder)}/{inside}" if inside else ""

    def _kustomization(self, who: str, folder: Path, given: Mapping[str, Any]) -> list[Made]:
        shown = self._folder.shown(folder)
        # Argo CD edits the kustomization by these before it builds it.
        edits = sorted(name for name, value in given.items() if value and name != "version")
        if edits:
            self._told.warning(
                f"{who} changes its kustomization, which is not looked into here",
                found=f"{shown} with {', '.join(edits)}",
            )
            return self._nothing()
        if self.kustomize is None:
            self.unbuilt.append(shown)
            return self._nothing()
        try:
            text = self.kustomize(folder)
        except (BundleError, ConfigError) as problem:
            told = problem.found or problem.what
            if any(one in told for one in kustomizations.FETCHING):
                self._told.warning(
                    f"{who} takes what Argo CD fetches; it was not rendered here", found=told
                )
            else:
                self._told.error(f"{who}: its kustomization does not render", found=told)
            return self._nothing()
        return [one._replace(file=shown) for one in self._objects(who, text)]

    def _value_file(self, folder: Path, given: str) -> Path | None:
        """The file that Argo CD means: relative to the chart, or from the root with ``/``."""
        base = self.root if given.startswith("/") else folder
        path = self._folder.inside(base / given.lstrip("/"))
        return path if path is not None and seen_as(Path.is_file, path) else None

    def _objects(self, who: str, text: str, file: str = "") -> Iterator[Made]:
        """The Kubernetes objects of a stream of YAML; whatever else is in it is a finding."""
        where = f"{who}: {file}" if file else who
        try:
            found = list(sourced(text))
        except UNREAD as problem:
            self._told.error(f"{where} is no YAML", found=str(problem))
            return
        for document, template in found:
            one = mapping(document)
            unfolded = "items" in one and str(one.get("kind")).endswith("List")
            for item in sequence(one["items"]) if unfolded else [document]:
                lacking = lacking_fields(mapping(item))
                if lacking:
                    self._told.error(
                        f"{where} holds something that is no Kubernetes object",
                        found=f"without {', '.join(lacking)}",
                        wanted="apiVersion, kind and metadata.name",
                    )
                else:
                    yield Made(item, who, file or template)


def _is_of_argo_cd(item: Manifest, kind: str) -> bool:
    return (str(item["kind"]), str(item["apiVersion"]).partition("/")[0]) == (kind, "argoproj.io")


def _name(item: Manifest) -> str:
    return str(item["metadata"].get("name", ""))


def _project_of(application: Manifest) -> str:
    return str(mapping(application.get("spec")).get("project"))


def _target(application: Manifest) -> Mapping[str, Any]:
    return mapping(mapping(application.get("spec")).get("destination"))


def _option(parameter: Mapping[str, Any]) -> str:
    """A parameter as Argo CD gives it to helm: a comma is part of the value, but in ``{a,b}``.

    Raises
    ------
    ValueError
        No program can be given it as an argument.
    """
    kind = "--set-string" if parameter.get("forceString") else "--set"
    value = str(parameter.get("value", ""))
    if not (value.startswith("{") and value.endswith("}")):
        value = re.sub(r"(?<!\\),", r"\\,", value)
    option = f"{kind}={parameter.get('name', '')}={value}"
    if "\0" in option or len(option.encode()) >= LONGEST_ARGUMENT:
        raise ValueError(f"parameter {str(parameter.get('name', ''))[:80]!r}")
    return option


def _values(helm: Mapping[str, Any]) -> Mapping[str, Any]:
    if "valuesObject" in helm:
        return mapping(helm["valuesObject"])
    return mapping(next(iter(documents(str(helm.get("values") or ""))), None))
