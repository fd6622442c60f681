"""The real bundle, served by its own registry, read by the tools that sites use."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from provision.bundle import FILES_REPOSITORY, Bundle, repository
from provision.bundle.catalog import default_kubernetes_version
from provision.bundle.toolchain import machine_architecture
from provision.paths import cache_path
from tests.lab.waiting import wait_until

CONFIG = """\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {root}}}
  maintenance: {{readonly: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True)
class Depot:
    """A registry that serves a bundle on this machine's loopback."""

    bundle: Bundle
    root: Path
    port: int

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and body of a request below ``/v2/``."""
        answer = requests.request(method, f"http://{self.address}/v2/{path}", timeout=60)
        return answer.status_code, answer.content

    def copy(self, reference: str, target: Path) -> subprocess.CompletedProcess[str]:
        """Pull an image by skopeo."""
        name, tag = repository(reference)
        return subprocess.run(
            [
                *("skopeo", "copy", "--quiet", "--src-tls-verify=false"),
                *(f"docker://{self.address}/{name}:{tag}", f"oci:{target}:pulled"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(Bundle.find(cache_path() / "bundles", default_kubernetes_version()))


@pytest.fixture
def depot(bundle: Bundle, tmp_path: Path) -> Iterator[Depot]:
    root = tmp_path / "storage"
    for file in bundle.depot_tree():
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.sha256:
            path.symlink_to(bundle.blob(file.sha256))
        else:
            path.write_bytes(file.content)
    registry = tmp_path / "registry"
    shutil.copy(bundle.path("registry", machine_architecture()), registry)
    registry.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    config = tmp_path / "config.yml"
    config.write_text(CONFIG.format(root=root, port=port))
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    with subprocess.Popen(
        [registry, "serve", config],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until("the registry listens", lambda: _listens(port), 30)
            yield Depot(bundle, root, port)
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_byte_is_what_the_lock_says(bundle: Bundle) -> None:
    bundle.verify()


def test_every_image_can_be_pulled_by_its_name(depot: Depot, tmp_path: Path) -> None:
    for image in depot.bundle.lock.images:
        target = tmp_path / "pulled"
        done = depot.copy(image.reference, target)
        assert done.returncode == 0, done.stderr
        names = {path.name for path in (target / "blobs" / "sha256").iterdir()}
        assert {image.digest.removeprefix("sha256:"), *image.blobs} <= names
        shutil.rmtree(target)


def test_every_plain_file_is_served_by_its_digest(depot: Depot) -> None:
    for file in depot.bundle.lock.files:
        status, content = depot.get(f"{FILES_REPOSITORY}/blobs/sha256:{file.sha256}")
        assert (status, hashlib.sha256(content).hexdigest()) == (200, file.sha256), file.name


def test_nothing_can_be_written(depot: Depot) -> None:
    sha256 = depot.bundle.lock.files[0].sha256
    assert depot.get(f"{FILES_REPOSITORY}/blobs/uploads/", "POST")[0] == 405
    assert depot.get(f"{FILES_REPOSITORY}/blobs/sha256:{sha256}", "DELETE")[0] == 405


def test_a_corrupted_blob_is_refused_by_who_pulls_it(depot: Depot, tmp_path: Path) -> None:
    image = depot.bundle.image(next(one for one in depot.bundle.images if "/pause:" in one))
    layer = image.blobs[-1]
    data = depot.root / "docker/registry/v2/blobs/sha256" / layer[:2] / layer / "data"
    content = data.read_bytes()
    data.unlink()
    data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = depot.copy(image.reference, tmp_path / "pulled")
    assert done.returncode != 0
    assert layer in done.stderr
