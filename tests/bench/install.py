"""``provision up`` on fresh machines beside a bare shell script with the same binaries.

    python -m tests.bench.install --site inventory/lab

Destroys the lab's machines and makes them anew, twice: once for each. Prints
when each phase began and ended, the seconds of the whole, what the phases
would take one after the other, the seconds of the script, and their ratio.
The script makes a cluster and nothing else, so that it is left out for a site
that has more, such as ``inventory/services``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from provision.app import Application, find_site, read_site
from provision.paths import state_path
from provision.plan import phases_of
from tests.lab.machines import KEY_FOLDER

ROOT = Path(__file__).resolve().parents[2]


def fresh_machines(site: str) -> None:
    """Throw the lab's machines away and make new ones."""
    env = {**os.environ, "PROVISION_SITE_FILE": str(find_site(site))}
    subprocess.run(["vagrant", "destroy", "--force"], cwd=ROOT, env=env, check=True)
    subprocess.run(["vagrant", "up"], cwd=ROOT, env=env, check=True)


Span = tuple[float, float]
"""Begin and end, in seconds since the run began."""


def by_provision(site: str) -> tuple[float, dict[str, Span]]:
    """Seconds of ``up`` as a whole, and each phase's span."""
    with tempfile.TemporaryDirectory() as state:
        # The keys that this controller signs bundles with, so that it believes its own bundle.
        shutil.copytree(state_path(KEY_FOLDER), Path(state) / "provision" / KEY_FOLDER)
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "provision", "up", "--no-verify", "--json", "--site", site],
            cwd=ROOT,
            env={**os.environ, "XDG_STATE_HOME": state},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        took = time.monotonic() - started
    return took, spans([json.loads(line) for line in done.stdout.splitlines()])


def spans(events: list[dict[str, Any]]) -> dict[str, Span]:
    """When each phase that ran began and ended."""
    times = [datetime.fromisoformat(event["time"]).timestamp() for event in events]
    began = {
        event["phase"]: time - times[0]
        for event, time in zip(events, times, strict=True)
        if event["event"] == "phase-started"
    }
    return {
        event["phase"]: (round(began[event["phase"]], 1), round(time - times[0], 1))
        for event, time in zip(events, times, strict=True)
        if event["event"] == "phase-finished" and event["phase"] in began
    }


def by_script(site: str) -> float:
    """Seconds of the bare script; unpacking the bundle for it is not counted."""
    loaded = read_site(find_site(site)).site
    bundle = Application(loaded).bundle
    with tempfile.TemporaryDirectory() as folder:
        files, images = Path(folder, "files"), Path(folder, "images")
        files.mkdir()
        images.mkdir()
        for file in bundle.lock.files:
            (files / file.name).write_bytes(bundle.blob(file.sha256).read_bytes())
        for number, reference in enumerate(bundle.images):
            subprocess.run(
                [
                    "skopeo",
                    "copy",
                    "--quiet",
                    f"oci:{bundle.folder}:{reference}",
                    f"docker-archive:{images / f'{number}.tar'}:{reference}",
                ],
                check=True,
            )
            if "/pause:" in reference:
                (images / "pause.reference").write_text(reference)
            if "/etcd:" in reference:
                (images / "etcd.tag").write_text(reference.rpartition(":")[2])
        connection = loaded.connection
        assert connection.user is not None
        assert connection.key is not None
        assert connection.known_hosts is not None
        endpoint = loaded.model_dump(mode="json")["api_endpoint"]
        command = [
            str(ROOT / "tests" / "bench" / "baseline.sh"),
            str(files),
            str(images),
            connection.user,
            str(loaded.resolve(connection.key)),
            str(loaded.resolve(connection.known_hosts)),
            endpoint["address"],
            str(endpoint["port"]),
            loaded.model_dump(mode="json")["kubernetes"]["version"],
            *(str(host.address) for host in loaded.hosts.values()),
        ]
        started = time.monotonic()
        subprocess.run(command, cwd=ROOT, check=True)
        return time.monotonic() - started


def main() -> None:
    """Measure both and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--site", default="inventory/lab")
    site = parser.parse_args().site
    fresh_machines(site)
    ours, phases = by_provision(site)
    figures: dict[str, Any] = {
        "phases_from_to_seconds": phases,
        "up_seconds": round(ours, 1),
        "one_after_the_other_seconds": round(sum(end - begin for begin, end in phases.values()), 1),
    }
    if not any(phase.settings.optional for phase in phases_of(read_site(find_site(site)).site)):
        fresh_machines(site)
        theirs = by_script(site)
        figures |= {"script_seconds": round(theirs, 1), "ratio": round(ours / theirs, 2)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
