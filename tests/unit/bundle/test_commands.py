"""Building, listing and pruning, with a source that makes small things."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from provision.bundle import commands
from provision.bundle.catalog import Selection, SourceKind
from provision.bundle.display import JsonProgress, PlainProgress, shown
from provision.bundle.ospackages import role_packages
from provision.bundle.progress import Progress, Step
from provision.bundle.results import Output, Result, Results
from provision.bundle.signing import KeyRing
from provision.bundle.sources import Provided
from provision.bundle.store import BlobStore
from provision.bundle.toolchain import machine_architecture
from provision.cli_bundle import bundle_app
from provision.errors import BundleError, LockedError, UsageError
from tests.support.bundles import provided_file, small_bundle
from tests.support.fakeapt import fake_apt


class _Small:
    """Gives each component one file."""

    kind: SourceKind = "source"

    def __init__(self, store: BlobStore) -> None:
        self.store = store

    def require(self, selection: Selection) -> None:
        pass

    def provide(self, selection: Selection, progress: Progress) -> Mapping[str, Provided]:
        return {
            one.component: Provided(
                files=(
                    provided_file(self.store, one.component, one.component, one.version.encode()),
                )
            )
            for one in selection.components
        }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "cache"


def _build(cache: Path) -> commands.Built:
    filler = _Small(BlobStore(cache / "blobs"))
    return commands.build("1.36.3", cache=cache, filler=filler)


def test_a_built_bundle_is_listed_shown_and_verified(cache: Path) -> None:
    built = _build(cache)
    assert built.path == cache / "bundles" / f"1.36.3-source-{machine_architecture()}"
    (listed,) = commands.bundles(cache)
    assert (listed.kubernetes, listed.source, listed.problem) == ("1.36.3", "source", "")
    for name in (built.path.name, "1.36.3", ""):
        assert commands.named(name, cache) == built.path
    bundle = commands.verify(built.path)
    assert bundle.key.fingerprint == built.fingerprint
    assert commands.show(built.path).versions["kubernetes"] == "1.36.3"


def test_a_bundle_with_packages_stands_beside_the_one_without(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = fake_apt(tmp_path / "bin", dict.fromkeys((*role_packages(), "tcpdump"), "1"))
    monkeypatch.setenv("PATH", f"{apt.folder}:{os.environ['PATH']}")
    plain = _build(cache)
    filler = _Small(BlobStore(cache / "blobs"))
    with_packages = partial(
        commands.build, "1.36.3", cache=cache, filler=filler, packages=("tcpdump",)
    )
    built = with_packages(os_packages=("12",))
    assert built.path.name == f"{plain.path.name}-debian-12"
    assert "tcpdump" in commands.verify(built.path).os_packages["12"]
    assert with_packages(os_packages=("12",)).lock == built.lock
    assert commands.show(plain.path).os_packages == {}
    with pytest.raises(UsageError, match="no release of Debian"):
        with_packages()


def test_a_bundle_for_a_site_lacks_what_that_has_no_use_for_and_loses_nothing(cache: Path) -> None:
    def build(*left_out: str) -> set[str]:
        filler = _Small(BlobStore(cache / "blobs"))
        built = commands.build("1.36.3", cache=cache, filler=filler, not_needed=left_out)
        return {component.name for component in built.lock.components}

    small = build("metallb", "vault")
    assert not small & {"metallb", "vault"}
    assert build("metallb") == small | {"vault"}
    assert build("metallb", "vault") == small | {"vault"}
    assert build() == small | {"vault", "metallb"}


def test_a_bundle_with_something_on_request_stands_beside_the_one_without(cache: Path) -> None:
    plain = _build(cache)
    filler = _Small(BlobStore(cache / "blobs"))
    build = partial(commands.build, "1.36.3", cache=cache, filler=filler)
    built = build(requested=("argocd",), not_needed=("argocd",))
    assert built.path.name == f"{plain.path.name}-argocd"
    assert built.lock.requested == ("argocd",)
    assert "argocd" in commands.show(built.path).versions
    assert "argocd" not in commands.show(plain.path).versions
    assert "argocd" in commands.on_request()


def test_building_again_gives_the_same_bundle(cache: Path) -> None:
    assert _build(cache).lock == _build(cache).lock


def test_a_bundle_of_chosen_versions_stands_beside_the_usual_one(cache: Path) -> None:
    versions = commands.parse_versions(["containerd=2.4.2", "metallb=0.13.12"])
    filler = _Small(BlobStore(cache / "blobs"))
    usual = _build(cache)
    built = commands.build("1.36.3", cache=cache, filler=filler, versions=versions)
    assert built.path.name == f"{usual.path.name}-containerd-2.4.2-metallb-0.13.12"
    assert built.lock.components == usual.lock.components
    assert (built.lock.chosen, usual.lock.chosen) == (versions, None)
    assert commands.named("1.36.3", cache) == usual.path


@pytest.mark.parametrize("text", ["metallb", "metallb=", "=0.16.1", ""])
def test_a_version_of_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=VERSION") as caught:
        commands.parse_versions([text])
    assert caught.value.found == text
    assert "--component metallb=" in caught.value.fix


def test_blobs_that_no_bundle_names_are_dropped(cache: Path) -> None:
    store = BlobStore(cache / "blobs")
    stray = store.add_bytes(b"left by another catalog")
    (cache / "go" / "mod" / "example.org").mkdir(parents=True)
    (cache / "go" / "mod" / "example.org").chmod(0o500)
    built = _build(cache)
    assert built.freed == stray.size
    assert store.all() == set(built.lock.blobs)
    assert not (cache / "go" / "mod").exists()


def test_what_a_bundle_was_made_of_is_kept_and_other_results_go(cache: Path) -> None:
    store = BlobStore(cache / "blobs")
    results = Results(cache / "steps", store)
    part, stray = store.add_bytes(b"goes into an image"), store.add_bytes(b"of an old recipe")
    results.write("old", Result(outputs={"a": Output(sha256=stray.sha256, size=stray.size)}))

    class _Stepwise(_Small):
        def provide(self, selection: Selection, progress: Progress) -> Mapping[str, Provided]:
            results.write("new", Result(outputs={"a": Output(sha256=part.sha256, size=part.size)}))
            return super().provide(selection, progress)

    commands.build("1.36.3", cache=cache, filler=_Stepwise(store))
    assert results.read("old") is None
    assert results.read("new") is not None
    other = commands.build("1.37.2", cache=cache, filler=_Small(store))
    assert results.read("new") is not None
    assert commands.verify(other.path).kubernetes == "1.37.2"


def test_a_broken_bundle_is_listed_with_its_problem(cache: Path) -> None:
    built = _build(cache)
    (built.path / "bundle.lock.json.sig").unlink()
    (listed,) = commands.bundles(cache)
    assert listed.problem == "the bundle is not signed"


def test_two_builds_do_not_share_a_cache(cache: Path) -> None:
    cache.mkdir(parents=True)
    with FileLock(cache / "build.lock"), pytest.raises(LockedError, match="another build"):
        _build(cache)


def test_a_strangers_bundle_is_trusted_when_told_so(cache: Path, tmp_path: Path) -> None:
    small = small_bundle(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="not trusted here"):
        commands.verify(small.folder)
    assert commands.verify(small.folder, trust=True).name == small.folder.name
    assert len(KeyRing.default().trusted()) == 1


def test_what_can_be_built_is_listed(cache: Path) -> None:
    found = {one.kubernetes: one for one in commands.buildable("amd64")}
    assert found["1.36.3"].default
    assert "source" in found["1.36.3"].sources


def test_the_versions_of_components_are_listed_by_source(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = commands.choices("1.36.3", "amd64")
    assert found["metallb"] == {"source": ("0.13.12",), "upstream": ("0.16.1",)}
    assert found["containerd"]["upstream"] == ("2.3.4", "2.4.1")
    assert found["vault-plugin-auth-kubernetes"]["upstream"] == ()
    assert found["kubernetes"] == {"source": ("1.36.3",), "upstream": ("1.36.3",)}
    with pytest.raises(BundleError, match="does not have this Kubernetes version"):
        commands.choices("1.20.0", "amd64")
    monkeypatch.setenv("PROVISION_CACHE", str(cache))
    listed = CliRunner().invoke(bundle_app, ["list", "--components"]).output.splitlines()
    assert f"{'containerd':28} {'upstream':8} 2.3.4, 2.4.1" in listed
    assert "components" not in json.loads(CliRunner().invoke(bundle_app, ["list", "--json"]).output)


def test_plain_progress_says_what_remains() -> None:
    stream = io.StringIO()
    clock = iter([0.0, 0.0, 1.0, 1.0, 2.0, 40.0, 40.0, 95.0, 95.0]).__next__
    progress = PlainProgress(stream, clock)
    progress.planned((Step("a", 2), Step("b", 0)))
    progress.started("a")
    progress.detail("a", "package 1 of 9")
    progress.detail("a", "package 5 of 9")
    progress.finished("a", "built", 94)
    assert stream.getvalue().splitlines() == [
        "  0:00 2 steps: a, b",
        "  0:01 a: started (about 2 min)",
        "  0:40 a: package 5 of 9",
        "  1:35 a: built in 94 s; 1 of 2 done",
    ]


def test_progress_as_json_is_one_object_a_line() -> None:
    stream = io.StringIO()
    progress = JsonProgress(stream)
    progress.planned((Step("a", 2),))
    progress.started("a")
    progress.detail("a", "package 1 of 9")
    progress.finished("a", "failed", 1.5)
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["planned", "started", "detail", "finished"]


def test_no_live_table_where_there_is_no_terminal() -> None:
    with shown(io.StringIO()) as progress:
        assert isinstance(progress, PlainProgress)
    with shown(io.StringIO(), as_json=True) as progress:
        assert isinstance(progress, JsonProgress)


def test_the_live_table_shows_every_step() -> None:
    from rich.console import Console

    from provision.bundle.display import LiveProgress

    progress = LiveProgress()
    progress.planned((Step("done", 1), Step("runs", 1), Step("waits", 1)))
    progress.started("done")
    progress.finished("done", "built", 3)
    progress.started("runs")
    progress.detail("runs", "package 3 of 7")
    console = Console(file=io.StringIO(), record=True, width=120)
    console.print(progress)
    lines = console.export_text().splitlines()
    assert "1 of 3 done, about 2 min of work left" in lines[0]
    assert any("runs" in line and "package 3 of 7" in line for line in lines)
    assert any("waits" in line and "waiting" in line for line in lines)
