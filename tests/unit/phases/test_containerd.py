"""What the containerd phase configures."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from provision.errors import BundleError
from provision.phases.containerd import (
    ContainerdPhase,
    ContainerdSettings,
    depots_for,
    sandbox_image,
)
from tests.support.cases import EveryBundle, make_context, make_site
from tests.support.fakes import NoBundle

IMAGES = "io.containerd.cri.v1.images"
RUNTIME = "io.containerd.cri.v1.runtime"


def content(path: str, host: str = "n1", **site: Any) -> str:
    """A file of the role as ``host`` gets it."""
    state = ContainerdPhase().desired(make_context(make_site(site)), host)
    (file,) = (file for file in state.files if file.path == path)
    return file.content or ""


def config(**settings: Any) -> dict[str, Any]:
    return tomllib.loads(content("/etc/containerd/config.toml", containerd=settings))


def hosts(host: str = "n1", **settings: Any) -> dict[str, Any]:
    path = "/etc/containerd/certs.d/registry.k8s.io/hosts.toml"
    return tomllib.loads(content(path, host, containerd=settings))


def test_the_sandbox_image_is_the_bundles() -> None:
    assert config()["plugins"][IMAGES]["pinned_images"] == {
        "sandbox": "registry.k8s.io/pause:3.10.2"
    }


def test_a_bundle_without_a_sandbox_image_is_refused() -> None:
    with pytest.raises(BundleError, match="pause"):
        sandbox_image(NoBundle())


def test_pulls_by_the_kubelet_look_at_hosts_toml() -> None:
    assert config()["plugins"][IMAGES]["registry"]["config_path"] == "/etc/containerd/certs.d"


def test_the_sites_configuration_is_laid_over_ours() -> None:
    runc = {"runtimes": {"runc": {"options": {"SystemdCgroup": False, "BinaryName": None}}}}
    changes = {RUNTIME: {"restrict_oom_score_adj": True, "containerd": runc}}
    runtime = config(config={"plugins": changes})["plugins"][RUNTIME]
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["containerd"]["runtimes"]["runc"] == {
        "runtime_type": "io.containerd.runc.v2",
        "options": {"SystemdCgroup": False},
    }
    assert runtime["cni"]["bin_dirs"] == ["/opt/cni/bin"]


def test_systemd_keeps_the_cgroups_unless_the_site_says_otherwise() -> None:
    runc = config()["plugins"][RUNTIME]["containerd"]["runtimes"]["runc"]
    assert runc["options"]["SystemdCgroup"] is True


def test_every_depot_is_asked_and_nothing_else() -> None:
    found = hosts("n2")
    assert found["server"] == "https://192.0.2.1:5000/v2/registry.k8s.io"
    assert list(found["host"]) == [
        "https://192.0.2.2:5000/v2/registry.k8s.io",
        "https://192.0.2.3:5000/v2/registry.k8s.io",
    ]
    for entry in (found, *found["host"].values()):
        assert entry["capabilities"] == ["pull", "resolve"]
        assert entry["ca"] == "/etc/provision/ca.crt"
        assert entry["override_path"] is True
        assert entry["dial_timeout"] == "2s"


def test_the_upstream_registry_comes_last_where_the_site_wants_it() -> None:
    found = hosts(upstream_fallback=True)
    assert "server" not in found
    assert len(found["host"]) == 3


def test_every_registry_of_the_bundle_has_its_file() -> None:
    state = ContainerdPhase().desired(make_context(make_site({})), "n1")
    names = [file.path.split("/")[4] for file in state.files if file.path.endswith("hosts.toml")]
    assert names == ["docker.io", "registry.k8s.io"]


def test_a_site_with_one_depot_asks_that_one() -> None:
    site = make_site({"hosts": {"n2": {"parts": ["worker"]}, "n3": {"parts": ["worker"]}}})
    state = ContainerdPhase().desired(make_context(site), "n3")
    (file,) = (file for file in state.files if "certs.d/docker.io" in file.path)
    found = tomllib.loads(file.content or "")
    assert found["server"] == "https://192.0.2.1:5000/v2/docker.io"
    assert "host" not in found


def test_a_machine_asks_its_own_depot_first_and_all_know_every_depot() -> None:
    site = make_site({})
    asked = {host: depots_for(site, host) for host in site.hosts}
    assert [asked[host][0] for host in ("n1", "n2", "n3")] == [
        f"https://192.0.2.{number}:5000" for number in (1, 2, 3)
    ]
    assert all(sorted(depots) == sorted(asked["n1"]) for depots in asked.values())


def test_adding_a_worker_changes_no_other_machine() -> None:
    before = make_site({})
    after = make_site({"hosts": {"n5": {"address": "192.0.2.5"}}})
    phase = ContainerdPhase()
    for host in before.hosts:
        assert phase.variables(make_context(before), host) == phase.variables(
            make_context(after), host
        )


def test_the_unit_has_upstreams_limits_and_the_sites_changes() -> None:
    unit = "/etc/systemd/system/containerd.service"
    assert "OOMScoreAdjust=-999\n" in content(unit)
    assert "LimitNPROC=infinity\n" in content(unit)
    changed = content(
        unit, containerd={"service": {"OOMScoreAdjust": None, "LimitNOFILE": "20000"}}
    )
    assert "OOMScoreAdjust" not in changed
    assert "LimitNOFILE=20000\n" in changed
    assert "KillMode=process\n" in changed


def test_only_what_containerd_reads_at_its_start_restarts_it() -> None:
    state = ContainerdPhase().desired(make_context(make_site({})), "n1")
    restarting = {file.path for file in state.files if file.restart}
    assert restarting == {
        "/usr/local/bin/containerd",
        "/etc/containerd/config.toml",
        "/etc/systemd/system/containerd.service",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": {"version": 2}}, "version is 2"),
        ({"config": {"root": [None]}}, "cannot be written as TOML"),
        ({"service": {"ExecStart": "a\nb"}}, "pattern"),
        ({"service": {"no such": "1"}}, "pattern"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContainerdSettings.model_validate(settings)


def test_every_plugin_of_the_list_is_a_file_of_the_bundle() -> None:
    state = ContainerdPhase().desired(make_context(make_site({})), "n1")
    plugins = {file.path: file for file in state.files if file.path.startswith("/opt/cni/bin/")}
    assert len(plugins) == 18
    wanted = EveryBundle().sha256("cni-loopback", "amd64")
    assert plugins["/opt/cni/bin/loopback"].sha256 == wanted
