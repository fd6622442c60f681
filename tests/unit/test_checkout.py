"""The site's repository: what ``init --platform`` writes, and what is said of a wrong one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.app import read_site
from provision.checkout.images import Depots
from provision.checkout.judge import PLACEHOLDER, Checkout
from provision.checks import Finding, Severity
from provision.errors import ConfigError
from provision.phases.platform import STAND_IN, PlatformSettings
from provision.verbs.init import write_site

URL = "https://git.site.test/site.git"
APPLICATION: Mapping[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Application",
    "metadata": {"name": "web"},
    "spec": {
        "project": "platform",
        "source": {"repoURL": URL, "path": "web"},
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "web"},
    },
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "web", "image": "registry.test/web:1"}]},
}

DEPOTS = Depots({"registry.test/web:1": "sha256:" + "a" * 64})


def judged(root: Path, **settings: Any) -> list[Finding]:
    """Findings about plain manifests, with a bundle of one image."""
    wanted = PlatformSettings(**{"repository": URL, **settings})
    return Checkout(root, wanted, refuses, DEPOTS).judge()


def refuses(folder: Path, *, value_files: Sequence[Path], **_: Any) -> str:
    raise ConfigError("refused", found=f"{folder.name} with {len(value_files)} files")


def repository(root: Path) -> Path:
    """A repository of one application of plain manifests."""
    for folder in ("platform", "web"):
        (root / folder).mkdir()
    (root / "platform/web.yaml").write_text(yaml.safe_dump(dict(APPLICATION)))
    (root / "web/web.yaml").write_text(yaml.safe_dump(POD))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return repository(tmp_path)


@pytest.fixture
def open_root() -> Iterator[Path]:
    """The same where every user may look; pytest's own folders are for one user."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield repository(Path(folder))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the right to read everything, where the tests have it."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if before == 0:
            os.seteuid(0)


def change(root: Path, **spec: Any) -> None:
    changed = {**APPLICATION, "spec": {**APPLICATION["spec"], **spec}}
    (root / "platform/web.yaml").write_text(yaml.safe_dump(changed))


def test_nothing_is_wrong_with_a_good_one(root: Path) -> None:
    assert judged(root) == []


def test_a_repository_elsewhere_is_not_spoken_of(tmp_path: Path) -> None:
    assert judged(tmp_path) == []


@pytest.mark.parametrize(
    ("spec", "what", "found"),
    [
        ({"project": "other"}, "of a project that there is not", "other"),
        ({"destination": {"server": "https://x.test"}}, "another cluster", "https://x.test"),
        ({"source": {"repoURL": URL, "path": "none"}}, "no folder of the repository", "none"),
        ({"source": {"repoURL": URL, "path": ".."}}, "no folder of the repository", ".."),
        ({"source": {"repoURL": "https://x.test/y"}}, "does not allow", "https://x.test/y"),
    ],
)
def test_an_application_that_argo_cd_would_refuse(
    root: Path, spec: dict[str, Any], what: str, found: str
) -> None:
    change(root, **spec)
    (finding,) = judged(root)
    assert finding.severity is Severity.ERROR
    assert what in finding.what
    assert finding.found == found
    assert "provision check" in finding.fix


def test_argo_cds_own_project_allows_everything(root: Path) -> None:
    change(root, project="default", destination={"server": "https://x.test"})
    assert judged(root) == []


@pytest.mark.parametrize(
    ("revision", "source", "found"),
    [
        ("v1", {}, "web: HEAD"),
        ("HEAD", {"targetRevision": "main"}, "web: main"),
        ("v1", {"targetRevision": "v1"}, None),
    ],
)
def test_an_application_of_another_revision_is_named(
    root: Path, revision: str, source: dict[str, str], found: str | None
) -> None:
    change(root, source={"repoURL": URL, "path": "web", **source})
    findings = judged(root, revision=revision)
    assert [(one.severity, one.found) for one in findings] == (
        [(Severity.WARNING, found)] if found else []
    )


def test_other_repositories_have_revisions_of_their_own(root: Path) -> None:
    change(root, source={"repoURL": "https://x.test/y", "chart": "y", "targetRevision": "1.2"})
    assert judged(root, sources=["https://x.test/*"]) == []


@pytest.mark.parametrize("text", ["kind: Pod", "just text", "[1]"])
def test_what_is_no_kubernetes_object_is_named(root: Path, text: str) -> None:
    (root / "web/web.yaml").write_text(text)
    (finding,) = judged(root)
    assert finding.what.startswith("application web: web/web.yaml holds something")


