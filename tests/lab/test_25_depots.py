"""The depots: any one may be down, none gives out bytes that are not the bundle's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from provision.depot_content import FOLDER
from provision.depot_tree import blob_path
from tests.lab.machines import CommandError

if TYPE_CHECKING:
    from provision.bundle import Bundle
    from provision.phase import Context
    from tests.lab.machines import Lab, Machine

VICTIM = "n2"
IMAGE = "docker.io/library/busybox:1.35"
"""An image that no system pod runs, so that it can be dropped and pulled again."""
CTR = "ctr --namespace provision-test images"


@pytest.fixture
def layer(context: Context) -> str:
    """sha256 of the image's largest blob."""
    bundle: Bundle = context.bundle  # type: ignore[assignment]
    blobs = bundle.image(IMAGE).blobs
    return max(blobs, key=lambda sha256: bundle.lock.blobs[sha256])


@pytest.fixture
def in_depot(layer: str) -> str:
    """Where a depot keeps that blob."""
    return f"{FOLDER}/{blob_path(layer)}"


@pytest.fixture(autouse=True)
def no_image_left(lab: Lab) -> Iterator[None]:
    yield
    for machine in lab.machines.values():
        drop(machine)


def drop(machine: Machine) -> None:
    """Remove the image under all its names, so that a pull has to fetch every blob."""
    for namespace in ("k8s.io", "provision-test"):
        images = f"ctr --namespace {namespace} images"
        machine.run(
            f"digest=$({images} list | awk '$1 == \"{IMAGE}\" {{print $3}}');"
            f' [ -z "$digest" ] || {images} list | awk -v digest="$digest"'
            f" '$3 == digest {{print $1}}' | xargs {images} remove --sync"
        )


def pull(machine: Machine) -> None:
    """Pull the image by its upstream name, through the machine's mirrors."""
    drop(machine)
    machine.run(f"{CTR} pull --hosts-dir /etc/containerd/certs.d {IMAGE} 2>&1")
    assert "complete" in machine.run(f"{CTR} check name=={IMAGE}")


@pytest.mark.parametrize("stopped", ["n1", "n2", "n3"])
def test_pulling_goes_on_with_any_one_depot_stopped(lab: Lab, stopped: str) -> None:
    lab.machines[stopped].run("systemctl stop provision-depot.service")
    try:
        for machine in lab.machines.values():
            pull(machine)
    finally:
        lab.machines[stopped].run("systemctl start provision-depot.service")


def test_a_missing_blob_is_named_and_brought_alone(lab: Lab, layer: str, in_depot: str) -> None:
    others = {name: depot_times(machine) for name, machine in lab.machines.items()}
    lab.machines[VICTIM].run(f"rm {in_depot}")
    assert planned(lab) == {"depot": {VICTIM: [blob_reason(layer, "missing")]}}
    lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)
    for name, machine in lab.machines.items():
        changed = {
            path for path, time in depot_times(machine).items() if others[name][path] != time
        }
        assert changed == ({in_depot} if name == VICTIM else set())


def test_a_corrupted_blob_is_refused_named_and_repaired(
    lab: Lab, layer: str, in_depot: str
) -> None:
    machine = lab.machines[VICTIM]
    machine.run(
        f"chmod u+w {in_depot} && printf damage"
        f" | dd of={in_depot} bs=1 seek=100 conv=notrunc status=none && chmod u-w {in_depot}"
    )
    with pytest.raises(CommandError, match=f"{VICTIM}: (?s:.*)expected sha256:{layer}"):
        pull(machine)
    assert planned(lab) == {"depot": {VICTIM: [blob_reason(layer, "damaged")]}}
    lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)
    pull(machine)


def test_nothing_can_be_pushed(lab: Lab) -> None:
    for machine in lab.machines.values():
        url = f"https://{machine.address}:5000/v2/provision/files/blobs/uploads/"
        told = machine.run(
            "python3 -c 'import ssl, urllib.request as u;"
            ' c = ssl.create_default_context(cafile="/etc/provision/ca.crt");'
            f' u.urlopen(u.Request("{url}", method="POST"), context=c)\' 2>&1 | tail -1'
        )
        assert "405" in told


def test_a_restart_of_containerd_leaves_containers_running(lab: Lab) -> None:
    machine = lab.machines[VICTIM]
    listed = "ctr --namespace k8s.io tasks list 2>&1 | grep RUNNING | sort"
    process = "systemctl show --property=MainPID containerd.service"
    before, daemon = machine.run(listed), machine.run(process)
    machine.run("echo '# edited by hand' >> /etc/containerd/config.toml")
    (reason,) = planned(lab)["containerd"][VICTIM]
    assert reason.startswith("file /etc/containerd/config.toml is changed")
    lab.provision("up", "--no-verify")
    assert machine.run(process) != daemon
    assert before
    assert machine.run(listed) == before, "the same processes"


def planned(lab: Lab) -> dict[str, dict[str, list[str]]]:
    """Reasons by phase and machine of a plan that has something to do."""
    phases = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    return {name: item["reasons"] for name, item in phases.items() if item["decision"] == "run"}


def blob_reason(sha256: str, found: str) -> str:
    return f"blob sha256:{sha256} is {found}, wanted present in {FOLDER}"


def depot_times(machine: Machine) -> dict[str, str]:
    """When the status of each file of a depot's content last changed."""
    printed = machine.run(f"find {FOLDER} -name data -printf '%C@ %p\\n'")
    pairs = (line.split(" ", 1) for line in printed.splitlines())
    return {path: time for time, path in pairs}
