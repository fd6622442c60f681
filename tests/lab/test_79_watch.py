"""The site file from its own repository: adopted, kept, changed with approval, refused unsigned."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.errors import ExitCode
from tests.lab.machines import Lab
from tests.support.watched import Commits, allowed, make_key

pytestmark = pytest.mark.soak

VICTIM = "n2"
DAMAGED = "/etc/modules-load.d/provision.conf"
SYSCTLS = "/etc/sysctl.d/95-provision.conf"
SYSCTL = "net.ipv4.tcp_keepalive_time"
WANTED = "1234"
VERIFYING = "verifying with throw-away objects"


@dataclass
class Followed:
    """The lab, whose site file is followed, and where it is committed."""

    lab: Lab
    commits: Commits
    key: Path

    def commit(self, change: Callable[[dict[str, Any]], object], *, signed: bool = True) -> str:
        """Commit what ``change`` makes of the site file that the watcher was started with."""
        data = yaml.safe_load(self.lab.site_file.read_text())
        change(data)
        files = {"site.yaml": yaml.safe_dump(data, sort_keys=False)}
        return self.commits.commit(files, key=self.key if signed else None)

    @property
    def waiting(self) -> dict[str, Any]:
        return dict(json.loads((self.lab.state / "watch" / "pending.json").read_text()))

    def approve(self) -> None:
        self.lab.provision("approve", self.waiting["id"], "--yes")


@pytest.fixture(scope="module")
def followed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """The lab as its site file says; in the end as well."""
    lab.provision("up", "--no-verify")
    folder = tmp_path_factory.mktemp("watch")
    commits = Commits(folder / "repository")
    key = make_key(folder, "anna")
    watch = {
        "repository": f"file://{commits.folder}",
        "revision": "main",
        "allowed_signers": "signers",
    }
    started = lab.changed(folder, lambda data: data.update(watch=watch))
    for path in (folder, commits.folder):
        (path / "signers").write_text(allowed(key))
    yield Followed(started, commits, key)
    lab.provision("up", "--no-verify")


def test_the_first_commit_is_adopted(followed: Followed) -> None:
    commit = followed.commit(lambda _: None)
    printed = followed.lab.provision("watch", "--once")
    assert f"is as commit {commit[:12]} says" in printed
    assert followed.lab.newest_journal()[-1]["outcome"] == "done"


def test_what_was_damaged_by_hand_is_repaired(
    followed: Followed, report: Callable[[str], None]
) -> None:
    machine = followed.lab.machines[VICTIM]
    before = machine.read(DAMAGED)
    machine.run(f"echo '# by hand' >> {DAMAGED}")
    started = time.monotonic()
    printed = followed.lab.provision("watch", "--once")
    took = time.monotonic() - started
    report(f"watch --once repaired a file, and proved the site, in {took:.1f} s")
    assert "applying commit" in printed
    assert machine.read(DAMAGED) == before
    followed.lab.provision("plan", expect=0)
    runs = followed.lab.provision("runs").splitlines()
    assert [line.split()[1:3] for line in runs[:3]] == [
        ["watch", "done"],
        ["watch", "applying"],
        ["up", "done"],
    ]


def test_what_was_applied_and_not_proven_is_proven_once_it_is_allowed(followed: Followed) -> None:
    """The watcher is killed while it proves what it repaired."""
    followed.lab.machines[VICTIM].run(f"echo '# by hand' >> {DAMAGED}")
    with followed.lab.start("watch", "--once") as watching:
        assert watching.stdout is not None
        for line in watching.stdout:
            if VERIFYING in line:
                watching.kill()
    assert watching.returncode == -signal.SIGKILL
    followed.lab.provision("plan", expect=0)
    waits = followed.lab.provision("watch", "--once", expect=ExitCode.CHANGES)
    assert "the watcher ended while it applied this" in waits
    followed.approve()
    assert VERIFYING in followed.lab.provision("watch", "--once")
    followed.lab.provision("watch", "--once", expect=0)


def test_a_changed_value_waits_until_it_is_approved(followed: Followed) -> None:
    machine = followed.lab.machines[VICTIM]
    commit = followed.commit(lambda data: data["machine"].update(sysctls={SYSCTL: WANTED}))
    printed = followed.lab.provision("watch", "--once", expect=ExitCode.CHANGES)
    assert SYSCTL in printed
    site, plan = followed.lab.site_file, followed.waiting["id"]
    assert f"provision approve --site {site} {plan}" in printed
    assert machine.run(f"sysctl -n {SYSCTL}").strip() != WANTED
    followed.approve()
    followed.lab.provision("watch", "--once")
    assert machine.run(f"sysctl -n {SYSCTL}").strip() == WANTED
    applied = json.loads((followed.lab.state / "watch" / "applied.json").read_text())
    assert applied["commit"] == commit
    assert applied["by"]
    followed.lab.provision("watch", "--once", expect=0)


def test_an_approval_is_void_once_the_plan_is_another(followed: Followed) -> None:
    followed.commit(lambda _: None)
    followed.lab.provision("watch", "--once", expect=ExitCode.CHANGES)
    outdated = followed.waiting["id"]
    followed.approve()
    followed.lab.machines[VICTIM].run(f"echo '# by hand' >> {DAMAGED}")
    followed.lab.provision("watch", "--once", expect=ExitCode.CHANGES)
    assert followed.waiting["id"] != outdated
    printed = followed.lab.provision("approve", outdated, "--yes", expect=ExitCode.USAGE)
    assert "outdated" in printed
    followed.approve()
    followed.lab.provision("watch", "--once")
    followed.lab.provision("plan", expect=0)


def test_a_commit_without_a_signature_is_refused(followed: Followed) -> None:
    machine = followed.lab.machines[VICTIM]
    before = machine.look()["files"][SYSCTLS]

    def weaken(data: dict[str, Any]) -> None:
        data["machine"]["sysctls"] = {SYSCTL: WANTED}
        del data["watch"]["allowed_signers"]

    followed.commit(weaken, signed=False)
    printed = followed.lab.provision("watch", "--once", expect=ExitCode.CONFIG)
    assert "not signed by anyone who may" in printed
    assert machine.look()["files"][SYSCTLS] == before
