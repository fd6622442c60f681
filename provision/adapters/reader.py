"""Runs on a machine: reads what a query asks for and prints it as one JSON object.

Standard library only, Python 3.9 or newer, and nothing is written: this file
travels to the machine with every query. :func:`answer` is the whole interface;
``Query.as_dict`` in ``provision/facts.py`` describes its argument.
"""

from __future__ import annotations

import functools
import json
import os
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/provision")
"""Where ``site_state`` leaves digests and restart marks."""

TEXT_LIMIT = 1 << 20
"""A text of more bytes than this is not read."""

GZIP = 16 + zlib.MAX_WBITS
"""Window size by which zlib expects gzip's header."""

_CONFIG_OF_MODULE = {
    "br_netfilter": "BRIDGE_NETFILTER",
    "cls_bpf": "NET_CLS_BPF",
    "ip6_tables": "IP6_NF_IPTABLES",
    "ip_set": "IP_SET",
    "ip_tables": "IP_NF_IPTABLES",
    "iscsi_tcp": "ISCSI_TCP",
    "nf_conntrack": "NF_CONNTRACK",
    "nf_tables": "NF_TABLES",
    "nfs": "NFS_FS",
    "overlay": "OVERLAY_FS",
    "rbd": "BLK_DEV_RBD",
    "sch_ingress": "NET_SCH_INGRESS",
}
"""Kernel options whose name does not follow from the module's (kernel's Kconfig files)."""


def answer(query: dict[str, Any], state: Path = STATE) -> dict[str, Any]:
    """Read everything that ``query`` names; every name asked for is in the answer."""
    for read_anew in (_user, _group, _modules_file):
        read_anew.cache_clear()
    digests = _known_digests(state) if query["files"] else {}
    found: dict[str, Any] = {
        "files": {path: _file(path, digests) for path in query["files"]},
        "texts": {path: _text(path) for path in query["texts"]},
        "globs": {pattern: _glob(pattern) for pattern in query["globs"]},
        "units": _units(query["units"], state),
        "sysctls": {name: _sysctl(name) for name in query["sysctls"]},
        "modules": {name: module_loaded(name) for name in query["modules"]},
        "packages": _packages(query["packages"]),
        "connect": {},
        "names": {},
        "system": {},
        "etcd": {},
        "postgresql": {},
    }
    # The parts that few queries need are other files, so that a plain query stays quick.
    if query["connect"]:
        from provision.adapters.onmachine.network import connect

        found["connect"] = connect(query["connect"])
    if query["names"]:
        from provision.adapters.onmachine.dns import ask

        found["names"] = ask(query["names"])
    if query["etcd"]:
        from provision.adapters.onmachine.etcd import members

        found["etcd"] = members()
    if query["postgresql"]:
        from provision.adapters.onmachine.postgresql import stands

        found["postgresql"] = stands(query["postgresql"])
    if query["system"]:
        from provision.adapters.onmachine.system import system

        found["system"] = system()
    return found


def _known_digests(state: Path) -> dict[str, list[Any]]:
    known: dict[str, list[Any]] = {}
    for path in sorted((state / "digests").glob("*.json")):
        known.update(_digests_in(path))
    return known


def _digests_in(path: Path) -> dict[str, list[Any]]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        # A torn or vanished file only costs the time of hashing again.
        return {}


def _file(path: str, digests: dict[str, list[Any]]) -> dict[str, Any] | None:
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = {
        "type": _type(status.st_mode),
        "mode": f"0{stat.S_IMODE(status.st_mode):03o}",
        "owner": _user(status.st_uid),
        "group": _group(status.st_gid),
        "size": status.st_size,
        "sha256": None,
    }
    if stat.S_ISREG(status.st_mode):
        found["sha256"] = _sha256(path, status, digests.get(path))
    elif stat.S_ISLNK(status.st_mode):
        found["target"] = os.readlink(path)  # noqa: PTH115 - Path would drop a trailing slash
    return found


