"""The site's repository: what ``init --platform`` writes, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.app import read_site
from provision.checkout import PLACEHOLDER, Checkout
from provision.checks import Finding, Severity
from provision.errors import ConfigError
from provision.phases.platform import PlatformSettings
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


def judged(root: Path, **settings: Any) -> list[Finding]:
    """Findings about plain manifests, with a bundle of one image."""
    wanted = PlatformSettings(**{"repository": URL, **settings})
    return Checkout(root, wanted, refuses, frozenset({"registry.test/web:1"})).judge()


def refuses(folder: Path, *, value_files: Sequence[Path], **_: Any) -> str:
    raise ConfigError("refused", found=f"{folder.name} with {len(value_files)} files")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of one application of plain manifests."""
    for folder in ("platform", "web"):
        (tmp_path / folder).mkdir()
    (tmp_path / "platform/web.yaml").write_text(yaml.safe_dump(dict(APPLICATION)))
    (tmp_path / "web/web.yaml").write_text(yaml.safe_dump(POD))
    return tmp_path


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


@pytest.mark.parametrize("text", ["kind: Pod", "just text", "[1]"])
def test_what_is_no_kubernetes_object_is_named(root: Path, text: str) -> None:
    (root / "web/web.yaml").write_text(text)
    (finding,) = judged(root)
    assert finding.what.startswith("application web: web/web.yaml holds something")


def test_images_that_the_bundle_lacks_are_a_warning(root: Path) -> None:
    (root / "web/web.yaml").write_text(yaml.safe_dump(POD).replace("registry.test/web:1", "web:2"))
    (finding,) = judged(root)
    assert (finding.severity, finding.found) == (Severity.WARNING, "docker.io/library/web:2")


def test_a_chart_that_does_not_render_and_values_that_are_missing(root: Path) -> None:
    (root / "web/Chart.yaml").touch()
    assert [one.found for one in judged(root)] == ["web with 0 files"]
    (root / "platform/Chart.yaml").touch()
    (finding,) = judged(root, value_files=["values-x.yaml"])
    assert "files of values are not in the repository" in finding.what
    assert finding.found == "values-x.yaml"


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
