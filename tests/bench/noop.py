"""A no-op ``up`` beside the same roles' plain ``ansible-playbook --check``, in one run.

    python -m tests.bench.noop --site inventory/lab

The site must be up already. Both are run in turn, so that a noisy machine
disturbs both alike; the ratio of the medians is the figure. Both keep their
connections for a minute, so that all rounds but the first find them open.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from provision.adapters.ansible import environment
from provision.app import find_site, read_site
from provision.plan import phases_of

ROOT = Path(__file__).resolve().parents[2]


def seconds(command: list[str], env: dict[str, str]) -> float:
    """Wall time of a command that must succeed."""
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def measure(
    site: str, rounds: int, variables: Mapping[str, str], checks: int | None = None
) -> dict[str, float]:
    """Medians of both in seconds, and ``ratio``: no-op over check.

    ``variables`` are the environment of both. With ``checks``, Ansible's takes part in only so
    many of the rounds, the last ones.
    """
    provision = [sys.executable, "-m", "provision"]
    hosts = ROOT / "inventory" / "lab" / "hosts"
    phases = phases_of(read_site(find_site(site)).site)
    playbooks = [f"playbooks/{phase.name}.yml" for phase in phases]
    check = ["ansible-playbook", "--check", "-i", str(hosts), *playbooks]
    env = {**variables, "PROVISION_SITE": site}
    ansible_env = {**env, **environment(50), "XDG_STATE_HOME": env.get("XDG_STATE_HOME", "")}
    ours, theirs = [], []
    for played in range(rounds):
        ours.append(seconds([*provision, "up", "--site", site], env))
        if checks is None or rounds - played <= checks:
            theirs.append(seconds(check, ansible_env))
    return {
        "up_noop_seconds": round(median(ours), 2),
        "ansible_check_seconds": round(median(theirs), 2),
        "ratio": round(median(ours) / median(theirs), 4),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--site", default="inventory/lab")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.site, arguments.rounds, os.environ)))


if __name__ == "__main__":
    main()
