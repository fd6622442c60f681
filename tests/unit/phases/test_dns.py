"""What the dns phase refuses, offers and configures."""

from __future__ import annotations

from typing import Any

import pytest

from provision.dns import records
from provision.dns.records import Record
from provision.kubeadm.clusterdns import corefile
from provision.phases.dns import DnsPhase
from provision.phases.kubernetes import KubernetesPhase
from tests.support.cases import make_context, make_site

PHASE = DnsPhase()
ZONE = "site.example.org"


def problems(**settings: Any) -> list[str]:
    return list(PHASE.validate_site(make_site({"dns": {"zone": ZONE, **settings}})))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"hosts": ["n1", "n9"]}, "dns.hosts names n9, which is no machine of the site"),
        ({"hosts": ["n1", "n1"]}, "dns.hosts names a machine twice"),
        (
            {"listen": {"n9": ["192.0.2.9"]}},
            "dns.listen.n9 names n9, which is no machine of the site",
        ),
        (
            {"mode": "forward"},
            (
                "dns.servers is missing: dns.mode is forward, and the zone site.example.org has no"
                " servers to forward to"
            ),
        ),
        (
            {"servers": ["192.0.2.250"]},
            "dns.servers means nothing where dns.mode is serve; dns.mode: forward?",
        ),
        (
            {"mode": "check", "hosts": ["n1"]},
            "dns.hosts means nothing where dns.mode is check: no machine here serves",
        ),
        (
            {"update_keys": {"provision": {}}},
            "dns.update_keys.provision is the name of a key that provision itself uses",
        ),
        (
            {"zone": "svc.cluster.local"},
            (
                "dns.zone svc.cluster.local is cluster.local or in it, which Kubernetes itself"
                " serves"
            ),
        ),
        (
            {"zones": {ZONE: {}}},
            "dns.zones.site.example.org is dns.zone already; its records stand in dns.records",
        ),
        (
            {"records": {"data": {"A": "2001:db8::1"}}},
            "dns.records.data.A is 2001:db8::1; it must be an IPv4 address",
        ),
        (
            {"records": {"www": {"CNAME": "data"}}},
            "dns.records.www.CNAME is data; it must be a whole name with a dot at its end",
        ),
        (
            {"zones": {"other.test": {"t": {"TXT": 'a"b'}}}},
            (
                'dns.zones.other.test.t.TXT is a"b; it must be at most 255 ASCII characters without'
                " quotes and backslashes"
            ),
        ),
        (
            {"records": {"www": {"CNAME": "a.test.", "A": "192.0.2.1"}}},
            "dns.records.www.CNAME must stand alone: another name has no other records",
        ),
        (
            {"records": {"@": {"NS": "a.test."}}},
            (
                "dns.records.@.NS cannot be set: site.example.org itself has its servers and no"
                " other name"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], problem: str) -> None:
    assert problems(**settings) == [problem]


def test_the_first_two_control_plane_machines_serve() -> None:
    site = make_site({"dns": {"zone": ZONE}})
    assert problems() == []
    assert PHASE.hosts(make_context(site)) == ("n1", "n2")
    assert {(item.ports, item.protocol, item.on) for item in PHASE.openings(site)} == {
        ("53", "udp", ("n1", "n2")),
        ("53", "tcp", ("n1", "n2")),
    }
    opening = PHASE.openings(site)[0]
    assert opening.is_on("n2", control_plane=True)
    assert not opening.is_on("n3", control_plane=True)


def test_records_of_components_and_of_the_site_file() -> None:
    site = make_site(
        {
            "dns": {
                "zone": ZONE,
                "records": {"@": {"A": "192.0.2.200"}, "v6": {"AAAA": ["2001:db8::1"]}},
                "zones": {"other.test": {}},
            }
        }
    )
    found = {
        record.key: record.values for listed in PHASE.records(site).values() for record in listed
    }
    servers = ("ns1.site.example.org.", "ns2.site.example.org.")
    assert found == {
        "api.site.example.org. A": ("192.0.2.100",),
        "site.example.org. A": ("192.0.2.200",),
        "v6.site.example.org. AAAA": ("2001:db8::1",),
        "site.example.org. NS": servers,
        "ns1.site.example.org. A": ("192.0.2.1",),
        "ns2.site.example.org. A": ("192.0.2.2",),
        "other.test. NS": servers,
    }
    given = make_site({"dns": {"zone": ZONE, "records": {"api": {"A": "192.0.2.9"}}}})
    assert Record("api.site.example.org.", "A", ("192.0.2.9",), 300) in PHASE.records(given)[ZONE]


