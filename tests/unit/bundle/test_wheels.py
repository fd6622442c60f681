"""Python environments: real wheels, laid out by the real pip, from a folder."""

from __future__ import annotations

import hashlib
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from provision.bundle.catalog import PythonBuild
from provision.bundle.store import BlobStore
from provision.bundle.wheels import LOCKS, PythonWorkshop, locked, platforms
from provision.errors import BundleError

BUILD = PythonBuild(
    kind="python",
    id="tools",
    lock="tools",
    python="3.13",
    prefix="/opt/python",
    tree="tools",
    disk=1,
    minutes=1,
)


def _wheel(folder: Path) -> Path:
    """A package with a module, a program and a data file, for Pythons that nobody has yet."""
    path = folder / "my_tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("my_tool.py", "def main():\n    print('works')\n")
        wheel.writestr("my_tool-1.0.data/data/share/tool/data.txt", "data\n")
        info = "my_tool-1.0.dist-info"
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: my-tool\nVersion: 1.0\nRequires-Python: >=3.13.1\n",
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ntool = my_tool:main\n")
        wheel.writestr(f"{info}/RECORD", "my_tool.py,,\n")
    return path


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PythonWorkshop:
    (tmp_path / "wheels").mkdir()
    wheel = _wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "tools.txt").write_text(f"my_Tool==1.0 \\\n    --hash=sha256:{digest}\n")
    return PythonWorkshop(
        tmp_path / "python", BlobStore(tmp_path / "blobs"), "amd64", locks=tmp_path
    )


def test_wheels_become_an_environment_of_the_image(workshop: PythonWorkshop) -> None:
    result = workshop.build(BUILD)
    packages = "lib/python3.13/site-packages"
    with tarfile.open(workshop.store.path(result.outputs["tools"].sha256)) as tar:
        names = set(tar.getnames())
        assert {f"{packages}/my_tool.py", "share/tool/data.txt", "pyvenv.cfg"} <= names
        assert tar.getmember("bin/python3").linkname == "/usr/bin/python3"
        texts = {
            one.name: file.read().decode()
            for one in tar
            if one.isreg() and (file := tar.extractfile(one))
        }
    assert texts["bin/tool"].startswith("#!/opt/python/bin/python3\n")
    assert not any(sys.executable in text for text in texts.values())
    assert "bin/tool" not in texts[f"{packages}/my_tool-1.0.dist-info/RECORD"]
    assert not any(name.endswith(".pyc") for name in names)
    assert [one.purl for one in result.ingredients["tools"]] == ["pkg:pypi/my-tool@1.0"]
    assert list(workshop.folder.iterdir()) == []


def test_two_builds_are_the_same(workshop: PythonWorkshop) -> None:
    assert workshop.build(BUILD).outputs == workshop.build(BUILD).outputs


def test_another_wheel_than_the_locks_is_refused(workshop: PythonWorkshop) -> None:
    lock = workshop.locks / "tools.txt"
    before = workshop.key(BUILD)
    lock.write_text("my_tool==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    assert workshop.key(BUILD) != before
    with pytest.raises(BundleError, match="pip cannot fetch") as caught:
        workshop.build(BUILD)
    assert caught.value.where == str(lock)
    assert list(workshop.folder.iterdir()) == []


def test_wheels_of_either_architecture_are_known() -> None:
    assert platforms("amd64")[0] == "manylinux_2_41_x86_64"
    assert platforms("arm64")[-2:] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64")


def test_the_shipped_locks_pin_every_line() -> None:
    for lock in LOCKS.glob("*.txt"):
        text = lock.read_text()
        pins = [line for line in text.splitlines() if line[:1] not in {"#", " "}]
        assert len(locked(text)) == len(pins)