def images_of(root: Path, image: str, *, fallback: bool = False) -> Checkout:
    (root / "web/web.yaml").write_text(yaml.safe_dump(POD).replace("registry.test/web:1", image))
    settings = PlatformSettings(repository=URL)
    depots = Depots(DEPOTS.images, fallback=fallback)
    return Checkout(root, settings, refuses, depots)


def images_judged(root: Path, image: str, *, fallback: bool = False) -> list[Finding]:
    return images_of(root, image, fallback=fallback).judge()


@pytest.mark.parametrize(
    ("image", "registries"), [("web:2", {"docker.io"}), ("registry.test/web:2", set())]
)
def test_machines_have_to_reach_the_registries_of_what_the_bundle_lacks(
    root: Path, image: str, registries: set[str]
) -> None:
    checkout = images_of(root, image)
    checkout.judge()
    assert checkout.registries == registries


def test_images_of_other_registries_than_the_bundles_are_a_warning(root: Path) -> None:
    (finding,) = images_judged(root, "web:2")
    assert finding.severity is Severity.WARNING
    assert finding.found == "docker.io/library/web:2 of application web"
    assert finding.wanted.endswith("pull them from docker.io")


@pytest.mark.parametrize("image", ["registry.test/web:2", "bundle.internal/web:1"])
def test_images_that_only_depots_could_have_are_an_error(root: Path, image: str) -> None:
    (finding,) = images_judged(root, image)
    assert finding.severity is Severity.ERROR
    assert finding.found == f"{image} of application web"
    assert finding.wanted.endswith(image.partition("/")[0])


def test_machines_may_ask_registries_themselves(root: Path) -> None:
    (finding,) = images_judged(root, "registry.test/web:2", fallback=True)
    assert finding.severity is Severity.WARNING
    (finding,) = images_judged(root, "bundle.internal/web:1", fallback=True)
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize("name", ["registry.test/web", "registry.test/web:other"])
def test_an_image_may_be_named_by_its_digest(root: Path, name: str) -> None:
    assert images_judged(root, f"{name}@sha256:{'a' * 64}") == []
    assert images_judged(root, f"{name}@sha256:{'b' * 64}") != []
    assert images_judged(root, f"registry.test/other@sha256:{'a' * 64}") != []


def test_images_of_custom_resources_are_seen_and_what_is_none_is_not(root: Path) -> None:
    cluster = """
apiVersion: db.test/v1
kind: Cluster
metadata: {name: db}
spec: &spec
  image: registry.other.test/db:1
  itself: *spec
  sidecars: [{image: sha/tool@sha256:ab}, {image: web:2}]
  picture: {image: "https://x.test/a.png"}
  empty: [{image: ""}, {image: {name: any}}, {image: 1}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: text}
data: {image: of-the-map}
"""
    (root / "web/db.yaml").write_text(cluster)
    (finding,) = judged(root)
    assert finding.found == "; ".join(
        f"{image} of application web"
        for image in (
            "docker.io/library/web:2",
            "docker.io/sha/tool@sha256:ab",
            "registry.other.test/db:1",
        )
    )


def test_charts_that_argo_cd_fetches_are_a_warning(root: Path) -> None:
    def unfetched(folder: Path, **_: Any) -> str:
        raise ConfigError("refused", found="found in Chart.yaml, but missing in charts/ directory")

    (root / "web/Chart.yaml").touch()
    settings = PlatformSettings(repository=URL)
    (finding,) = Checkout(root, settings, unfetched, None).judge()
    assert finding.severity is Severity.WARNING
    assert finding.what.startswith("application web takes charts that Argo CD fetches")


def test_a_chart_that_does_not_render_and_values_that_are_missing(root: Path) -> None:
    (root / "web/Chart.yaml").touch()
    assert [one.found for one in judged(root)] == ["web with 0 files"]
    (root / "platform/Chart.yaml").touch()
    (finding,) = judged(root, value_files=["values-x.yaml"])
    assert "files of values are not in the repository" in finding.what
    assert finding.found == "values-x.yaml"


