"""Components whose keys are taken out of the site file: named, left, refused, taken off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from provision.errors import ExitCode
from provision.phase import AnsiblePhase
from provision.plan import phases_of

if TYPE_CHECKING:
    from pathlib import Path

    from provision.phase import Context
    from tests.lab.machines import Lab

pytestmark = pytest.mark.services

UNWANTED = ("local_storage", "metrics_server")


def test_what_is_not_wanted_any_more_goes_when_it_is_said_so(lab: Lab, tmp_path: Path) -> None:
    lab.provision("up", "--no-verify")
    lab.machines["n2"].run("mkdir -p /var/lib/local-storage/kept")
    without = lab.changed(tmp_path, lambda site: [site.pop(name) for name in UNWANTED])

    without.provision("up", "--no-verify")
    planned = json.loads(without.provision("plan", "--json"))
    assert set(planned["leftovers"]) == set(UNWANTED)
    assert planned["leftovers"]["local_storage"]["data"] == {"volumes": ["n2"]}

    refused = without.provision("up", "--prune", expect=ExitCode.FINDINGS)
    assert "local_storage is not in the site file any more" in refused
    assert "--prune --with-data local_storage" in refused
    without.kubectl("-n", "local-storage", "get", "deployment", "local-path-provisioner")

    without.provision("up", "--prune", "--with-data", "local_storage")
    spaces = without.kubectl("get", "namespaces", "-o", "name")
    assert "local-storage" not in spaces
    assert json.loads(without.provision("plan", "--json"))["leftovers"] == {}
    assert without.machines["n2"].run("ls /var/lib/local-storage") == "kept\n"

    lab.machines["n2"].run("rmdir /var/lib/local-storage/kept")
    lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)


@pytest.mark.soak
def test_all_that_is_optional_goes_and_comes_back(
    lab: Lab, context: Context, tmp_path: Path
) -> None:
    optional = [phase for phase in phases_of(context.site) if phase.settings.optional]
    names = {phase.name for phase in optional}
    lab.provision("up", "--no-verify")

    def without(site: dict[str, Any]) -> None:
        for name in names:
            site.pop(name, None)
        # Pods reached Vault there.
        site["network"].pop("egress")

    bare = lab.changed(tmp_path, without)

    leftovers = json.loads(bare.provision("plan", "--json", expect=ExitCode.CHANGES))["leftovers"]
    assert set(leftovers) == names
    full = [name for name, leftover in leftovers.items() if leftover["data"]]
    assert "vault" in full
    refused = bare.provision("up", "--prune", expect=ExitCode.FINDINGS)
    for name in full:
        assert f"--with-data {name}" in refused

    bare.provision("up", "--prune", *(word for name in full for word in ("--with-data", name)))
    assert json.loads(bare.provision("plan", "--json", expect=0))["leftovers"] == {}
    bare.provision("status")
    for phase in optional:
        assert isinstance(phase, AnsiblePhase)
        for host in phase.hosts(context):
            files = phase.desired(context, host).files
            # What a package brought is put back as it was.
            paths = [file.path for file in files if not file.restore]
            there = lab.machines[host].run(f"ls -d {' '.join(paths)} / 2>/dev/null || true")
            assert there == "/\n", (phase.name, host)

    lab.provision("up")
    lab.provision("plan", expect=0)
