"""A machine that reaches nothing but its site becomes a cluster; its packages come from the bundle.

The machine, its network and the bundle are the test's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provision.bundle import Bundle
from provision.paths import cache_path, state_path
from tests.lab.machines import ROOT, CommandError, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.services

NETWORK = "10.199.49"
OUTSIDE = "http://deb.debian.org/debian/dists/stable/Release"
ASK = f"wget --quiet --tries=1 --timeout=10 --output-document=/dev/null {OUTSIDE}"
LEFT = "cd /var/lib/apt && find lists /etc/apt -type f -exec sha256sum {} + | sort"
"""Prints what apt on the machine knows by itself."""


@pytest.fixture(scope="module", params=["12", "13"])
def remote(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """One machine without a way out, of each release."""
    folder = tmp_path_factory.mktemp("remote")
    state = folder / "state"
    shutil.copytree(state_path(".bundle-keys"), state / "provision" / ".bundle-keys")
    data = yaml.safe_load((ROOT / "inventory" / "lab" / "site.yaml").read_text())
    data["name"] = "remote"
    data["connection"] |= {"key": "keys/id_ed25519", "known_hosts": "keys/known_hosts"}
    data["hosts"] = {"n1": {"address": f"{NETWORK}.11", "parts": ["control_plane", "worker"]}}
    data["network"]["machines"] = f"{NETWORK}.0/24"
    data["api_endpoint"]["address"] = f"{NETWORK}.100"
    data["os_packages"] = "bundle"
    site_file = folder / "site.yaml"
    site_file.write_text(yaml.safe_dump(data, sort_keys=False))
    (folder / "keys").mkdir()
    environment = {"PROVISION_SITE_FILE": str(site_file), "PROVISION_LAB_DEBIAN": request.param}
    run("lab/remove", "remote")
    run("vagrant", "up", **environment)
    rule = ["FORWARD", "-s", f"{NETWORK}.0/24", "!", "-d", f"{NETWORK}.0/24", "-j", "REJECT"]
    lab = Lab(site_file, state)
    lab.machines["n1"].run(ASK)
    run("iptables", "-I", *rule)
    yield lab
    run("iptables", "-D", *rule)
    run("lab/remove", "remote")


@pytest.fixture(scope="module", autouse=True)
def bundle() -> Iterator[Bundle]:
    """A bundle with packages for both releases, which goes afterwards."""
    run(".venv/bin/provision", "bundle", "build", "--os-packages", "12", "--os-packages", "13")
    folder = Bundle.find(cache_path() / "bundles", "1.36.3", os_packages=True)
    yield Bundle.open(folder)
    shutil.rmtree(folder)


def run(*command: str, **environment: str) -> None:
    """Run a command on this machine."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def test_a_bundle_without_packages_is_refused(remote: Lab, bundle: Bundle, tmp_path: Path) -> None:
    def without(data: dict[str, Any]) -> None:
        folder = Bundle.find(cache_path() / "bundles", "1.36.3")
        data["bundle"] = {"path": str(folder)}

    assert bundle.os_packages
    printed = remote.changed(tmp_path, without).provision("check", expect=5)
    release = remote.machines["n1"].run(". /etc/os-release; echo $VERSION_ID").strip()
    assert f"the bundle does not hold the Debian packages that Debian {release} needs" in printed
    fix = f"provision bundle build --kubernetes 1.36.3 --os-packages {release}"
    assert fix in " ".join(printed.split())


def test_a_machine_without_a_way_out_becomes_a_cluster(remote: Lab) -> None:
    machine = remote.machines["n1"]
    with pytest.raises(CommandError):
        machine.run(ASK)
    before = machine.run(LEFT)
    assert "package chrony is not installed, wanted installed" in remote.provision("plan", expect=2)
    remote.provision("up", "--no-verify")
    remote.provision("plan")
    assert " Ready " in remote.kubectl("get", "nodes", "--no-headers")
    assert machine.run(LEFT) == before
    machine.run("test ! -e /var/lib/provision/packages")
    with pytest.raises(CommandError):
        machine.run(ASK)


def test_a_package_that_was_purged_comes_back(remote: Lab) -> None:
    machine = remote.machines["n1"]
    machine.run("dpkg --purge socat")
    printed = remote.provision("plan", expect=2)
    assert "package socat is not installed, wanted installed" in printed
    remote.provision("up", "--no-verify")
    machine.run("socat -V")
    remote.provision("plan")
