"""What Cilium's agent leaves on a machine when it is gone, and how each goes.

An agent that still runs would make it all again, so kubelet and agent are
stopped first.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

FILES = (
    "/etc/cni/net.d/05-cilium.conflist",
    "/etc/sysctl.d/99-zzz-override_cilium.conf",
    "/opt/cni/bin/cilium-cni",
    "/opt/cni/bin/cilium-mount",
    "/opt/cni/bin/cilium-sysctlfix",
)
CGROUP_MOUNT = "/run/cilium/cgroupv2"
FOLDERS = ("/sys/fs/bpf/cilium", "/run/cilium", "/var/lib/cilium")
GLOBAL_MAPS = Path("/sys/fs/bpf/tc/globals")
INTERFACES = ("cilium_", "lxc")
"""Beginnings of the names of Cilium's interfaces: its own, and its ends of pods' links."""
TABLES = ("raw", "mangle", "nat", "filter")
CHAINS = ("CILIUM_", "OLD_CILIUM_")
ROUTING_TABLES = ("2004", "2005")
CONTAINERS = ("cilium-agent", "cilium-operator")
DELETE_FILTERS = ("tc", "qdisc", "del", "dev")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LeftoverError(Exception):
    """Something that cannot be taken away; the message says what and why."""


Step = Callable[[], object]


def removals() -> Iterator[tuple[str, Step]]:
    """Each thing that is left, in words, and what takes it away, in the order of doing."""
    if _agents():
        yield "running agent", _stop_agents
    for name in _interfaces():
        yield f"interface {name}", partial(_delete_interface, name)
    for device in _filtered_devices():
        yield f"BPF programs on {device}", partial(_run, *DELETE_FILTERS, device, "clsact")
    if os.path.ismount(CGROUP_MOUNT):
        # Programs on control groups go with their pins, which are removed below.
        yield f"mount {CGROUP_MOUNT}", partial(_run, "umount", CGROUP_MOUNT)
    yield from _files()
    yield from _packet_filter()
    for family in ("-4", "-6"):
        for table in ROUTING_TABLES:
            if _run("ip", family, "rule", "show", "table", table).strip():
                delete = partial(_run, "ip", family, "rule", "del", "table", table)
                yield f"routing rule for table {table}", delete


def _files() -> Iterator[tuple[str, Step]]:
    for path in GLOBAL_MAPS.glob("cilium_*"):
        yield f"BPF map {path.name}", partial(path.unlink, missing_ok=True)
    for name in FOLDERS:
        if Path(name).exists():
            yield f"folder {name}", partial(shutil.rmtree, name)
    for name in FILES:
        if Path(name).exists():
            yield f"file {name}", Path(name).unlink
    for backup in Path("/etc/cni/net.d").glob("*.cilium_bak"):
        yield f"file {backup}", partial(backup.replace, backup.with_suffix(""))


def _packet_filter() -> Iterator[tuple[str, Step]]:
    for program in ("iptables", "ip6tables"):
        if not shutil.which(program, path=PATH):
            continue
        for table in TABLES:
            chains = _chains(program, table)
            if chains:
                yield (
                    f"{program} chains {', '.join(chains)}",
                    partial(_remove_chains, program, table, chains),
                )


def _agents() -> list[str]:
    """Containers of Cilium that run under containerd."""
    if not shutil.which("ctr", path=PATH) or not Path("/run/containerd/containerd.sock").exists():
        return []
    running = {
        line.split()[0]
        for line in _run("ctr", "--namespace=k8s.io", "tasks", "list").splitlines()[1:]
        if " RUNNING" in line
    }
    found: list[str] = []
    for name in CONTAINERS:
        label = f'labels."io.kubernetes.container.name"=={name}'
        listed = _run("ctr", "--namespace=k8s.io", "containers", "list", "--quiet", label)
        found.extend(task for task in listed.split() if task in running)
    return found


def _stop_agents() -> None:
    # The kubelet would start them again; it comes down with Kubernetes in any case.
    _run("systemctl", "stop", "kubelet.service")
    for task in _agents():
        _run("ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", task)


def _interfaces() -> list[str]:
    links = json.loads(_run("ip", "-json", "link", "show"))
    return [link["ifname"] for link in links if link["ifname"].startswith(INTERFACES)]


def _delete_interface(name: str) -> None:
    # The two ends of a link go together.
    if name in _interfaces():
        _run("ip", "link", "delete", name)


def _filtered_devices() -> Iterator[str]:
    if not shutil.which("tc", path=PATH):
        return
    for link in json.loads(_run("ip", "-json", "link", "show")):
        name = link["ifname"]
        if name.startswith(INTERFACES) or "clsact" not in _run("tc", "qdisc", "show", "dev", name):
            continue
        filters = (_run("tc", "filter", "show", "dev", name, way) for way in ("ingress", "egress"))
        if any("cil_" in text for text in filters):
            yield name


def _chains(program: str, table: str) -> list[str]:
    listed = (line.split() for line in _run(program, "-t", table, "-S").splitlines())
    return [words[1] for words in listed if words[0] == "-N" and words[1].startswith(CHAINS)]


def _remove_chains(program: str, table: str, chains: Sequence[str]) -> None:
    for chain in chains:
        _run(program, "-t", table, "-F", chain)
    for line in _run(program, "-t", table, "-S").splitlines():
        rule = shlex.split(line)
        if rule[0] == "-A" and rule[-1] in chains:
            _run(program, "-t", table, "-D", *rule[1:])
    for chain in chains:
        _run(program, "-t", table, "-X", chain)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C"},
            text=True,
            check=False,
        )
    except OSError as error:
        raise LeftoverError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LeftoverError(f"`{' '.join(command)}` ended with code {done.returncode}: {said}")
    return done.stdout
