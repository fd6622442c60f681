"""The lab as tests see it: machines to look at, to damage, to stop, and the tool to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
KEY_FOLDER = ".bundle-keys"
"""Where, among the states of all sites, the keys are that this controller signs bundles with."""
SITE_FILE = ROOT / "inventory" / os.environ.get("PROVISION_LAB_SITE", "lab") / "site.yaml"
"""The lab's site; ``PROVISION_LAB_SITE=services`` is the one with all that a cloud would give."""

LOOK = r"""
import hashlib, json, os, stat, subprocess, sys
SKIP = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache/ldconfig",
        "/var/lib/systemd/timers", "/var/lib/systemd/timesync", "/var/lib/systemd/random-seed",
        "/home/vagrant/.cache", "/var/lib/private/systemd/journal-upload")
found = {}
for top, folders, files in os.walk("/"):
    folders[:] = sorted(f for f in folders if os.path.join(top, f) not in SKIP)
    for name in folders + files:
        path = os.path.join(top, name)
        if path in SKIP:
            continue
        info = os.lstat(path)
        entry = [oct(info.st_mode), info.st_uid, info.st_gid]
        if stat.S_ISREG(info.st_mode):
            entry += [info.st_size, info.st_mtime_ns]
        elif stat.S_ISLNK(info.st_mode):
            entry.append(os.readlink(path))
        found[path] = entry
def output(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return sorted(done.stdout.splitlines())
units = output("systemctl", "list-unit-files", "--no-legend", "--no-pager")
running = output("systemctl", "list-units", "--no-legend", "--plain", "--no-pager",
                 "--type=service,socket,timer,mount")
running = [line for line in running if not line.startswith(("session-", "user@", "user-runtime",
                                                            "run-user"))]
addresses = output("ip", "-o", "-br", "address")
routes = output("ip", "route")
sysctls = output("sysctl", "-a", "--pattern", "^(net.ipv4.ip_forward|net.bridge|fs.inotify)")
json.dump({"files": found, "units": units, "running": running, "addresses": addresses,
           "routes": routes, "sysctls": sysctls}, sys.stdout)
"""
"""Prints everything on a machine that outlives a reboot, and what runs."""


class CommandError(AssertionError):
    """A command of a test failed; the message holds what it printed."""


@dataclass
class Machine:
    """One machine of the lab, reached over SSH as an administrator would."""

    lab: Lab
    name: str
    address: str

    def run(self, command: str, *, check: bool = True, stdin: str | None = None) -> str:
        """Run a shell command as root; what it printed."""
        arguments = [*self.lab.ssh, f"{self.lab.user}@{self.address}", "sudo", "sh", "-c"]
        done = subprocess.run(
            [*arguments, _quote(command)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise CommandError(f"{self.name}: {command}: {done.stdout}{done.stderr}")
        return done.stdout

    def look(self) -> dict[str, Any]:
        """Everything that a run could have changed."""
        return dict(json.loads(self.run("python3 -", stdin=LOOK)))

    def read(self, path: str) -> str:
        """The content of a file."""
        return self.run(f"cat {path}")

    def stop(self) -> None:
        """Shut the machine down in order."""
        self.lab.podman("stop", "--time", "60", self.container)

    def kill(self) -> None:
        """Pull the plug."""
        self.lab.podman("kill", self.container)

    def start(self) -> None:
        """Switch the machine on; returns when SSH answers."""
        self.lab.podman("start", self.container)

    @property
    def container(self) -> str:
        """Name of the container that is this machine."""
        return f"{self.lab.name}-{self.name}"


@dataclass
class Lab:
    """The machines of a site file, and the tool working on them."""

    site_file: Path
    state_home: Path
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        data = yaml.safe_load(self.site_file.read_text())
        connection = data["connection"]
        folder = self.site_file.parent
        self.name: str = data["name"]
        self.user: str = connection["user"]
        self.ssh = [
            "ssh",
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            f"UserKnownHostsFile={(folder / connection['known_hosts']).resolve()}",
            "-i",
            str((folder / connection["key"]).resolve()),
        ]
        self.machines = {
            name: Machine(self, name, host["address"]) for name, host in data["hosts"].items()
        }
        self.endpoint = "{address}:{port}".format(**data["api_endpoint"])
        self.control_plane = [
            name for name, host in data["hosts"].items() if "control_plane" in host["parts"]
        ]

    def changed(self, folder: Path, change: Callable[[dict[str, Any]], object]) -> Lab:
        """The same machines, with what ``change`` makes of the site file in a file of its own."""
        data = yaml.safe_load(self.site_file.read_text())
        for key in ("key", "known_hosts"):
            path = (self.site_file.parent / data["connection"][key]).resolve()
            data["connection"][key] = str(path)
        change(data)
        path = folder / "site.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return Lab(path, self.state_home, self.extra)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the tool: the caller's with this run's own state folder."""
        return {**os.environ, "XDG_STATE_HOME": str(self.state_home), **self.extra}

    @property
    def state(self) -> Path:
        """Folder of the site's secrets and journals."""
        return self.state_home / "provision" / self.name

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``provision`` for this site without waiting for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "provision", *arguments, "--site", str(self.site_file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=ROOT,
            start_new_session=True,
        )

    def provision(self, *arguments: str, expect: int | None = 0) -> str:
        """Run ``provision`` for this site; what it printed, standard error included."""
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=1800)
        if expect is not None and process.returncode != expect:
            command = " ".join(arguments)
            raise CommandError(f"provision {command}: exit {process.returncode}\n{printed}")
        return printed

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run ``kubectl`` on a machine that has it, against the API endpoint."""
        machine = self.machines[self.control_plane[0]]
        return machine.run(
            f"kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s"
            f" {' '.join(_quote(argument) for argument in arguments)}",
            stdin=stdin,
            check=check,
        )

    def podman(self, *arguments: str) -> str:
        """Run ``podman``."""
        done = subprocess.run(
            ["podman", *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise CommandError(f"podman {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def newest_journal(self) -> list[dict[str, Any]]:
        """Events of the last run."""
        path = max((self.state / "runs").glob("*.jsonl"))
        return [json.loads(line) for line in path.read_text().splitlines()]


def vagrant_up(lab: Lab, *names: str, **environment: str) -> None:
    """Make machines of the lab that are not there; ``environment`` is the Vagrantfile's."""
    subprocess.run(
        ["vagrant", "up", *names],
        cwd=ROOT,
        env={**os.environ, "PROVISION_SITE_FILE": str(lab.site_file), **environment},
        check=True,
        timeout=300,
    )


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