@pytest.mark.parametrize(
    ("authority", "given"), [(None, STAND_IN), ("CERTIFICATE\n", "CERTIFICATE\n")]
)
def test_the_sites_authority_is_a_value_even_before_it_is_there(
    root: Path, authority: str | None, given: str
) -> None:
    seen: list[Any] = []

    def template(folder: Path, *, values: Mapping[str, Any], **_: Any) -> str:
        seen.append(values)
        return yaml.safe_dump(dict(APPLICATION))

    (root / "platform/Chart.yaml").touch()
    settings = PlatformSettings(
        repository=URL, values={"host": "a"}, authority_value="site.authority"
    )
    assert Checkout(root, settings, template, None, authority).judge() == []
    assert seen == [{"host": "a", "site": {"authority": given}}]


def test_what_init_writes_needs_only_the_repository_edited(tmp_path: Path) -> None:
    path = write_site(tmp_path / "site.yaml", "stella", [], None, None, PLACEHOLDER)
    site = read_site(path).site
    found = Checkout(tmp_path, site.settings(PlatformSettings), None, None).judge()
    assert [(str(one.severity), one.found) for one in found] == [
        ("error", PLACEHOLDER),
        ("warning", "platform"),
    ]
    assert found[1].fix == "see to the bundle, then: provision check"


def test_init_writes_nothing_where_one_file_is_there(tmp_path: Path) -> None:
    there = tmp_path / "platform/values.yaml"
    there.parent.mkdir()
    there.write_text("mine")
    with pytest.raises(ConfigError) as caught:
        write_site(tmp_path / "site.yaml", "stella", [], None, None, URL)
    assert caught.value.where == str(there)
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [there]
    assert there.read_text() == "mine"


def test_what_was_written_goes_when_the_rest_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "applications").touch()
    with pytest.raises(ConfigError):
        write_site(tmp_path / "site.yaml", "stella", [], None, None, URL)
    assert list(tmp_path.iterdir()) == [tmp_path / "applications"]


@pytest.mark.parametrize(
    ("closed", "what"),
    [
        ("web/web.yaml", "application web: web/web.yaml cannot be read"),
        ("web", "application web: web cannot be read"),
        ("platform", "platform platform: platform cannot be read"),
    ],
)
def test_what_may_not_be_read_is_named(open_root: Path, closed: str, what: str) -> None:
    path = open_root / closed
    mode = path.stat().st_mode
    path.chmod(0)
    with as_nobody():
        findings = judged(open_root)
    path.chmod(mode)
    assert [(one.what, one.found) for one in findings] == [(what, "Permission denied")]


def test_what_only_looks_like_a_manifest_is_named(root: Path) -> None:
    (root / "web/binary.yaml").write_bytes(b"a: \xff")
    (root / "web/broken.yaml").symlink_to("nowhere.yaml")
    (root / "web/circle.yaml").symlink_to("circle.yaml")
    (root / "web/folder.yaml").mkdir()
    (root / "web/linked.yaml").symlink_to("folder.yaml")
    (root / "web/outside.yaml").symlink_to("/etc/hostname")
    os.mkfifo(root / "web/pipe.yaml")
    assert [
        (one.what.removeprefix("application web: web/"), one.found) for one in judged(root)
    ] == [
        ("binary.yaml is no UTF-8 text", "the byte 0xff at 3"),
        ("broken.yaml cannot be read", "No such file or directory"),
        ("circle.yaml is a link that leads nowhere, or out of the repository", ""),
        ("folder.yaml is a folder, which Argo CD passes over", ""),
        ("linked.yaml cannot be read", "Is a directory"),
        ("outside.yaml is a link that leads nowhere, or out of the repository", ""),
        ("pipe.yaml is no file", ""),
    ]


def test_folders_are_looked_into_where_the_application_says_so(root: Path) -> None:
    (root / "web/deep.yaml").mkdir()
    (root / "web/deep.yaml/text.yaml").write_text("text")
    change(root, source={"repoURL": URL, "path": "web", "directory": {"recurse": True}})
    (finding,) = judged(root)
    assert finding.what.startswith("application web: web/deep.yaml/text.yaml holds something")


def test_files_that_are_picked_by_a_pattern_are_left_alone(root: Path) -> None:
    (root / "web/text.yaml").write_text("text")
    change(root, source={"repoURL": URL, "path": "web", "directory": {"include": "web.yaml"}})
    (finding,) = judged(root)
    assert (finding.severity, finding.found) == (Severity.WARNING, "web with include")


