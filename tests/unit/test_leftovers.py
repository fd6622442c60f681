"""Components that machines remember and the site file does not name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provision import leftovers
from provision.errors import FindingsError
from provision.facts import ClusterFacts, Facts, MachineFacts
from provision.phases.local_storage import LocalStorageSettings
from provision.plan import Plan, discover, render
from provision.state import memory_of
from tests.support.cases import make_context, make_site

PHASES = {phase.name: phase for phase in discover()}


def facts(texts: dict[str, dict[str, str]]) -> Facts:
    """What the machines n1 to n3 remember, as text by component."""
    machines = {}
    for host in ("n1", "n2", "n3"):
        known = {memory_of(name): text for name, text in texts.get(host, {}).items()}
        asked = leftovers.query(make_site({}), discover()).texts
        machines[host] = MachineFacts(host, {"texts": {**dict.fromkeys(asked), **known}})
    return Facts(machines, ClusterFacts(reachable=False))


def remembered(**settings: Any) -> str:
    site = make_site({"local_storage": settings})
    return json.dumps(PHASES["local_storage"].remembered(site)["local_storage"])


def test_only_what_the_site_has_not_is_asked_for() -> None:
    asked = leftovers.query(make_site({"vault": {}}), discover()).texts
    assert memory_of("local_storage") in asked
    assert not {memory_of("vault"), memory_of("kubernetes")} & asked


def test_what_is_left_over_comes_off_in_reverse_order() -> None:
    told = facts(
        {
            "n1": {"local_storage": remembered(path="/data/volumes"), "vault": "{}"},
            "n3": {"local_storage": remembered(path="/data/volumes")},
        }
    )
    found = leftovers.leftovers(make_site({}), discover(), told)
    assert [(item.name, item.hosts) for item in found] == [
        ("local_storage", ["n1", "n3"]),
        ("vault", ["n1"]),
    ]
    site = leftovers.with_leftover(make_site({}), PHASES["local_storage"], found[0])
    assert site.settings(LocalStorageSettings).path == "/data/volumes"


def test_data_is_looked_for_by_the_settings_it_was_made_with(tmp_path: Path) -> None:
    phase = PHASES["local_storage"]
    told = facts({"n1": {"local_storage": remembered(path="/data/volumes")}})
    (found,) = leftovers.leftovers(make_site({}), discover(), told)
    context = make_context(leftovers.with_leftover(make_site({}), phase, found), tmp_path)
    queries = leftovers.data_queries(context, phase)
    # Also where nothing was remembered, or nothing answered: a silent machine may hold data.
    assert set(queries) == {"n1", "n2", "n3", "n4"}
    assert {query.globs for query in queries.values()} == {frozenset({"/data/volumes/*"})}
    empty = MachineFacts("n1", {"globs": {"/data/volumes/*": []}})
    full = MachineFacts("n1", {"globs": {"/data/volumes/*": ["/data/volumes/pvc-1"]}})
    silent = MachineFacts("n1", error=FindingsError("n1 does not answer"))
    assert leftovers.data_found(context, phase, {"n1": empty}) == {}
    for machine in (full, silent):
        assert leftovers.data_found(context, phase, {"n1": machine}) == {"volumes": ["n1"]}


def test_what_holds_data_must_be_named() -> None:
    kept = leftovers.Leftover("vault", {}, ["n1"], {"all that is kept in Vault": ["n1"]})
    empty = leftovers.Leftover("dns", {}, ["n1"])
    assert kept.row().endswith("any more, and on n1; it holds all that is kept in Vault on n1")
    assert list(leftovers.refusals([kept, empty], [])) == [kept.row()]
    assert list(leftovers.refusals([kept, empty], ["vault"])) == []
    shown = list(render(Plan({}, {}, [kept, empty])))
    assert shown[0].endswith("to take it off: provision up --prune --with-data vault")
    assert shown[1].endswith("to take it off: provision up --prune")


@pytest.mark.parametrize(
    "text", ["{torn", "[]", '{"path": 7}', '{"unknown": 1}', '{"machines": {"gone": {}}}']
)
def test_what_cannot_be_read_says_how_to_go_on(text: str) -> None:
    told = facts({"n2": {"local_storage": text}})

    def put_back() -> None:
        (found,) = leftovers.leftovers(make_site({}), discover(), told)
        leftovers.with_leftover(make_site({}), PHASES["local_storage"], found)

    with pytest.raises(FindingsError) as caught:
        put_back()
    assert caught.value.where == f"n2: {memory_of('local_storage')}"
    assert "back into the site file" in caught.value.fix
