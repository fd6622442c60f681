"""Etcd's members, as a machine's own member tells of them."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from provision.adapters.etcd import EtcdReader
from provision.adapters.onmachine.etcd import members
from provision.conditions import EtcdMember
from provision.errors import UnreachableError
from provision.facts import MachineFacts, Query
from provision.pki import new_authority, new_certificate, new_key
from provision.secretspec import Authority, Certificate


@dataclass
class Member:
    """One member that is served, and what it says."""

    pki: Path
    url: str = ""
    listed: list[dict[str, Any]] = field(default_factory=list)
    health: dict[str, str] = field(default_factory=lambda: {"health": "true"})


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    """A member that lets nobody in without a certificate of its authority."""
    now = datetime.now(UTC)
    authority_key, key = new_key(), new_key()
    authority = new_authority(Authority("etcd", "etcd CA"), authority_key, now)
    spec = Certificate("etcd", "etcd", "etcd", names=("127.0.0.1",), usages=("server", "client"))
    certificate = new_certificate(spec, key, authority, authority_key, now)
    (tmp_path / "ca.crt").write_bytes(authority)
    (tmp_path / "healthcheck-client.crt").write_bytes(certificate)
    (tmp_path / "healthcheck-client.key").write_bytes(key)
    (tmp_path / "both.pem").write_bytes(key + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "both.pem")
    served = Member(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def _say(self, answer: Mapping[str, Any]) -> None:
            self.send_response(200 if answer.get("health") != "false" else 503)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def do_GET(self) -> None:
            assert self.path == "/health"
            self._say(served.health)

        def do_POST(self) -> None:
            assert self.path == "/v3/cluster/member/list"
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            assert json.loads(asked) == {"linearizable": True}
            self._say({"members": served.listed})

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as inherited
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        served.url = f"https://127.0.0.1:{server.server_port}"
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def test_every_member_with_its_health(member: Member) -> None:
    dead = "https://127.0.0.1:9"
    member.listed = [
        {"name": "n1", "clientURLs": [member.url]},
        {"name": "n2", "clientURLs": [dead], "isLearner": True},
        {"peerURLs": ["https://192.0.2.3:2380"]},
    ]
    assert members(member.pki, member.url) == {
        "members": [
            {"name": "n1", "learner": False, "healthy": True, "detail": ""},
            {"name": "n2", "learner": True, "healthy": False, "detail": "connection refused"},
            {"name": "", "learner": False, "healthy": False, "detail": "it never started"},
        ]
    }


def test_a_member_that_says_itself_that_it_is_ill(member: Member) -> None:
    member.listed = [{"name": "n1", "clientURLs": [member.url]}]
    member.health = {"health": "false", "reason": "RAFT NO LEADER"}
    [told] = members(member.pki, member.url)["members"]
    assert (told["healthy"], told["detail"]) == (False, "RAFT NO LEADER")


def test_why_there_is_no_answer(member: Member, tmp_path: Path) -> None:
    assert members(member.pki, "https://127.0.0.1:9") == {"error": "connection refused"}
    assert members(member.pki, member.url) == {"error": "it lists no members"}
    assert members(tmp_path / "absent", member.url) == {"error": "no such file or directory"}


class Told:
    """Machines that answer as they are told."""

    def __init__(self, answers: Mapping[str, MachineFacts]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def read(self, queries: Mapping[str, Query]) -> dict[str, MachineFacts]:
        assert all(query.etcd for query in queries.values())
        self.asked += queries
        return {host: self.answers[host] for host in queries}

    def close(self) -> None:
        pass


def answered(name: str, etcd: Mapping[str, Any]) -> MachineFacts:
    return MachineFacts(name, {"etcd": etcd})


def test_the_first_that_answers_speaks_for_all() -> None:
    one = {"name": "n3", "learner": False, "healthy": True, "detail": ""}
    down = MachineFacts("n1", error=UnreachableError("n1 does not answer", found="timed out"))
    machines = Told(
        {
            "n1": down,
            "n2": answered("n2", {"error": "connection refused"}),
            "n3": answered("n3", {"members": [one]}),
            "n4": answered("n4", {"members": []}),
        }
    )
    reader = EtcdReader(machines)
    assert reader.members(["n1", "n2", "n3", "n4"]) == [EtcdMember("n3", False, True)]
    assert machines.asked == ["n1", "n2", "n3"]
    with pytest.raises(UnreachableError) as caught:
        reader.members(["n1", "n2"])
    assert caught.value.found == "n1: timed out; n2: connection refused"


def test_the_condition_to_wait_for() -> None:
    ill = {"name": "n1", "learner": False, "healthy": False, "detail": "no leader"}
    reader = EtcdReader(Told({"n1": answered("n1", {"members": [ill]})}))
    healthy = reader.conditions()["etcd members healthy"]
    given = {"members": ["n1"], "allowed": ["n1"]}
    assert healthy(given) == (False, "n1 is not healthy: no leader")
    # With a worker alone there is no member to be well, but there may be one too many.
    assert healthy({"members": [], "allowed": ["n1"]}) == (True, "")
