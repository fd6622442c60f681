"""Programs that answer as apt's do, for packages that a test thought of."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

PROGRAM = """\
#!{python} -IS
import json, os, pathlib, sys, urllib.parse
state = json.loads(pathlib.Path({state!r}).read_text())
name, words = os.path.basename(sys.argv[0]), [w for w in sys.argv[1:] if not w.startswith("-")]
packages = state["packages"]
with open({log!r}, "a") as log:
    print(name, *sys.argv[1:], file=log)
def archives():
    return os.path.dirname(os.environ["APT_CONFIG"]) + "/archives/"
if words[:1] == ["indextargets"]:
    print(*state["targets"], sep="\\n")
elif name == "apt-config":
    print('Acquire::http::Proxy "http://proxy.example:3128";')
    print('APT::Install-Recommends "true";')
elif words[:1] == ["update"]:
    if "APT_CONFIG" in os.environ:
        lists = pathlib.Path(os.path.dirname(os.environ["APT_CONFIG"])) / "lists"
        (lists / "mirror.example_dists_bookworm_InRelease").write_text("Version: 12.15\\n")
elif words[:1] == ["show"]:
    print("\\n".join(packages[word.partition("=")[0]]["stanza"] for word in words[1:]))
else:
    unknown = [word for word in words[1:] if word not in packages]
    if unknown:
        sys.exit(f"E: Unable to locate package {{unknown[0]}}")
    for package in packages.values():
        if "--print-uris" in sys.argv:
            print(f"'{{package['uri']}}' {{package['archive']}} {{len(package['content'])}} ")
        elif "--download-only" in sys.argv and not os.path.exists(archives() + package["archive"]):
            pathlib.Path(archives() + package["archive"]).write_text(package["content"])
"""


@dataclass(frozen=True)
class FakeApt:
    """A folder for ``PATH``; whatever is asked for, all packages are needed."""

    folder: Path
    packages: Mapping[str, Mapping[str, Any]]

    @property
    def log(self) -> list[str]:
        """Every command so far."""
        return (self.folder / "log").read_text().splitlines()

    def sha256(self, name: str) -> str:
        """Digest of a package."""
        content: str = self.packages[name]["content"]
        return hashlib.sha256(content.encode()).hexdigest()


def fake_apt(
    folder: Path,
    versions: Mapping[str, str],
    *,
    targets: tuple[str, ...] = ("Debian bookworm http://mirror.example/debian/",),
    lying: str = "",
) -> FakeApt:
    """``apt-get``, ``apt-cache`` and ``apt-config`` in ``folder``.

    Parameters
    ----------
    versions
        Packages with their versions.
    targets
        What ``apt-get indextargets`` prints.
    lying
        A package that comes with other bytes than the index says.
    """
    folder.mkdir()
    packages = {}
    for name, version in versions.items():
        content = f"the package {name}"
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        stanza = (
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: libc6\n"
            f"Description: long\n and longer\nSize: {len(content)}\nSHA256: {sha256}\n"
        )
        packages[name] = {
            "content": content if name != lying else content.upper(),
            "stanza": stanza,
            "archive": f"{name}_{quote(version, safe='+~')}_amd64.deb",
            "uri": f"file:/repository/./{sha256}.deb",
        }
    state = folder / "state.json"
    state.write_text(json.dumps({"packages": packages, "targets": targets}))
    text = PROGRAM.format(python=sys.executable, state=str(state), log=str(folder / "log"))
    for program in ("apt-get", "apt-cache", "apt-config"):
        (folder / program).write_text(text)
        (folder / program).chmod(0o755)
    return FakeApt(folder, packages)
