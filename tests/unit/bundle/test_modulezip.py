"""A Go module's archive: the checksum that the Go checksum database has, and the chart in it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from provision.bundle.modulezip import module_sum, pack_chart, require_sum
from provision.bundle.store import BlobStore
from provision.errors import BundleError
from tests.support.publisher import module_zip

MODULE = "example.org/charts@v1.2.0"
FILES = {
    "go.mod": b"module example.org/charts\n",
    "deploy/small/Chart.yaml": b"name: small\nversion: 1.2.0\n",
    "deploy/small/templates/it.yaml": b"kind: ConfigMap\n",
    "deploy/smaller/Chart.yaml": b"name: smaller\n",
}
SUM = "h1:8ixNETulw/MLMMqg8oPg6kN8jfppYkuAJm/wTF00Q/M="
"""What ``go mod download -json`` says of a module with these files."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "v1.2.0.zip"
    path.write_bytes(module_zip(MODULE, FILES))
    return path


def test_the_checksum_is_gos(archive: Path) -> None:
    assert module_sum(archive) == SUM
    require_sum(archive, MODULE, SUM)


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "go.mod": b"module example.org/other\n"},
        {**FILES, "more": b""},
        {name: text for name, text in FILES.items() if name != "go.mod"},
    ],
)
def test_other_files_are_refused(archive: Path, files: dict[str, bytes]) -> None:
    archive.write_bytes(module_zip(MODULE, files))
    with pytest.raises(BundleError, match="checksum is wrong") as caught:
        require_sum(archive, MODULE, SUM)
    assert caught.value.where == MODULE
    assert caught.value.wanted == SUM


def test_the_order_in_the_archive_does_not_matter(archive: Path) -> None:
    archive.write_bytes(module_zip(MODULE, dict(reversed(FILES.items()))))
    require_sum(archive, MODULE, SUM)


def test_what_is_no_zip_is_refused(archive: Path) -> None:
    archive.write_bytes(b"<html>log in</html>")
    with pytest.raises(BundleError, match=r"no \.zip"):
        module_sum(archive)


def test_a_chart_is_packed_as_helm_wants_it(archive: Path, tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    blob = pack_chart(archive, f"{MODULE}/deploy/small", store)
    with tarfile.open(store.path(blob.sha256), "r:gz") as chart:
        files = {entry.name: chart.extractfile(entry) for entry in chart if entry.isfile()}
        assert {name: file.read() for name, file in files.items() if file} == {
            "small/Chart.yaml": FILES["deploy/small/Chart.yaml"],
            "small/templates/it.yaml": FILES["deploy/small/templates/it.yaml"],
        }


def test_a_folder_that_is_no_chart_is_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="lacks a file that the catalog names") as caught:
        pack_chart(archive, f"{MODULE}/deploy", BlobStore(tmp_path / "blobs"))
    assert caught.value.found == f"{MODULE}/deploy/Chart.yaml"
