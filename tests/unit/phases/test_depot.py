"""What the depot phase decides, needs and tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.depot_content import FOLDER, STAMP, ContentDifferences, content_query
from provision.depot_tree import DepotTree, blob_path
from provision.errors import UnreachableError
from provision.facts import Facts, MachineFacts
from provision.phase import Context, Run, Skip
from provision.phases.depot import DepotPhase, DepotSettings
from provision.secretspec import Certificate
from tests.support.cases import EverySecret, Machine, make_site, overlay
from tests.support.depot import DepotBundle, complete, sha256

CASES = Path(__file__).parents[2] / "cases" / "depot"
BLOBS = [b"one", b"two"]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(make_site({}), DepotBundle(tmp_path / "bundle", BLOBS), EverySecret())


def cases() -> list[Any]:
    return [
        pytest.param(case, id=case["name"])
        for path in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load(path.read_text("utf-8"))
    ]


@pytest.mark.parametrize("case", cases())
def test_decision(case: dict[str, Any], context: Context) -> None:
    case = named(case, context)
    decision = DepotPhase().decide(context, read_all(context, case))
    if "skip" in case:
        assert decision == Skip(case["skip"])
    else:
        assert isinstance(decision, Run)
        assert {host: list(why) for host, why in decision.reasons.items()} == case["reasons"]


def named(case: dict[str, Any], context: Context) -> dict[str, Any]:
    """The case with paths and digests in the place of their names."""
    tree = DepotTree.of(context.bundle)
    text = json.dumps(case)
    globs = sorted(content_query(tree, FOLDER).globs)
    names = {"BUNDLE": tree.bundle, "STAMP": f"{FOLDER}/{STAMP}", "BLOBS": globs[0]}
    for number, content in enumerate(BLOBS, 1):
        digest = sha256(content)
        names[f"DIGEST{number}"] = digest
        names[f"BLOB{number}"] = f"{FOLDER}/{blob_path(digest)}"
        names[f"LINK{number}"] = f"{FOLDER}/{list(tree.links)[number - 1]}"
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    filled: dict[str, Any] = json.loads(text)
    return filled


def read_all(context: Context, case: dict[str, Any]) -> Facts:
    """The facts of a case."""
    phase = DepotPhase()
    machines = {}
    for host in phase.hosts(context):
        if host in case.get("unreachable", ()):
            machines[host] = MachineFacts(host, error=UnreachableError("no route", where=host))
            continue
        state = Machine(phase.query(context, host), phase.desired(context, host)).as_wanted()
        whole = overlay(state, complete(DepotTree.of(context.bundle), FOLDER))
        observed = overlay(whole, case.get("content", {}).get(host, {}))
        machines[host] = MachineFacts(host, observed)
    return Facts(machines)


def test_many_missing_blobs_are_told_in_one_line() -> None:
    tree = DepotTree("sha256:b", {f"{number:064x}": 2**20 for number in range(40)}, {})
    found = ContentDifferences(missing=tuple(tree.blobs))
    (difference,) = found.listed(tree, FOLDER)
    assert str(difference) == (
        f"depot {FOLDER} is without 40 of its 40 blobs (40 MiB, missing), wanted complete"
    )


def test_only_control_plane_machines_have_depots(context: Context) -> None:
    assert DepotPhase().hosts(context) == ("n1", "n2", "n3")
    assert DepotPhase().common_variables(context) == {
        "provision_depots": [f"https://192.0.2.{number}:5000" for number in (1, 2, 3)]
    }


def test_an_ipv6_address_is_bracketed(context: Context) -> None:
    site = make_site(
        {
            "network": {"machines": ["192.0.2.0/24", "2001:db8::/64"]},
            "hosts": {"n1": {"address": "2001:db8::1"}},
            "depot": {"port": 5443},
        }
    )
    phase = DepotPhase()
    assert phase.variables(replace(context, site=site), "n1")["depot_listen"] == (
        "[2001:db8::1]:5443"
    )
    assert phase.openings(site)[0].ports == "5443"


def test_each_depot_has_a_certificate_for_its_name_and_address(context: Context) -> None:
    first = DepotPhase().secrets(context.site)[0]
    assert first == Certificate(
        "depot/n1", authority="site-ca", common_name="n1", names=("n1", "192.0.2.1")
    )


def test_the_registry_is_never_writable(context: Context) -> None:
    files = {file.path: file for file in DepotPhase().desired(context, "n1").files}
    config = yaml.safe_load(files["/etc/provision/depot/config.yml"].content or "")
    assert config["storage"]["maintenance"]["readonly"] == {"enabled": True}
    assert config["http"]["addr"] == "192.0.2.1:5000"
    assert files["/etc/provision/depot/tls.key"].mode == "0600"


@pytest.mark.parametrize("port", [0, 80, 65536])
def test_a_port_that_the_registry_may_not_open_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        DepotSettings(port=port)
