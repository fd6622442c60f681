"""Builds from source: verified, kept, continued, and the same every time."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from provision.bundle.catalog import (
    Content,
    FileSpec,
    FromBuild,
    GoBuild,
    ImageBuild,
    ImageSpec,
    Selection,
)
from provision.bundle.gomodules import parse_modules
from provision.bundle.oci import add_layer, image_members
from provision.bundle.progress import Outcome, Step
from provision.bundle.results import Results
from provision.bundle.source import SourceSource
from provision.bundle.sources import Provided
from provision.bundle.store import BlobStore
from provision.bundle.toolchain import Toolchain, machine_architecture
from provision.errors import BundleError, DiskFullError
from tests.support import fakego
from tests.support.bundles import selected

SUM = "h1:right="


class _Heard:
    """Remembers how each step ended."""

    def __init__(self) -> None:
        self.ends: dict[str, Outcome] = {}
        self.steps: tuple[Step, ...] = ()
        self.details: list[str] = []

    def planned(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps

    def started(self, name: str) -> None:
        pass

    def detail(self, name: str, text: str) -> None:
        self.details.append(text)

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        self.ends[name] = outcome


def _go(name: str, **more: object) -> GoBuild:
    return GoBuild.model_validate(
        {
            "kind": "go",
            "id": name,
            "module": f"example.org/{name}",
            "version": "v1.0.0",
            "packages": {name: f"./cmd/{name}", f"{name}ctl": f"./cmd/{name}ctl"},
            "disk": 1,
            "memory": 1,
            "minutes": 1,
            **more,
        }
    )


def _selection(*builds: GoBuild) -> Selection:
    components = []
    for build in builds:
        component = selected(build.id, "1.0.0", machine_architecture())
        components.append(
            component.model_copy(
                update={
                    "builds": (build,),
                    "modules": {f"{build.module}@{build.version}": SUM},
                    "files": (
                        FileSpec(name=build.id, source=FromBuild(build=build.id, output=build.id)),
                    ),
                    "images": (
                        ImageSpec(
                            reference=f"registry.example/{build.id}:v1",
                            source=ImageBuild(
                                contents=(
                                    Content(build=build.id, output=build.id, path="/bin/it"),
                                ),
                                entrypoint=("/bin/it",),
                                user="65535",
                            ),
                        ),
                    ),
                }
            )
        )
    return Selection(
        kubernetes="1.36.3", architecture=machine_architecture(), components=tuple(components)
    )


class _Bench:
    """A cache folder and a fake Go."""

    def __init__(self, folder: Path, checksum: str = SUM, broken: tuple[str, ...] = ()) -> None:
        folder.mkdir()
        self.go = fakego.install(
            folder, {f"example.org/{one}@v1.0.0": checksum for one in ("one", "two")}, broken
        )
        self.store = BlobStore(folder / "blobs")
        self.results = Results(folder / "steps", self.store)
        self.source = SourceSource(
            folder, self.store, self.results, jobs=1, toolchain=self._toolchain
        )

    def _toolchain(self, _: Path) -> Toolchain:
        return self.go

    def provide(self, selection: Selection) -> tuple[Mapping[str, Provided], _Heard]:
        heard = _Heard()
        return self.source.provide(selection, heard), heard

    @property
    def builds(self) -> int:
        return sum(call[0] == "build" and call[-1] != "std" for call in fakego.calls(self.go))


def test_files_and_images_come_out(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    provided, heard = bench.provide(_selection(_go("one")))
    (file,) = provided["one"].files
    assert bench.store.path(file.sha256).read_bytes() == b"./cmd/one -tags="
    assert file.origin == "example.org/one@v1.0.0"
    names = [(one.name, one.version) for one in file.ingredients]
    assert names == [
        ("example.org/by", "v0.3.0"),
        ("example.org/dependency", "v0.1.0"),
        ("example.org/one", "v1.0.0"),
        ("stdlib", "1.99.0"),
    ]
    (image,) = provided["one"].images
    manifest = json.loads(bench.store.path(image.manifest_sha256).read_bytes())
    config = json.loads(
        bench.store.path(manifest["config"]["digest"].removeprefix("sha256:")).read_bytes()
    )
    assert config["config"]["Entrypoint"] == ["/bin/it"]
    assert config["config"]["User"] == "65535"
    layer = bench.store.path(manifest["layers"][0]["digest"].removeprefix("sha256:"))
    with tarfile.open(fileobj=io.BytesIO(layer.read_bytes())) as tar:
        assert tar.getnames() == ["bin", "bin/it"]
    assert heard.ends == {"one/one": "built"}
    assert "package 2 of 2" in heard.details


def test_what_two_components_make_alike_is_made_once(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    selection = _selection(_go("one"))
    first = selection.components[0]
    twin = first.model_copy(update={"component": "twin", "files": ()})
    provided, heard = bench.provide(selection.model_copy(update={"components": (first, twin)}))
    assert heard.ends == {"one/one": "built", "twin/one": "kept"}
    assert bench.builds == 1
    assert provided["one"].images[0].blobs == provided["twin"].images[0].blobs


def test_an_image_holds_small_files_as_the_catalog_says_them(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    selection = _selection(_go("one"))
    (component,) = selection.components
    (image,) = component.images
    assert image.source
    names = {"/etc/passwd": "root:x:0:0::/:/bin/sh\n"}
    build = image.source.model_copy(update={"texts": names})
    images = (image.model_copy(update={"source": build}),)
    component = component.model_copy(update={"images": images})
    provided, _ = bench.provide(selection.model_copy(update={"components": (component,)}))
    found = provided["one"].images[0]
    manifest = json.loads(bench.store.path(found.manifest_sha256).read_bytes())
    layer = bench.store.path(manifest["layers"][0]["digest"].removeprefix("sha256:"))
    with tarfile.open(fileobj=io.BytesIO(layer.read_bytes())) as tar:
        member = tar.getmember("etc/passwd")
        held = tar.extractfile(member)
        assert held is not None
        assert (held.read(), member.mode) == (b"root:x:0:0::/:/bin/sh\n", 0o644)


def test_the_second_build_does_nothing_and_says_the_same(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    first, _ = bench.provide(_selection(_go("one")))
    builds = bench.builds
    second, heard = bench.provide(_selection(_go("one")))
    assert second == first
    assert bench.builds == builds
    assert heard.ends == {"one/one": "kept"}


def test_another_cache_gives_the_same_digests(tmp_path: Path) -> None:
    first, _ = _Bench(tmp_path / "first").provide(_selection(_go("one"), _go("two")))
    second, _ = _Bench(tmp_path / "second").provide(_selection(_go("one"), _go("two")))
    assert first == second


def test_a_changed_recipe_is_built_anew(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    bench.provide(_selection(_go("one")))
    _, heard = bench.provide(_selection(_go("one", tags=("netgo",))))
    assert heard.ends == {"one/one": "built"}


def test_a_changed_estimate_is_not(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    bench.provide(_selection(_go("one")))
    _, heard = bench.provide(_selection(_go("one", minutes=9, disk=2)))
    assert heard.ends == {"one/one": "kept"}


def test_damaged_bytes_in_the_cache_are_made_anew(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    first, _ = bench.provide(_selection(_go("one")))
    path = bench.store.path(first["one"].files[0].sha256)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    second, heard = bench.provide(_selection(_go("one")))
    assert heard.ends == {"one/one": "built"}
    assert second == first


def test_a_module_with_another_checksum_is_not_used(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench", checksum="h1:wrong=")
    with pytest.raises(BundleError, match="checksum is wrong") as caught:
        bench.provide(_selection(_go("one")))
    assert (caught.value.found, caught.value.wanted) == ("h1:wrong=", SUM)
    assert bench.builds == 0


def test_a_failed_build_keeps_the_others_and_continues(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench", broken=("./cmd/one",))
    selection = _selection(_go("one", minutes=5), _go("two"))
    with pytest.raises(BundleError, match="a build command failed") as caught:
        bench.provide(selection)
    assert "syntax error" in caught.value.found
    fakego.repair(bench.go)
    _, heard = bench.provide(selection)
    assert heard.ends == {"one/one": "built", "two/two": "kept"}


def test_all_failures_are_told(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench", broken=("./cmd/one", "./cmd/two"))
    with pytest.raises(BundleError, match="a build command failed") as caught:
        bench.provide(_selection(_go("one"), _go("two")))
    assert len(caught.value.also) == 1
    assert caught.value.where.startswith("one/one (")
    assert caught.value.also[0].startswith("two/two (")


def test_the_standard_library_is_compiled_once(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    bench.provide(_selection(_go("one"), _go("two")))
    assert sum(call[-1] == "std" for call in fakego.calls(bench.go)) == 1


def test_single_outputs_can_have_tags_of_their_own(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    build = _go("one", tags=("a",), output_tags={"onectl": ("b",)})
    bench.provide(_selection(build))
    tags = [call for call in fakego.calls(bench.go) if call[0] == "build" and "-o" in call]
    assert [next(one for one in call if one.startswith("-tags=")) for call in tags] == [
        "-tags=a",
        "-tags=a,b",
    ]


def test_files_trees_and_charts_of_a_module(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    build = _go(
        "one",
        files={"run.sh": "scripts/run.sh"},
        trees={"scripts": "scripts"},
        charts={"chart": "chart"},
    )
    bench.provide(_selection(build))
    results = [bench.results.read(path.stem) for path in bench.results.folder.iterdir()]
    outputs = next(one for one in results if one and "chart" in one.outputs).outputs
    assert outputs["run.sh"].mode == 0o755
    assert outputs["scripts"].kind == "tree"
    with tarfile.open(bench.store.path(outputs["chart"].sha256)) as tar:
        assert "example/Chart.yaml" in tar.getnames()


def test_a_script_of_our_own_is_in_its_image(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    build = ImageBuild(scripts={"/usr/bin/greet": "#!/bin/sh\necho hello\n"})
    layer = add_layer(store, image_members(build, {}, store))
    with tarfile.open(store.path(layer.blob.sha256)) as tar:
        source = tar.extractfile("usr/bin/greet")
        assert source is not None
        assert source.read() == b"#!/bin/sh\necho hello\n"
        assert tar.getmember("usr/bin/greet").mode == 0o755


def test_a_chart_that_its_release_completes(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    build = _go(
        "one",
        charts={"chart": "scripts"},
        chart_files={
            "chart": {"Chart.yaml": "chart/Chart.yaml", "templates/run.yaml": "scripts/run.sh"}
        },
    )
    bench.provide(_selection(build))
    results = [bench.results.read(path.stem) for path in bench.results.folder.iterdir()]
    outputs = next(one for one in results if one and "chart" in one.outputs).outputs
    with tarfile.open(bench.store.path(outputs["chart"].sha256)) as tar:
        assert "example/templates/run.yaml" in tar.getnames()
        described = yaml.safe_load(tar.extractfile("example/Chart.yaml") or b"")
    assert described["version"] == described["appVersion"] == build.version


def test_another_architecture_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    other = "arm64" if machine_architecture() == "amd64" else "amd64"
    selection = _selection(_go("one")).model_copy(update={"architecture": other})
    with pytest.raises(BundleError, match="this machine's architecture only") as caught:
        bench.source.require(selection)
    assert "--source upstream" in caught.value.fix


def test_too_little_disk_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    with pytest.raises(DiskFullError, match="building the bundle"):
        bench.source.require(_selection(_go("one", disk=1 << 40)))
    assert fakego.calls(bench.go) == []


def test_what_is_built_needs_no_disk(tmp_path: Path) -> None:
    bench = _Bench(tmp_path / "bench")
    bench.provide(_selection(_go("one")))
    bench.source.require(_selection(_go("one", disk=1 << 40)))


def test_replaced_modules_count_as_what_replaced_them() -> None:
    found = parse_modules(
        "\tmod\ta\t(devel)\n\tdep\tb\tv1\n\t=>\tc\tv2\th1:c=\n\tdep\td\tv3\th1:d=\n"
    )
    assert [(one.name, one.version, one.checksum) for one in found] == [
        ("c", "v2", "h1:c="),
        ("d", "v3", "h1:d="),
    ]
