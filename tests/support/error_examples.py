"""Errors as the program itself makes them, for the page that shows one of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyrage

from provision.adapters.failures import explain
from provision.bundle.bundle import Bundle
from provision.engine import Engine, Interrupt
from provision.errors import OperatorError
from provision.gates import Gates
from provision.locallock import local_lock
from provision.phase import Blocked, Decision, GateSpec, Run, Skip
from provision.plan import Plan, render, select
from provision.privatefiles import write_error
from provision.secrets import SecretStore
from provision.secretsharing import export_secrets, import_secrets
from provision.verbs.up import refuse_blocked
from provision.verbs.verify import Verdict, Verification
from tests.support.fakes import FakeSite, LabelPhase, make_site
from tests.support.secrets import SPECS
from tests.support.sites import SITE, load


def said(work: Callable[[], object]) -> str:
    """The message of the error that ``work`` ends with, as the terminal gets it."""
    try:
        work()
    except OperatorError as error:
        return f"error: {error}"
    raise AssertionError("it was expected to fail")


def changes(folder: Path) -> str:
    decisions: dict[str, Decision] = {
        "machine": Run({"n2": ["sysctl net.ipv4.ip_forward is 0, wanted 1"]}),
        "depot": Skip("every machine is as the site says"),
    }
    return "\n".join(render(Plan(decisions, {})))


def config(folder: Path) -> str:
    text = SITE.replace("parts: [control_plane]}", "part: [control_plane]}", 1)
    return said(lambda: load(folder, text.replace("10.0.0.13", "10.0.0.300")))


def networks(folder: Path) -> str:
    text = SITE.replace("10.0.0.0/24", "10.0.0.0/24\n  pods: 10.0.0.0/16")
    return said(lambda: load(folder, text.replace("10.0.0.12", "10.0.0.11")))


def not_yaml(folder: Path) -> str:
    return said(lambda: load(folder, SITE.replace("worker]", "worker")))


def password(folder: Path) -> str:
    return said(lambda: load(folder, SITE + "connection: {sudo_password: hunter2}\n"))


def refused(folder: Path) -> str:
    reply = {"kind": "connect", "text": "connection refused"}
    return f"error: {explain(make_site(), 'n2', reply)}"


def host_key(folder: Path) -> str:
    reply = {
        "kind": "key changed",
        "name": "192.0.2.2",
        "type": "ssh-ed25519",
        "key": "AAAAC3NzaC1lZDI1NTE5AAAAIEmLqiTFzO6GTT5Sa5tl4sOOSdbMPRYfMhuHHaIgoZZT",
        "file": "known_hosts",
    }
    return f"error: {explain(make_site(), 'n2', reply)}"


def findings(folder: Path) -> str:
    why = "n1 runs Kubernetes 1.35.4 and the site wants 1.36.3; there is no upgrade yet"
    plan = Plan({"kubernetes": Blocked([why])}, {})
    return said(lambda: refuse_blocked(plan))


def unproven(folder: Path) -> str:
    verdicts = (
        Verdict("services by name", True, 4.1, "from each of 3 machines to the next"),
        Verdict("volume local-path", False, 120.0, "waited 120 s in vain for the pods a to start"),
    )

    def fail() -> None:
        if failure := Verification("lab", verdicts).failure():
            raise failure

    return said(fail)


def bundle(folder: Path) -> str:
    return said(lambda: Bundle.find(folder / "bundles", "1.36.3"))


def locked(folder: Path) -> str:
    holder = "anna@laptop (process 4711), run 20261123T101500.123-4711"
    with local_lock(folder, holder):
        return said(lambda: local_lock(folder, "ben").__enter__())


def failed(folder: Path) -> str:
    fake = FakeSite(make_site(control_plane=1), failing={"kubernetes": "n1"})
    phases = (LabelPhase("kubernetes"),)
    engine = Engine(
        fake.context,
        phases,
        observer=fake,
        effects=fake,
        gates=fake,
        preparer=fake,
        inventory=fake,
        emit=lambda _: None,
        interrupt=Interrupt(),
    )
    facts = fake.observe(fake.context, phases, fake.site.hosts)
    error = engine.up(Plan.of(fake.context, phases, facts), facts).error
    return f"error: {error}"


def deadline(folder: Path) -> str:
    seen = "n3 is NotReady: container runtime network not ready"
    gates = Gates({"nodes ready": lambda _: (False, seen)}, clock=iter(range(99)).__next__)
    gate = GateSpec("nodes ready", 0)
    return said(lambda: gates.wait(gate, lambda _: None, lambda: False))


def store(folder: Path, site: str = "lab") -> SecretStore:
    made = SecretStore(folder / site / "secrets", specs=SPECS, site=site)
    made.ensure(SPECS)
    return made


def lost(folder: Path) -> str:
    secrets = store(folder)
    (secrets.path / "site-ca.key").unlink()
    return said(lambda: secrets.ensure(SPECS))


def open_to_others(folder: Path) -> str:
    secrets = store(folder)
    (secrets.path / "kubeconfig").chmod(0o644)
    return said(lambda: secrets.read("kubeconfig"))


def inside_git(folder: Path) -> str:
    (folder / ".git").mkdir()
    return said(lambda: SecretStore(folder / "secrets", site="lab").ensure(SPECS[:1]))


def importing(folder: Path) -> str:
    identity = pyrage.x25519.Identity.generate()
    (folder / "key.txt").write_text(str(identity))
    export_secrets(
        store(folder, "other"), folder / "other.age", recipients=[str(identity.to_public())]
    )
    target = SecretStore(folder / "lab" / "secrets", site="lab")
    keys = [folder / "key.txt"]
    return said(lambda: import_secrets(target, folder / "other.age", identities=keys))


def disk(folder: Path) -> str:
    """Linux' own full disk stands for the controller's: a write to it fails alike."""
    try:
        Path("/dev/full").write_bytes(b"x")
    except OSError as error:
        return f"error: {write_error(error, folder / 'lab/secrets/kubeconfig')}"
    raise AssertionError("/dev/full is never full")


def usage(folder: Path) -> str:
    phases = tuple(LabelPhase(name) for name in ("machine", "depot"))
    return said(lambda: select(phases, ["kubernets"]))


EXAMPLES: dict[str, Callable[[Path], str]] = {
    "changes": changes,
    "config": config,
    "networks": networks,
    "yaml": not_yaml,
    "password": password,
    "refused": refused,
    "host-key": host_key,
    "findings": findings,
    "bundle": bundle,
    "locked": locked,
    "failed": failed,
    "deadline": deadline,
    "unproven": unproven,
    "lost": lost,
    "open": open_to_others,
    "git": inside_git,
    "import": importing,
    "disk": disk,
    "usage": usage,
}
