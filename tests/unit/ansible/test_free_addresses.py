"""Which addresses the module ``free_addresses`` looks at, and who answers on this machine."""

from __future__ import annotations

from ipaddress import ip_address

from provision.ansible.plugins.module_utils.free_addresses.probe import answering, expanded


def test_ranges_networks_and_single_addresses() -> None:
    found = expanded(["192.0.2.8-192.0.2.10", "192.0.2.64/31", "2001:db8::1/128"])
    assert list(map(str, found)) == [
        "192.0.2.8",
        "192.0.2.9",
        "192.0.2.10",
        "192.0.2.64",
        "192.0.2.65",
        "2001:db8::1",
    ]


def test_nobody_is_asked_for_nothing() -> None:
    assert answering([]) == {}
    assert answering([ip_address("127.0.0.2")]) == {}, "the loopback has no neighbours"