@pytest.mark.parametrize(
    "text",
    [
        "- [",
        "0b_",
        "9" * 5000,
        "!!binary \u00fc",
        "a: !!python/none",
        "\0",
        "[" * 2000 + "]" * 2000,
    ],
)
def test_what_is_no_yaml_is_named(root: Path, text: str) -> None:
    (root / "web/web.yaml").write_text(text)
    (finding,) = judged(root)
    assert finding.what.startswith("application web: web/web.yaml ")
    assert finding.severity is Severity.ERROR


def test_text_that_looks_like_a_date_is_text(root: Path) -> None:
    data = "{a: 2024-13-45, b: =}"
    (root / "web/web.yaml").write_text(
        f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: web}}, data: {data}}}"
    )
    assert judged(root) == []


@pytest.mark.parametrize(
    ("helm", "what"),
    [
        ({"values": "- ["}, "its values are no YAML that helm takes"),
        ({"values": "a: !!binary aaaa"}, "its values are no YAML that helm takes"),
        ({"values": "&a {b: *a}"}, "its values are no YAML that helm takes"),
        ({"parameters": [{"name": "a", "value": "\0"}]}, "its values are no YAML that helm takes"),
        ({"parameters": [{"name": "a" * 140000}]}, "its values are no YAML that helm takes"),
        ({"releaseName": "--post-renderer=x"}, "has a name that Kubernetes does not take"),
        ({"releaseName": "a\0"}, "has a name that Kubernetes does not take"),
        ({"valueFiles": 1}, "its chart does not render"),
    ],
)
def test_what_helm_is_not_given(root: Path, helm: dict[str, Any], what: str) -> None:
    (root / "web/Chart.yaml").touch()
    change(root, source={"repoURL": URL, "path": "web", "helm": helm})
    (finding,) = judged(root)
    assert finding.what.startswith("application web: ")
    assert what in finding.what


@pytest.mark.parametrize("path", ["a\0", "x" * 300, "circle"])
def test_a_path_that_no_folder_has(root: Path, path: str) -> None:
    (root / "circle").symlink_to("circle")
    change(root, source={"repoURL": URL, "path": path})
    (finding,) = judged(root)
    assert "no folder of the repository" in finding.what


def application(name: str, *, namespace: str = "argocd", **spec: Any) -> str:
    """An Application of the folder that has its name, as a document of YAML."""
    source = {"repoURL": URL, "path": name}
    destination = {"server": "https://kubernetes.default.svc", "namespace": namespace}
    wanted = {"project": "platform", "source": source, "destination": destination, **spec}
    metadata = {"name": name, "namespace": "argocd"}
    return yaml.safe_dump({**APPLICATION, "metadata": metadata, "spec": wanted}) + "---\n"


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


def test_applications_of_applications_are_followed_each_once(root: Path) -> None:
    files = {
        "platform/more.yaml": application("more"),
        "more/inner.yaml": application("inner"),
        # What makes itself, and what made it.
        "inner/all.yaml": application("inner") + application("more") + application("platform"),
        "inner/text.yaml": "text",
    }
    write(root, files)
    (finding,) = judged(root)
    assert finding.what.startswith("application inner: inner/text.yaml holds something")


def test_a_project_may_be_made_by_any_application(root: Path) -> None:
    project = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject"}
    made = yaml.safe_dump({**project, "metadata": {"name": "deep"}})
    (root / "gone").mkdir()
    files = {
        "platform/more.yaml": application("more", project="deep"),
        "more/inner.yaml": application("inner"),
        "inner/project.yaml": made,
        "inner/gone.yaml": application("gone", project="shallow"),
    }
    write(root, files)
    (finding,) = judged(root)
    assert finding.what == "application gone is of a project that there is not"
    assert finding.wanted == "one of: deep, default, platform"


def kustomized(root: Path, says: str, **source: Any) -> list[Finding]:
    """Findings where the application is a kustomization, of which kustomize says this."""

    def kustomize(folder: Path) -> str:
        assert folder == (root / "web").resolve()
        if says.startswith("Error"):
            raise ConfigError("the kustomization web cannot be built", found=says)
        return says

    (root / "web/kustomization.yaml").touch()
    (root / "web/web.yaml").write_text("no manifest by itself")
    change(root, source={"repoURL": URL, "path": "web", **source})
    settings = PlatformSettings(repository=URL)
    return Checkout(root, settings, refuses, DEPOTS, kustomize=kustomize).judge()


def test_a_kustomization_is_rendered(root: Path) -> None:
    assert kustomized(root, yaml.safe_dump(POD)) == []
    (finding,) = kustomized(root, yaml.safe_dump(POD).replace("web:1", "web:2"))
    assert finding.found == "registry.test/web:2 of application web"


