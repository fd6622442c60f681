"""Asking name servers, over real sockets."""

from __future__ import annotations

import socket

from provision.adapters.onmachine.dns import ask
from tests.support.nameserver import name_server

RECORDS = {
    "api.site.test. A": (300, ["192.0.2.100", "192.0.2.101"]),
    "api.site.test. AAAA": (60, ["2001:db8::100"]),
    "text.site.test. TXT": (5, ["one two"]),
    "other.site.test. CNAME": (9, ["api.site.test."]),
    "site.test. NS": (7, ["ns1.site.test.", "ns2.site.test."]),
}


def test_values_of_every_type() -> None:
    with name_server(RECORDS) as server:
        questions = [f"{server.socket} {key}" for key in RECORDS]
        found = ask(questions)
    for question, (ttl, values) in zip(questions, RECORDS.values(), strict=True):
        assert (found[question]["status"], found[question]["ttl"]) == ("NOERROR", ttl)
        assert found[question]["values"] == values


def test_another_name_a_missing_type_and_a_missing_name() -> None:
    with name_server(RECORDS) as server:
        other, text, none = (
            f"{server.socket} {key}"
            for key in ("other.site.test. A", "text.site.test. A", "none.site.test. A")
        )
        found = ask([other, text, none])
    assert (found[other]["values"], found[other]["alias"]) == ([], "api.site.test.")
    assert (found[text]["status"], found[text]["values"]) == ("NOERROR", [])
    assert found[none]["status"] == "NXDOMAIN"


def test_a_lost_datagram_is_sent_again_and_a_long_answer_comes_over_tcp() -> None:
    with name_server(RECORDS) as server:
        question = f"{server.socket} api.site.test. A"
        server.truncated = True
        assert ask([question])[question]["values"] == ["192.0.2.100", "192.0.2.101"]
        server.lost = 1
        assert ask([question])[question]["values"] == ["192.0.2.100", "192.0.2.101"]


def test_servers_of_a_zone_below_are_told_beside_the_answer() -> None:
    with name_server(RECORDS) as server:
        server.referral = True
        below, address = (f"{server.socket} {key}" for key in ("site.test. NS", "api.site.test. A"))
        found = ask([below, address])
    assert found[below]["values"] == ["ns1.site.test.", "ns2.site.test."]
    assert found[address]["values"] == []


def test_where_nobody_answers_the_reason_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
    found = ask([f"{closed} api.site.test. A"])
    assert found[f"{closed} api.site.test. A"] == {
        "status": "connection refused",
        "values": [],
        "ttl": 0,
        "alias": "",
    }


def test_nonsense_is_no_answer() -> None:
    with name_server({}) as server:
        server.nonsense = True
        question = f"{server.socket} api.site.test. A"
        assert ask([question])[question]["status"] == "an answer that is no DNS"
