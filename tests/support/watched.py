"""A site's repository with real commits and real signatures, and machines that only remember."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.engine import STOPPED, Outcome
from provision.errors import OperatorError
from provision.phase import Blocked, Decision, Run, Skip
from provision.plan import Plan
from provision.site import Site, validated
from provision.watch.baseline import of_site_file
from provision.watch.repository import Repository
from provision.watch.rounds import Agreed, Judge, Watcher
from provision.watch.store import Store
from provision.yamlfile import read_yaml
from tests.support.sites import MODEL, SITE

IDENTITY = {
    "GIT_AUTHOR_NAME": "Anna",
    "GIT_AUTHOR_EMAIL": "anna@example.test",
    "GIT_COMMITTER_NAME": "Anna",
    "GIT_COMMITTER_EMAIL": "anna@example.test",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def run(folder: Path, *command: str, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **IDENTITY, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def make_key(folder: Path, name: str) -> Path:
    """A key for signatures; its public half lies beside it."""
    run(folder, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
    return folder / name


def allowed(key: Path) -> str:
    """A line of allowed signers for the key's owner."""
    kind, public = key.with_suffix(".pub").read_text().split()[:2]
    return f'{key.name}@example.test namespaces="git" {kind} {public}\n'


@dataclass
class Commits:
    """The work tree that somebody commits in; watchers fetch from it."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        run(self.folder, "git", "init", "--quiet", "--initial-branch", "main")

    def site(self, watch: str = "", text: str = SITE, **settings: Any) -> str:
        """A site file that is watched here."""
        given = {"repository": str(self.folder), "revision": "main", **settings}
        return f"{text}watch: {json.dumps(given)}\n"

    def commit(self, files: Mapping[str, str | None], key: Path | None = None) -> str:
        """Write ``files`` (remove those that are None) and commit; signed with ``key``."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_text(content)
        run(self.folder, "git", "add", "--all")
        signing = [] if key is None else ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"]
        words = ["commit", "--quiet", "--allow-empty", "--message", "Change"]
        run(self.folder, "git", *signing, *words, *([] if key is None else ["-S"]))
        return run(self.folder, "git", "rev-parse", "HEAD")


@dataclass
class Machines:
    """Each remembers what it was made like; what differs is the plan."""

    made: dict[str, str] = field(default_factory=dict)
    fails: OperatorError | None = None
    unproven: OperatorError | None = None
    """What proofs say once everything is applied."""
    silence: OperatorError | None = None
    """Why nothing can be proven."""
    stops_last: bool = False
    """Whether it is stopped once everything is applied."""
    proofs: int = 0
    """How often they were asked."""
    leaves: str = ""
    """A machine that applying leaves behind."""
    interrupted: bool = False
    blocked: str = ""
    silent: set[str] = field(default_factory=set)
    applied: list[str] = field(default_factory=list)
    """Digest of every site that was applied, in order."""
    meanwhile: Callable[[], None] = lambda: None
    """What happens between a watcher's plan and that of the work."""

    def plan(self, site: Site) -> Plan:
        wanted = like(site)
        reasons = {
            host: [f"it is not as {wanted[:6]} says"]
            for host in site.hosts
            if host not in self.silent and self.made.get(host) != wanted
        }
        decision: Decision = Run(reasons) if reasons else Skip("nothing differs")
        decisions = {"machine": Blocked([self.blocked]) if self.blocked else decision}
        return Plan(decisions, dict.fromkeys(sorted(self.silent), "no answer"))

    def apply(self, site: Site, agreed: Agreed, prove: bool = False) -> Outcome:
        self.meanwhile()
        plan = self.plan(site)
        agreed(plan)
        if self.fails is not None:
            raise self.fails
        stopped = STOPPED if self.interrupted or self.stops_last else ""
        if self.interrupted and not self.leaves:
            return Outcome(plan.decisions, {}, stopped=stopped)
        self.applied.append(site.digest)
        for host in site.hosts:
            if host != self.leaves:
                self.made[host] = like(site)
        failed = {self.leaves: "it broke"} if self.leaves else {}
        if (plan.changes or prove) and not failed and not stopped:
            self.proofs += 1
            if self.silence is not None:
                raise self.silence
            return Outcome(plan.decisions, failed, error=self.unproven)
        return Outcome(plan.decisions, failed, stopped=stopped)

    def damage(self, host: str) -> None:
        self.made[host] = "damaged"


def like(site: Site) -> str:
    """What a machine is made like: not a matter of who watches it."""
    text = json.dumps(site.model_dump(mode="json", exclude={"watch"}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Watched:
    """A watcher and all that it works with, begun anew whenever asked."""

    folder: Path
    commits: Commits
    machines: Machines = field(default_factory=Machines)
    announced: list[str] = field(default_factory=list)
    fetch_seconds: float = 60
    model: type[Site] = MODEL
    judge: Judge = lambda source: validated(source, MODEL)

    @property
    def store(self) -> Store:
        return Store(self.folder / "state" / "watch")

    def watcher(self, started: str) -> Watcher:
        """One that is started with a site file of this text."""
        path = self.folder / "started" / "site.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(started)
        site = self.judge(read_yaml(path)).site
        self.store.make()
        return Watcher(
            of_site_file(site, str(path)),
            self.store,
            Repository(self.store.folder, self.fetch_seconds),
            model=self.model,
            judge=self.judge,
            optional={"radio"},
            plan=self.machines.plan,
            apply=self.machines.apply,
            announce=lambda text, _: self.announced.append(text),
        )