def test_keys_are_secrets_and_may_change_what_they_are_for() -> None:
    site = make_site(
        {"dns": {"zone": ZONE, "update_keys": {"web": {"types": [], "names": ["www", "@"]}}}}
    )
    assert {spec.name for spec in PHASE.secrets(site)} == {
        "dns/key/provision",
        "dns/key/transfer",
        "dns/key/web",
        "dns/keys.conf",
        "dns/provision.key",
        "dns/transfer.key",
    }
    files = {file.path: file for file in PHASE.desired(make_context(site), "n2").files}
    keys = files["/etc/knot/provision-keys.conf"]
    assert (keys.source, keys.mode, keys.group) == ("secret", "0640", "knot")
    config = files["/etc/knot/knot.conf"].content or ""
    assert "update-owner-name: [www.site.example.org., site.example.org.]" in config
    assert "master: [n1]" in config
    assert "/etc/knot/provision-update.key" not in files, "only the first one takes changes"


def test_the_apis_certificate_holds_its_names() -> None:
    records = {"kubernetes": {"A": ["192.0.2.100"]}, "data": {"A": "192.0.2.200"}}
    site = make_site({"dns": {"zone": ZONE, "records": records}})
    names = ["api.site.example.org", "kubernetes.site.example.org"]
    assert PHASE.api_names(site) == names
    given = KubernetesPhase().variables(make_context(site), "n1")
    assert set(names) <= set(given["kubernetes_cluster_configuration"]["apiServer"]["certSANs"])


def test_cluster_dns_asks_the_servers() -> None:
    forward = make_site({"dns": {"zone": ZONE, "mode": "forward", "servers": ["2001:db8::53"]}})
    assert PHASE.openings(forward) == () == PHASE.secrets(forward)
    stanza = corefile(PHASE.forwards(forward)).partition("site.example.org:53")[2]
    assert "forward . [2001:db8::53]:53\n" in stanza
    assert PHASE.forwards(make_site({"dns": {"zone": ZONE, "mode": "check"}})) == ()
    [served] = PHASE.forwards(make_site({"dns": {"zone": ZONE, "port": 5300}}))
    assert served.servers == ("192.0.2.1:5300", "192.0.2.2:5300")


def answer(*values: str, alias: str = "") -> dict[str, Any]:
    return {"status": "NOERROR", "values": list(values), "ttl": 300, "alias": alias}


def test_a_record_is_exchanged_as_a_whole() -> None:
    record = Record("t.z.", "TXT", ("a b", "c"), 300)
    assert list(records.update("z.", record, answer("x"))) == [
        "del t.z. CNAME",
        "del t.z. TXT",
        'add t.z. 300 TXT "a b"',
        'add t.z. 300 TXT "c"',
    ]
    other = Record("w.z.", "CNAME", ("t.z.",), 300)
    assert list(records.update("z.", other, answer())) == [
        "del w.z.",
        "del w.z. CNAME",
        "add w.z. 300 CNAME t.z.",
    ]


def test_a_zone_is_never_without_servers() -> None:
    record = Record("z.", "NS", ("ns1.z.",), 300)
    assert list(records.update("z.", record, answer("old.", "ns1.z."))) == [
        "add z. 300 NS ns1.z.",
        "del z. NS old.",
    ]


def test_what_was_kept_once_goes_unless_its_zone_is_not_ours_any_more() -> None:
    kept = '["a.z. A", "b.z. A", "b.y. A"]'
    assert records.surplus(kept, [Record("a.z.", "A", ("192.0.2.1",), 1)], ["z."]) == ["b.z. A"]
    assert records.surplus(None, [], ["z."]) == []
    assert records.surplus("torn", [], ["z."]) == []
