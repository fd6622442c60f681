"""Fetching a blob over real TLS from real (tiny) depots on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.ansible.plugins.module_utils.site_state.blobs import fetch
from provision.ansible.plugins.module_utils.site_state.failure import WorkError
from provision.secrets import SecretStore
from provision.secretspec import Authority, Certificate

CONTENT = b"a program" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
SPECS = (
    Authority("site-ca", "unit site CA"),
    Authority("other-ca", "another CA"),
    Certificate("depot", "site-ca", "depot", names=("127.0.0.1",)),
    Certificate("stranger", "other-ca", "depot", names=("127.0.0.1",)),
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = SecretStore(tmp_path_factory.mktemp("site") / "secrets", specs=SPECS, site="unit")
    store.ensure(SPECS)
    return store.path


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not believe the certificate ends the handshake, as it should."""


@contextmanager
def depot(certificates: Path, content: bytes | None, name: str = "depot") -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
    with QuietServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/v2/provision/files/blobs/sha256:{SHA}"
        server.shutdown()
        thread.join()


def fetched(urls: list[str], certificates: Path) -> bytes:
    target = io.BytesIO()
    fetch(urls, SHA, target, authority=str(certificates / "site-ca.crt"))
    return target.getvalue()


def test_the_blob_is_fetched(certificates: Path) -> None:
    with depot(certificates, CONTENT) as url:
        assert fetched([url], certificates) == CONTENT


def test_any_depot_that_has_it_whole_will_do(certificates: Path) -> None:
    with (
        depot(certificates, CONTENT[:-1] + b"!") as corrupted,
        depot(certificates, None) as missing,
        depot(certificates, CONTENT) as good,
    ):
        refused = "https://127.0.0.1:1/x"
        assert fetched([refused, corrupted, missing, good], certificates) == CONTENT


def test_a_corrupted_blob_is_refused_by_its_digest(certificates: Path) -> None:
    with depot(certificates, b"something else") as url, pytest.raises(WorkError) as caught:
        fetched([url], certificates)
    assert f"no depot gives {os.uname().nodename} the blob sha256:{SHA}" in str(caught.value)
    assert "the content is corrupted" in str(caught.value)
    assert url in str(caught.value)


def test_a_depot_of_another_authority_is_not_believed(certificates: Path) -> None:
    with (
        depot(certificates, CONTENT, "stranger") as url,
        pytest.raises(WorkError, match="certificate verify failed"),
    ):
        fetched([url], certificates)


def test_a_site_without_depots_is_told_so(certificates: Path) -> None:
    with pytest.raises(WorkError, match="the site names no depot"):
        fetched([], certificates)


def test_a_machine_without_the_sites_certificate_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"ca\.crt cannot be used"):
        fetch(["https://127.0.0.1:1/x"], SHA, io.BytesIO(), authority=str(tmp_path / "ca.crt"))
