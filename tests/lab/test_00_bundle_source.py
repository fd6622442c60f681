"""Real builds from source: the same digests again, and no work lost by a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provision.bundle import Bundle
from provision.bundle.catalog import Selection, catalog, default_kubernetes_version
from provision.bundle.progress import Silent
from provision.bundle.results import Results
from provision.bundle.source import SourceSource, drop_work
from provision.bundle.store import BlobStore
from provision.bundle.toolchain import machine_architecture
from provision.paths import cache_path
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.soak
# One in a module's own folder, one with cgo, one in C.
SMALL = ("cni-plugins", "pause", "runc")


def _only(*components: str) -> Selection:
    whole = catalog().select(default_kubernetes_version(), machine_architecture(), "source")
    chosen = tuple(one for one in whole.components if one.component in components)
    return whole.model_copy(update={"components": chosen})


def _source(cache: Path) -> SourceSource:
    store = BlobStore(cache / "blobs")
    return SourceSource(cache, store, Results(cache / "steps", store), jobs=1)


def _build(cache: Path, selection: Selection) -> dict[str, str]:
    """SHA-256 by plain file, and digest by image."""
    provided = _source(cache).provide(selection, Silent())
    drop_work(cache)
    made = {file.name: file.sha256 for one in provided.values() for file in one.files}
    made.update(
        {
            image.reference: f"sha256:{image.manifest_sha256}"
            for one in provided.values()
            for image in one.images
        }
    )
    return made


def _in_bundle(selection: Selection) -> dict[str, str]:
    bundle = Bundle.open(Bundle.find(cache_path() / "bundles", selection.kubernetes))
    components = {one.component for one in selection.components}
    locked = {one.name: one.sha256 for one in bundle.lock.files if one.component in components}
    locked.update(
        {one.reference: one.digest for one in bundle.lock.images if one.component in components}
    )
    return locked


def test_a_build_in_an_empty_cache_gives_the_bundles_digests(tmp_path: Path) -> None:
    selection = _only(*SMALL)
    assert _build(tmp_path / "cache", selection) == _in_bundle(selection)


@pytest.mark.timeout(7200)
def test_everything_built_again_gives_the_bundles_digests(tmp_path: Path) -> None:
    selection = catalog().select(default_kubernetes_version(), machine_architecture(), "source")
    again, before = _build(tmp_path / "cache", selection), _in_bundle(selection)
    # Debian's packages move on between two builds; binaries from modules do not.
    debian = {"quay.io/cilium/cilium"}
    changed = {name for name in before if again[name] != before[name]}
    assert {name.partition(":")[0] for name in changed} <= debian


def test_a_build_killed_midway_continues(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    program = (
        "from pathlib import Path\n"
        "from tests.lab.test_00_bundle_source import _build, _only\n"
        f"_build(Path({str(cache)!r}), _only('cni-plugins', 'pause'))\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,
    ) as process:
        cached = cache / "go" / "work"
        wait_until("something is compiled", lambda: any(cached.glob("*/cache/0*/*-d")), 300)
        assert process.poll() is None, "the build ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
    assert any(cached.glob("*/cache/0*/*-d")), "what was compiled is kept"
    selection = _only("cni-plugins", "pause")
    assert _build(cache, selection) == _in_bundle(selection)
    assert not cached.exists()
