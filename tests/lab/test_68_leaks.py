"""No secret of any component is where it must not be, after all that the tests did before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import leaks

if TYPE_CHECKING:
    from tests.lab.machines import Lab
    from tests.lab.processes import ProcessWatch

pytestmark = pytest.mark.services


def test_no_secret_of_any_component_is_told(lab: Lab, watch: ProcessWatch) -> None:
    # Tests before had site files of their own.
    lab.provision("up", "--no-verify")
    values = leaks.of_the_store(lab)
    assert {
        "cert_manager/site-ca.key",
        "dns/key/acme",
        "postgresql/role/platform",
        "vault/admin-password",
        "vault/keys",
    } <= values.keys()
    in_cluster = leaks.of_the_cluster(lab)
    assert any("cert-manager/" in name for name in in_cluster)
    wanted = leaks.needles(values | in_cluster)

    events = lab.kubectl("get", "events", "--all-namespaces", "-o", "json")
    assert leaks.told(wanted, events, "events of the cluster") == []
    for command in (("plan",), ("plan", "--json"), ("status", "--json"), ("inventory",)):
        printed = lab.provision(*command)
        assert leaks.told(wanted, printed, f"provision {' '.join(command)}") == []
    assert leaks.leaks(lab, wanted, watch) == []
    for name in lab.machines:
        assert leaks.readable_by_anyone(lab, name, wanted) == []
