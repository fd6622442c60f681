"""An ``npm`` that has a few packages and knows ``npm ci`` alone.

What it has is ``registry.json`` beside the program: content by ``NAME@VERSION``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

PROGRAM = """\
#!{python} -IS
import base64, hashlib, json, os, pathlib, sys
settings = {{name.lower(): value for name, value in os.environ.items()}}
if "npm_config_offline" in settings:
    sys.exit("npm error code ENOTCACHED")
has = json.loads(pathlib.Path({registry!r}).read_text())
if sys.argv[1] != "ci" or "--ignore-scripts" not in sys.argv:
    sys.exit(f"unexpected: {{sys.argv}}")
lock = json.loads(pathlib.Path("package-lock.json").read_text())
for path, wanted in lock["packages"].items():
    if not path or (wanted.get("dev") and "--omit=dev" in sys.argv):
        continue
    content = has[path.rpartition("node_modules/")[2] + "@" + wanted["version"]]
    digest = base64.b64encode(hashlib.sha512(content.encode()).digest()).decode()
    if wanted["integrity"] != "sha512-" + digest:
        sys.exit("npm error code EINTEGRITY")
    folder = pathlib.Path(path)
    folder.mkdir(parents=True)
    (folder / "index.js").write_text(content)
binaries = pathlib.Path("node_modules/.bin")
binaries.mkdir(parents=True)
(binaries / "tool").symlink_to("../tool/index.js")
pathlib.Path("node_modules/.package-lock.json").write_text("https://registry.example/")
"""


def install(folder: Path, packages: Mapping[str, str]) -> None:
    """Put the program into ``folder``; it serves ``packages``, content by ``NAME@VERSION``."""
    folder.mkdir()
    registry = folder / "registry.json"
    registry.write_text(json.dumps(dict(packages)))
    program = folder / "npm"
    program.write_text(PROGRAM.format(python=sys.executable, registry=str(registry)))
    program.chmod(0o755)


def lock(packages: Mapping[str, str], development: tuple[str, ...] = ()) -> str:
    """A ``package-lock.json`` of ``packages``; those in ``development`` are needed there only."""
    entries: dict[str, dict[str, str | bool]] = {"": {}}
    for label, content in packages.items():
        name, _, version = label.rpartition("@")
        digest = base64.b64encode(hashlib.sha512(content.encode()).digest()).decode()
        entries[f"node_modules/{name}"] = {
            "version": version,
            "integrity": f"sha512-{digest}",
            **({"dev": True} if label in development else {}),
        }
    return json.dumps({"lockfileVersion": 3, "packages": entries})