def _type(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


def fingerprint(status: os.stat_result) -> list[int]:
    """What must be unchanged for a remembered digest to hold.

    Size in bytes, time of change of content and of inode in nanoseconds, inode number.
    """
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _sha256(path: str, status: os.stat_result, known: list[Any] | None) -> str:
    if known is not None and known[1:] == fingerprint(status):
        return str(known[0])
    # Rarely needed, and as slow to import as everything else here.
    import hashlib

    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as stream:
        while True:
            block = stream.read(1 << 20)
            if not block:
                return digest.hexdigest()
            digest.update(block)


@functools.cache
def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


@functools.cache
def _group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _text(path: str) -> str | None:
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(TEXT_LIMIT + 1)
        return None if len(content) > TEXT_LIMIT else content.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _glob(pattern: str) -> list[str]:
    return sorted(str(path) for path in Path("/").glob(pattern.lstrip("/")))


def _units(names: list[str], state: Path) -> dict[str, dict[str, Any]]:
    if not names:
        return {}
    wanted = "--property=LoadState,ActiveState,UnitFileState"
    done = run(["systemctl", "show", wanted, "--", *names])
    blocks = [_properties(block) for block in done.stdout.split("\n\n")]
    if len(blocks) != len(names):
        unknown = f"unknown: {done.stderr.strip() or 'systemd does not answer'}"
        blocks = [{"ActiveState": unknown}] * len(names)
    marks = state / "restart-pending"
    return {
        name: {**unit_state(block), "restart_pending": (marks / name).exists()}
        for name, block in zip(names, blocks)
    }


def _properties(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines())
    return {name: value for name, _, value in pairs}


def unit_state(shown: dict[str, str]) -> dict[str, Any]:
    """How a unit stands, from systemd's properties of it."""
    state = shown.get("ActiveState", "inactive")
    if shown.get("LoadState") == "not-found" and state == "inactive":
        state = "not found"
    return {
        "enabled": shown.get("UnitFileState") in ("enabled", "enabled-runtime", "alias"),
        "active": state in ("active", "reloading"),
        "state": state,
    }


def _sysctl(name: str) -> str | None:
    # As sysctl(8): a name with dots as separators has slashes where a part holds a dot.
    path = name.translate(str.maketrans("./", "/."))
    try:
        return Path("/proc/sys", path).read_text("utf-8").strip()
    except OSError:
        return None


def module_loaded(name: str) -> bool:
    """Whether the kernel has the module loaded, or built in."""
    name = name.replace("-", "_")
    if Path("/sys/module", name).exists() or name in _modules_file("modules.builtin"):
        return True
    return kernel_config().get(_CONFIG_OF_MODULE.get(name, name.upper())) == "y"


def module_available(name: str) -> bool:
    """Whether the kernel has the module loaded or built in, or can load it."""
    return module_loaded(name) or name.replace("-", "_") in _modules_file("modules.dep")


@functools.cache
def _modules_file(name: str) -> frozenset[str]:
    try:
        text = Path("/lib/modules", os.uname().release, name).read_text("utf-8")
    except OSError:
        return frozenset()
    paths = (line.partition(":")[0] for line in text.splitlines())
    return frozenset(Path(path).name.partition(".")[0].replace("-", "_") for path in paths)


@functools.cache
def kernel_config() -> dict[str, str]:
    """The kernel's build options without ``CONFIG_``; empty where the kernel does not tell."""
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        text = zlib.decompress(content, GZIP) if path.suffix == ".gz" else content
        return dict(_options(text.decode("utf-8").splitlines()))
    return {}


def _options(lines: Iterable[str]) -> Iterable[list[str]]:
    for line in lines:
        if line.startswith("CONFIG_"):
            yield line[len("CONFIG_") :].split("=", 1)


def _packages(names: list[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(names)
    if names:
        wanted = "--showformat=${Package}\t${db:Status-Status}\t${Version}\n"
        for line in run(["dpkg-query", "--show", wanted, *names]).stdout.splitlines():
            name, status, version = line.split("\t")
            if status == "installed" and name in found:
                found[name] = version
    return found


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that only reads; one that is not installed fails like any other."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def main() -> None:
    """Answer the queries that come, each on a line, until standard input ends."""
    for line in sys.stdin.buffer:
        started = time.time()
        found = answer(json.loads(line))
        found["clock"] = {"started": started, "finished": time.time()}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
