"""What Argo CD reads an environment from is what pods are known to reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.phalanx.sources import endpoint, source_rows

URL = "https://git.example.test/a/phalanx"
ARGOCD = "applications/argocd/values-observatory.yaml"


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    switches = {"argocd": True, "tap": True, "sia": False}
    put(tmp_path / "environments/values.yaml", {"applications": switches})
    for name, repositories in {
        "argocd": ["https://charts.example.test/argo", "file://../shared"],
        "tap": ["oci://registry.example.test/charts", "https://charts.example.test:8443/x"],
        "sia": ["https://unused.example.test"],
    }.items():
        dependencies = [{"name": "a", "repository": item} for item in repositories]
        put(tmp_path / f"applications/{name}/Chart.yaml", {"dependencies": [*dependencies, {}]})
    return tmp_path


def test_what_enabled_applications_come_from_must_be_listed(checkout: Path) -> None:
    [row] = source_rows(checkout, "observatory", URL, ["git.example.test:443"])
    assert not row.good
    assert row.found == (
        "not in network.egress: charts.example.test:443, charts.example.test:8443,"
        " registry.example.test:443"
    )
    listed = [
        "git.example.test:443",
        *row.found.removeprefix("not in network.egress: ").split(", "),
    ]
    [row] = source_rows(checkout, "observatory", URL, listed)
    assert (row.good, row.found) == (True, "all 4 known")


def test_by_a_proxy_only_that_is_reached(checkout: Path) -> None:
    proxy = [{"name": "HTTPS_PROXY", "value": "http://proxy.example.test:3128"}]
    put(checkout / ARGOCD, {"argo-cd": {"repoServer": {"env": proxy}}})
    assert list(source_rows(checkout, "observatory", URL, [])) == []


def test_a_chart_that_says_nothing_sensible(checkout: Path) -> None:
    put(checkout / "applications/tap/Chart.yaml", {"dependencies": "none"})
    put(checkout / "applications/argocd/Chart.yaml", {"dependencies": ["a"]})
    [row] = source_rows(checkout, "observatory", "", [])
    assert row.good


@pytest.mark.parametrize("url", ["", "file://../shared", "@stable", "https://[::1", "https://a:b"])
def test_what_names_no_server(url: str) -> None:
    assert endpoint(url) == ""