@pytest.mark.parametrize(
    ("says", "severity", "what"),
    [
        ("Error: accumulating resources", Severity.ERROR, "its kustomization does not render"),
        ("Error: no 'git' program on path: exec", Severity.WARNING, "takes what Argo CD fetches"),
        (
            'Error: Get "https://x.test": proxyconnect tcp: dial',
            Severity.WARNING,
            "Argo CD fetches",
        ),
    ],
)
def test_a_kustomization_that_does_not_render(
    root: Path, says: str, severity: Severity, what: str
) -> None:
    (finding,) = kustomized(root, says)
    assert (finding.severity, finding.found) == (severity, says)
    assert what in finding.what


def test_a_kustomization_that_argo_cd_changes_is_left_alone(root: Path) -> None:
    (finding,) = kustomized(root, "Error", kustomize={"namePrefix": "a-", "images": ["a=b"]})
    assert (finding.severity, finding.found) == (Severity.WARNING, "web with images, namePrefix")
    assert kustomized(root, yaml.safe_dump(POD), kustomize={"version": "v5.8.2"}) == []


def test_kustomizations_without_a_kustomize_are_named(root: Path) -> None:
    (root / "web/Kustomization").touch()
    (finding,) = judged(root)
    assert (finding.severity, finding.found) == (Severity.WARNING, "web")
    assert "for want of the bundle's kustomize" in finding.what


def test_a_project_may_be_in_what_is_not_looked_into(root: Path) -> None:
    change(root, project="deep")
    files = {"platform/more.yaml": application("more"), "more/kustomization.yaml": ""}
    write(root, files)
    assert [one.severity for one in judged(root)] == [Severity.WARNING, Severity.WARNING]


def test_an_application_that_argo_cd_does_not_see(root: Path) -> None:
    seen = yaml.safe_load(application("inner").removesuffix("---\n"))
    del seen["metadata"]["namespace"]
    files = {
        "platform/more.yaml": application("more", namespace="web"),
        "more/inner.yaml": yaml.safe_dump(seen),
    }
    write(root, files)
    (finding,) = judged(root)
    assert finding.what == "application inner is in a namespace that Argo CD does not look into"
    assert finding.found == "web"


def test_what_goes_to_another_cluster_is_followed_there(root: Path) -> None:
    elsewhere = {"server": "https://x.test", "namespace": "argocd"}
    files = {
        "platform/more.yaml": application("more", project="default", destination=elsewhere),
        "more/inner.yaml": application("inner", project="theirs"),
    }
    write(root, files)
    assert judged(root) == []


def test_what_another_project_calls_an_application_is_none(root: Path) -> None:
    other = application("more").replace("argoproj.io/v1alpha1", "app.k8s.io/v1beta1")
    write(root, {"platform/other.yaml": other})
    assert judged(root) == []


def test_objects_whose_names_kubernetes_makes_are_objects(root: Path) -> None:
    (root / "web/web.yaml").write_text(yaml.safe_dump({**POD, "metadata": {"generateName": "a-"}}))
    assert judged(root) == []


def test_parameters_are_given_to_helm_as_argo_cd_does(root: Path) -> None:
    given: list[str] = []

    def template(folder: Path, *, options: Sequence[str], **_: Any) -> str:
        given.extend(options)
        return yaml.safe_dump(POD)

    (root / "web/Chart.yaml").touch()
    parameters = [
        {"name": "a.b", "value": "1,2\\,3"},
        {"name": "list", "value": "{1,2}"},
        {"name": "tag", "value": "10", "forceString": True},
    ]
    change(root, source={"repoURL": URL, "path": "web", "helm": {"parameters": parameters}})
    assert Checkout(root, PlatformSettings(repository=URL), template, None).judge() == []
    assert given == ["--set=a.b=1\\,2\\,3", "--set=list={1,2}", "--set-string=tag=10"]


def test_parameters_that_argo_cd_fills_in_are_a_warning(root: Path) -> None:
    (root / "web/Chart.yaml").touch()
    parameters = [{"name": "commit", "value": "$ARGOCD_APP_REVISION"}]
    change(root, source={"repoURL": URL, "path": "web", "helm": {"parameters": parameters}})
    (finding,) = judged(root)
    assert (finding.severity, finding.found) == (Severity.WARNING, "parameters")
