"""What one look at the repository does: with real commits, and machines that only remember."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.app import judged
from provision.errors import (
    ConfigError,
    DiskFullError,
    ExitCode,
    FindingsError,
    LockedError,
    OperatorError,
    PhaseFailedError,
    SecretsError,
    UnreachableError,
    UsageError,
)
from provision.plan import discover, settings_models
from provision.proof import NotProvenError
from provision.site import site_model
from provision.watch import baseline, pending
from provision.watch.pending import Approval
from provision.watch.rounds import Standing, Watcher
from provision.watch.store import Store
from tests.support import cases
from tests.support.sites import SITE
from tests.support.tls import server_context
from tests.support.watched import Commits, Watched, allowed, make_key, run

FASTER = SITE.replace("speed: 5", "speed: 6")
MORE = SITE.replace("10.0.0.14}", "10.0.0.14}\n  n5: {address: 10.0.0.15}")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, Commits(tmp_path / "work"))


def adopted(watched: Watched, **settings: Any) -> Watcher:
    """A watcher that has applied the first commit."""
    text = watched.commits.site(**settings)
    watched.commits.commit({"site.yaml": text})
    watcher = watched.watcher(text)
    assert watcher.once().word == "done"
    return watcher


def allow(watched: Watched, name: str) -> None:
    """What ``provision approve`` does."""
    found = pending.waiting(watched.store, name)
    pending.approve(watched.store, Approval(found.id, found.commit, "anna@here", "now"))


def waits(standing: Standing) -> str:
    """The id of what waits."""
    assert (standing.word, standing.code) == ("waiting", ExitCode.CHANGES)
    return str(standing.data["id"])


def reasons(standing: Standing) -> str:
    waits(standing)
    return "; ".join(standing.data["reasons"])


def test_the_first_commit_is_adopted_where_it_says_what_the_given_file_says(
    watched: Watched,
) -> None:
    text = watched.commits.site()
    commit = watched.commits.commit({"site.yaml": text + "# a comment\n"})
    standing = watched.watcher(text).once()
    assert (standing.word, standing.code, standing.fresh) == ("done", ExitCode.OK, True)
    assert len(watched.machines.applied) == 1
    assert "repairs" in watched.announced[0]
    again = watched.watcher(watched.commits.site(text=FASTER))
    assert again.in_force().commit == commit
    for path in watched.store.folder.glob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_first_commit_that_says_otherwise_waits(watched: Watched) -> None:
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    standing = watched.watcher(watched.commits.site()).once()
    assert "changes what it said" in reasons(standing)
    assert standing.data["differences"] == ("engine.speed changed",)
    assert watched.machines.applied == []


def test_nothing_to_do_is_no_news(watched: Watched) -> None:
    watcher = adopted(watched)
    standing = watcher.once()
    assert (standing.word, standing.fresh) == ("done", False)
    assert len(watched.machines.applied) == 1


def test_a_damage_is_repaired(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.machines.damage("n2")
    standing = watcher.once()
    assert (standing.word, standing.fresh) == ("done", True)
    assert watched.machines.made["n2"] == watched.machines.made["n1"]
    assert not watcher.once().fresh


@pytest.mark.parametrize("more", [{"text": MORE}, {"text": f"{SITE}radio: {{}}\n"}])
def test_an_addition_is_applied(watched: Watched, more: dict[str, str]) -> None:
    watcher = adopted(watched)
    commit = watched.commits.commit({"site.yaml": watched.commits.site(**more)})
    assert watcher.once().word == "done"
    assert "additions" in watched.announced[-1]
    assert watcher.in_force().commit == commit


@pytest.mark.parametrize(("allowed_", "kind"), [(["repairs"], "additions"), ([], "repairs")])
def test_what_the_site_keeps_for_people_waits(
    watched: Watched, allowed_: list[str], kind: str
) -> None:
    watched.machines.apply(watched.watcher(watched.commits.site()).started.site, lambda _: None)
    watcher = adopted(watched, unattended=allowed_)
    if kind == "additions":
        text = watched.commits.site(text=MORE, unattended=allowed_)
        watched.commits.commit({"site.yaml": text})
    else:
        watched.machines.damage("n1")
    name = waits(watcher.once())
    allow(watched, name)
    assert watcher.once().word == "done"
    assert len(set(watched.machines.made.values())) == 1


def test_a_change_waits_and_is_applied_once_approved(watched: Watched) -> None:
    watcher = adopted(watched)
    commit = watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    first = watcher.once()
    name = waits(first)
    assert f"provision approve {name}" in first.text
    assert "engine.speed changed" in first.text
    assert "run on n1, n2, n3, n4" in first.text
    # Nothing of the data takes the place of what an event says of itself.
    assert not {"time", "event", "phase", "host", "text"} & set(first.data)
    assert waits(watcher.once()) == name
    assert len(watched.machines.applied) == 1
    allow(watched, name)
    assert watcher.once().fresh
    assert watcher.in_force().commit == commit
    assert "approved by anna@here" in watched.announced[-1]
    assert (watched.store.read("applied") or {})["by"] == "anna@here"
    assert watched.store.read("pending") is None
    assert watched.store.read("approval") is None
    assert not watcher.once().fresh


def test_an_approval_holds_for_its_plan_alone(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    name = waits(watcher.once())
    allow(watched, name)
    # Another plan for the same commit: one machine less has something to do.
    watched.machines.made["n1"] = watched.machines.made["n2"]
    site = watcher.judge(_file(watcher)).site
    fresh = type(watched.machines)()
    fresh.apply(site, lambda _: None)
    watched.machines.made["n1"] = fresh.made["n1"]
    another = waits(watcher.once())
    assert another != name
    assert len(watched.machines.applied) == 1
    with pytest.raises(UsageError, match="outdated") as caught:
        pending.waiting(watched.store, name)
    assert another in caught.value.fix
    allow(watched, another)
    assert watcher.once().word == "done"


def test_an_approval_holds_for_its_commit_alone(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    allow(watched, waits(watcher.once()))
    watched.commits.commit({"README": "the same site file, another commit"})
    waits(watcher.once())
    assert len(watched.machines.applied) == 1


def test_machines_that_change_between_approval_and_work_are_asked_about_anew(
    watched: Watched,
) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    name = waits(watcher.once())
    allow(watched, name)
    watched.machines.meanwhile = lambda: watched.machines.silent.add("n3")
    standing = watcher.once()
    assert (standing.word, standing.code) == ("waiting", ExitCode.CHANGES)
    assert "not the one that was approved" in standing.text
    assert len(watched.machines.applied) == 1
    assert waits(watcher.once()) != name


def test_ids_that_never_waited_are_refused(watched: Watched) -> None:
    watcher = adopted(watched)
    with pytest.raises(UsageError, match="nothing waits"):
        pending.waiting(watched.store, "abc")
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    waits(watcher.once())
    with pytest.raises(UsageError, match="no plan with this id"):
        pending.waiting(watched.store, "abc")


def test_what_went_back_waits_no_more(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    name = waits(watcher.once())
    watched.commits.commit({"site.yaml": watched.commits.site()})
    assert watcher.once().word == "done"
    with pytest.raises(UsageError, match="nothing waits"):
        pending.waiting(watched.store, name)


def test_something_blocked_waits_and_cannot_be_approved(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.machines.blocked = "there is no upgrade yet"
    standing = watcher.once()
    assert "something is blocked" in reasons(standing)
    assert "nobody can apply it" in standing.text
    with pytest.raises(FindingsError, match="there is no upgrade yet"):
        pending.waiting(watched.store, str(standing.data["id"]))
    watched.machines.blocked = ""
    assert watcher.once().word == "done"


def test_removed_machines_wait(watched: Watched) -> None:
    watcher = adopted(watched)
    text = watched.commits.site(text=SITE.replace("  n4: {address: 10.0.0.14}\n", ""))
    watched.commits.commit({"site.yaml": text})
    assert watcher.once().data["differences"] == ("hosts.n4 removed",)


# Who may say what


def test_only_signed_commits_are_looked_at(watched: Watched, tmp_path: Path) -> None:
    anna, ben = make_key(tmp_path, "anna"), make_key(tmp_path, "ben")
    text = watched.commits.site(allowed_signers="signers")
    files = {"site.yaml": text, "signers": allowed(anna)}
    watched.commits.commit(files, key=anna)
    watcher = watched.watcher(watched.commits.site())
    (tmp_path / "started" / "signers").write_text(allowed(anna))
    watcher = watched.watcher(text)
    standing = watcher.once()
    assert standing.data["signer"] == "anna@example.test"
    good = watcher.in_force().commit
    for key in (None, ben):
        watched.commits.commit({"site.yaml": text.replace("n4:", "n5:")}, key=key)
        with pytest.raises(ConfigError, match="not signed by anyone who may"):
            watcher.once()
    assert watcher.in_force().commit == good
    assert len(watched.machines.applied) == 1


@pytest.fixture
def signed(watched: Watched, tmp_path: Path) -> tuple[Watcher, Path, Path]:
    """A watcher that asks for signatures, a key that may sign, and one that may not."""
    anna, ben = make_key(tmp_path, "anna"), make_key(tmp_path, "ben")
    text = watched.commits.site(allowed_signers="signers")
    watched.commits.commit({"site.yaml": text, "signers": allowed(anna)}, key=anna)
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "signers").write_text(allowed(anna))
    watcher = watched.watcher(text)
    assert watcher.once().word == "done"
    return watcher, anna, ben


def test_a_commit_cannot_allow_itself(watched: Watched, signed: tuple[Watcher, Path, Path]) -> None:
    watcher, _, ben = signed
    for files in (
        {"site.yaml": watched.commits.site()},
        {"signers": allowed(ben)},
        {"site.yaml": watched.commits.site(allowed_signers="own"), "own": allowed(ben)},
    ):
        watched.commits.commit(files, key=ben)
        with pytest.raises(ConfigError, match="not signed by anyone who may") as caught:
            watcher.once()
        assert "not the commit's own" in caught.value.why
    assert len(watched.machines.applied) == 1


def test_another_policy_waits_though_it_is_signed(
    watched: Watched, signed: tuple[Watcher, Path, Path]
) -> None:
    watcher, anna, ben = signed
    watched.commits.commit({"site.yaml": watched.commits.site()}, key=anna)
    assert watcher.once().data["differences"] == ("watch.allowed_signers removed",)
    both = {"signers": allowed(anna) + allowed(ben)}
    text = watched.commits.site(allowed_signers="signers")
    watched.commits.commit({"site.yaml": text, **both}, key=anna)
    standing = watcher.once()
    assert reasons(standing) == "the file signers, which the site file names, changes"
    watched.commits.commit({"README": "by the new one"}, key=ben)
    with pytest.raises(ConfigError, match="not signed by anyone who may"):
        watcher.once()
    watched.commits.commit({"README": "by the old one"}, key=anna)
    allow(watched, waits(watcher.once()))
    assert watcher.once().word == "done"
    watched.commits.commit({"README": "by the new one, now"}, key=ben)
    assert watcher.once().data["signer"] == "ben@example.test"


def test_signers_on_the_controller_are_the_administrators_to_change(
    watched: Watched, tmp_path: Path
) -> None:
    anna, ben = make_key(tmp_path, "anna"), make_key(tmp_path, "ben")
    signers = tmp_path / "allowed"
    signers.write_text(allowed(anna))
    text = watched.commits.site(allowed_signers=str(signers))
    watched.commits.commit({"site.yaml": text}, key=anna)
    watcher = watched.watcher(text)
    assert watcher.once().word == "done"
    signers.write_text(allowed(ben))
    with pytest.raises(ConfigError, match="not signed"):
        watcher.once()
    watched.commits.commit({"README": "x"}, key=ben)
    assert watcher.once().word == "done"


def test_pinned_files_are_part_of_what_the_site_says(watched: Watched, tmp_path: Path) -> None:
    text = watched.commits.site(text=f"{SITE}connection: {{known_hosts: pinned}}\n")
    watched.commits.commit({"site.yaml": text, "pinned": "one"})
    watcher = watched.watcher(text)
    (tmp_path / "started" / "pinned").write_text("one")
    watcher = watched.watcher(text)
    assert watcher.once().word == "done"
    watched.commits.commit({"pinned": "two"})
    assert "the file pinned" in reasons(watcher.once())


def test_what_was_applied_is_read_without_the_files_that_it_names(
    watched: Watched, tmp_path: Path
) -> None:
    """Components judge them, and they lay beside the site file in its commit's checkout."""
    watched.model, watched.judge = site_model(settings_models(discover())), judged
    _, authority = server_context(tmp_path)
    git = {"url": "https://git.example.org/apps.git", "ca": "git.pem"}
    settings = {
        "load_balancer": cases.sample_settings("load_balancer"),
        "argocd": {**cases.sample_settings("argocd"), "repositories": {"apps": git}},
        "vault": {"policies": {"apps": "apps.hcl"}},
    }
    text = watched.commits.site(text=yaml.safe_dump({**cases.SITE, **settings}))
    files = {"git.pem": authority.read_text(), "apps.hcl": 'path "apps/*" {}\n'}
    (tmp_path / "started").mkdir()
    for name, content in files.items():
        (tmp_path / "started" / name).write_text(content)
    watched.commits.commit({"site.yaml": text, **files})
    watcher = watched.watcher(text)
    assert watcher.once().fresh
    assert not watcher.once().fresh
    watched.commits.commit({"apps.hcl": 'path "*" {}\n'})
    assert "the file apps.hcl" in reasons(watcher.once())
    allow(watched, waits(watcher.once()))
    assert watcher.once().word == "done"
    watched.commits.commit({"apps.hcl": None})
    with pytest.raises(ConfigError, match=r"vault\.policies\.apps apps\.hcl is no file"):
        watcher.once()


def test_an_old_commit_that_comes_back_waits(watched: Watched) -> None:
    watcher = adopted(watched)
    first = watcher.in_force().commit
    watched.commits.commit({"site.yaml": watched.commits.site(text=MORE)})
    watcher.once()
    run(watched.commits.folder, "git", "reset", "--quiet", "--hard", first)
    assert "not made on top" in reasons(watcher.once())


def test_a_commit_that_ends_the_watching_is_refused(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": SITE})
    with pytest.raises(ConfigError, match="does not say what to watch"):
        watcher.once()


# What cannot be used


def test_another_sites_file_is_refused(watched: Watched) -> None:
    watcher = adopted(watched)
    other = SITE.replace("name: lab", "name: other")
    watched.commits.commit({"site.yaml": watched.commits.site(text=other)})
    with pytest.raises(ConfigError, match="another site's") as caught:
        watcher.once()
    assert (caught.value.found, caught.value.wanted) == ("other", "lab")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: [\n", "not YAML"),
        ("name: lab\n", "missing"),
        (SITE.replace("speed: 5", "speed: 11"), "engine.speed"),
        (None, "no site file there"),
    ],
)
def test_a_bad_site_file_is_told_and_nothing_else_done(
    watched: Watched, text: str | None, what: str
) -> None:
    watcher = adopted(watched)
    good = watcher.in_force().commit
    watched.commits.commit({"site.yaml": text})
    with pytest.raises(ConfigError, match=what):
        watcher.once()
    assert watcher.in_force().commit == good
    assert len(watched.machines.applied) == 1


def test_a_link_out_of_the_repository_is_not_read(watched: Watched, tmp_path: Path) -> None:
    watcher = adopted(watched)
    outside = tmp_path / "outside.yaml"
    outside.write_text(watched.commits.site())
    (watched.commits.folder / "site.yaml").unlink()
    (watched.commits.folder / "site.yaml").symlink_to(outside)
    watched.commits.commit({})
    with pytest.raises(ConfigError, match="leads out of the repository"):
        watcher.once()


def test_a_secret_that_would_be_asked_for_is_refused(watched: Watched) -> None:
    watcher = adopted(watched)
    text = f"{SITE}connection: {{sudo_password: {{prompt: true}}}}\n"
    watched.commits.commit({"site.yaml": watched.commits.site(text=text)})
    with pytest.raises(SecretsError, match="nobody sits at the terminal"):
        watcher.once()


def test_a_repository_that_is_gone_for_a_while(watched: Watched, tmp_path: Path) -> None:
    watcher = adopted(watched)
    shutil.move(watched.commits.folder, tmp_path / "away")
    with pytest.raises(UnreachableError, match="cannot be read"):
        watcher.once()
    shutil.move(tmp_path / "away", watched.commits.folder)
    assert watcher.once().word == "done"


def test_a_clone_that_is_lost_is_made_anew(watched: Watched) -> None:
    watcher = adopted(watched)
    shutil.rmtree(watcher.repository.clone)
    shutil.rmtree(watcher.repository.checkouts)
    assert watcher.once().word == "done"


def test_nothing_is_begun_unattended_while_a_machine_is_silent(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.machines.damage("n1")
    watched.machines.silent = {"n4"}
    with pytest.raises(UnreachableError, match="while a machine does not answer"):
        watcher.once()
    assert len(watched.machines.applied) == 1
    watched.machines.silent = set()
    assert watcher.once().fresh


def test_a_machine_that_falls_silent_before_the_work_is_waited_for_as_well(
    watched: Watched,
) -> None:
    watcher = adopted(watched)
    watched.machines.damage("n1")
    watched.machines.meanwhile = lambda: watched.machines.silent.add("n4")
    with pytest.raises(UnreachableError, match="while a machine does not answer"):
        watcher.once()
    assert len(watched.machines.applied) == 1
    watched.machines.meanwhile = lambda: None
    watched.machines.silent.clear()
    assert watcher.once().fresh


@pytest.mark.parametrize("damage", ["{", "[]", '{"commit": 1}'])
def test_a_damaged_record_is_told_and_not_passed_over(watched: Watched, damage: str) -> None:
    """Without it the given file would be in force again, and with it an older policy."""
    watcher = adopted(watched)
    path = watched.store.folder / f"{baseline.NAME}.json"
    path.write_text(damage)
    with pytest.raises(OperatorError, match="damaged") as caught:
        watcher.once()
    assert str(path) in caught.value.fix


# What does not end well


def test_what_failed_is_not_tried_again_by_itself(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=MORE)})
    watched.machines.leaves = "n5"
    standing = watcher.once()
    assert (standing.word, standing.code) == ("failed", ExitCode.FAILED)
    assert "n5: it broke" in standing.text
    tries = len(watched.machines.applied)
    standing = watcher.once()
    assert "the last attempt did not end well: n5: it broke" in reasons(standing)
    name = waits(watcher.once())
    assert len(watched.machines.applied) == tries
    allow(watched, name)
    assert watcher.once().word == "failed"
    assert waits(watcher.once()) == name
    assert len(watched.machines.applied) == tries + 1
    allow(watched, name)
    watched.machines.leaves = ""
    assert watcher.once().word == "done"
    watched.machines.damage("n1")
    assert watcher.once().fresh


def disproven(watched: Watched) -> str:
    watched.machines.unproven = NotProvenError("n5 keeps no promise", fix="provision verify")
    return "n5 keeps no promise"


def silenced(watched: Watched) -> str:
    watched.machines.silence = UnreachableError("the API does not answer")
    return "the API does not answer"


def stopped_last(watched: Watched) -> str:
    watched.machines.stops_last = True
    return "the watcher was stopped before it had proven this"


@pytest.fixture(params=[disproven, silenced, stopped_last])
def applied(watched: Watched, request: pytest.FixtureRequest) -> Watcher:
    """A watcher whose commit, an addition, is on every machine and not proven, and waits."""
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=MORE)})
    why = request.param(watched)
    assert watcher.once().word in ("failed", "interrupted")
    machines = watched.machines
    machines.unproven, machines.silence, machines.stops_last = None, None, False
    assert machines.made["n5"] == machines.made["n1"]
    assert reasons(watcher.once()) == f"the last attempt did not end well: {why}"
    return watcher


def test_what_was_applied_and_not_proven_is_proven_once_it_is_allowed(
    watched: Watched, applied: Watcher
) -> None:
    before, proofs = applied.in_force().commit, watched.machines.proofs
    allow(watched, waits(applied.once()))
    assert applied.once().word == "done"
    assert watched.machines.proofs == proofs + 1
    assert applied.in_force().commit != before
    assert not applied.once().fresh


def test_what_is_allowed_and_again_not_proven_waits_again(
    watched: Watched, applied: Watcher
) -> None:
    allow(watched, waits(applied.once()))
    disproven(watched)
    assert applied.once().code is ExitCode.UNHEALTHY
    assert "n5 keeps no promise" in reasons(applied.once())


def test_another_commit_does_not_take_over_what_was_not_proven(
    watched: Watched, applied: Watcher
) -> None:
    watched.commits.commit({"README": "other words\n"})
    assert "did not end well" in reasons(applied.once())


def test_another_commit_that_changes_something_is_proven_by_itself(
    watched: Watched, applied: Watcher
) -> None:
    more = MORE.replace("10.0.0.15}", "10.0.0.15}\n  n6: {address: 10.0.0.16}")
    commit = watched.commits.commit({"site.yaml": watched.commits.site(text=more)})
    proofs = watched.machines.proofs
    assert applied.once().word == "done"
    assert (watched.machines.proofs, applied.in_force().commit) == (proofs + 1, commit)


def test_what_somebody_completed_by_hand_is_taken_over(watched: Watched) -> None:
    watcher = adopted(watched)
    commit = watched.commits.commit({"site.yaml": watched.commits.site(text=MORE)})
    watched.machines.leaves = "n5"
    assert watcher.once().word == "failed"
    watched.machines.made["n5"] = watched.machines.made["n1"]
    assert watcher.once().word == "done"
    assert watcher.in_force().commit == commit


def test_who_died_once_all_was_applied_asks_before_it_is_taken_over(watched: Watched) -> None:
    """It may have died while it proved what the site promises."""
    watcher = adopted(watched)
    watched.machines.damage("n1")

    def applied_by_hand() -> None:
        watched.machines.made["n1"] = watched.machines.made["n2"]
        raise Killed

    watched.machines.meanwhile = applied_by_hand
    with pytest.raises(Killed):
        watcher.once()
    watched.machines.meanwhile = lambda: None
    assert "the watcher ended while it applied this" in reasons(watcher.once())


def test_the_next_commit_is_tried_after_a_failed_one(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=MORE)})
    watched.machines.fails = PhaseFailedError("it broke", where="n5")
    assert watcher.once().word == "failed"
    waits(watcher.once())
    watched.machines.fails = None
    watched.commits.commit({"README": "try again"})
    assert watcher.once().fresh


def test_what_somebody_put_right_by_hand_is_forgotten(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.machines.damage("n1")
    watched.machines.fails = PhaseFailedError("it broke")
    assert watcher.once().word == "failed"
    watched.machines.fails = None
    watched.machines.made["n1"] = watched.machines.made["n2"]
    assert watcher.once().word == "done"
    watched.machines.damage("n1")
    assert watcher.once().fresh


def test_a_site_that_is_locked_is_come_back_to(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    allow(watched, waits(watcher.once()))
    watched.machines.fails = LockedError("another run is working on this site")
    with pytest.raises(LockedError):
        watcher.once()
    watched.machines.fails = None
    assert watcher.once().word == "done"


def test_an_interruption_is_no_failure(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    allow(watched, waits(watcher.once()))
    watched.machines.interrupted = True
    assert watcher.once().code is ExitCode.INTERRUPTED
    watched.machines.interrupted = False
    assert watcher.once().word == "done"


@pytest.fixture
def failed(watched: Watched) -> Watcher:
    """A watcher whose commit, an addition, failed at its first machine, and is approved now."""
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=MORE)})
    watched.machines.fails = PhaseFailedError("it broke", where="n5")
    assert watcher.once().word == "failed"
    watched.machines.fails = None
    allow(watched, waits(watcher.once()))
    return watcher


def still_waits(watched: Watched, watcher: Watcher) -> str:
    """Why the commit that failed waits once nothing is in its way, and nobody allows it."""
    machines = watched.machines
    machines.meanwhile, machines.fails, machines.interrupted = lambda: None, None, False
    machines.silent.clear()
    watched.store.remove(pending.APPROVAL)
    tries = len(watched.machines.applied)
    found = reasons(watcher.once())
    assert len(watched.machines.applied) == tries
    return found


def locked(watched: Watched) -> None:
    watched.machines.fails = LockedError("another run is working on this site")


def outdated(watched: Watched) -> None:
    watched.machines.silent.add("n3")


def stopped(watched: Watched) -> None:
    watched.machines.interrupted = True


@pytest.mark.parametrize("meanwhile", [locked, outdated, stopped])
def test_what_failed_before_still_waits_after_an_attempt_that_began_nothing(
    watched: Watched, failed: Watcher, meanwhile: Callable[[Watched], None]
) -> None:
    watched.machines.meanwhile = lambda: meanwhile(watched)
    with suppress(LockedError):
        assert failed.once().word in ("waiting", "interrupted")
    assert still_waits(watched, failed) == "the last attempt did not end well: it broke"


def test_what_failed_as_it_was_stopped_waits(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=MORE)})
    watched.machines.leaves, watched.machines.interrupted = "n5", True
    standing = watcher.once()
    assert (standing.word, standing.code) == ("failed", ExitCode.FAILED)
    watched.machines.leaves = ""
    assert still_waits(watched, watcher) == "the last attempt did not end well: n5: it broke"


def test_an_approval_of_what_was_being_applied_is_void_once_that_failed(
    watched: Watched, failed: Watcher
) -> None:
    """Who gave it did not know of the failure."""
    name = str((watched.store.read(pending.PENDING) or {})["id"])
    watched.machines.meanwhile = lambda: allow(watched, name)
    watched.machines.fails = PhaseFailedError("it broke again", where="n5")
    assert failed.once().word == "failed"
    watched.machines.fails = None
    watched.machines.meanwhile = lambda: None
    assert "it broke again" in reasons(failed.once())


def test_who_is_told_to_stop_begins_nothing(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.machines.damage("n1")
    watcher.stopping = lambda: True
    assert watcher.once().code is ExitCode.INTERRUPTED
    assert len(watched.machines.applied) == 1


class Killed(BaseException):
    """The end of the process."""


def test_who_died_while_applying_asks_before_it_goes_on(watched: Watched) -> None:
    watcher = adopted(watched)
    watched.machines.damage("n1")

    def die() -> None:
        raise Killed

    watched.machines.meanwhile = die
    with pytest.raises(Killed):
        watcher.once()
    watched.machines.meanwhile = lambda: None
    standing = watcher.once()
    assert "the watcher ended while it applied this" in reasons(standing)
    allow(watched, waits(standing))
    assert watcher.once().word == "done"


class DyingStore(Store):
    """Ends the process before its ``left``-th write or removal, or the disk is full then."""

    left = 0
    end: BaseException = Killed()

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        self._count()
        super().write(name, data)

    def remove(self, name: str) -> None:
        self._count()
        super().remove(name)

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.end


@pytest.mark.parametrize("at", range(1, 8))
def test_dying_at_any_write_leaves_something_to_go_on_with(watched: Watched, at: int) -> None:
    watcher = adopted(watched)
    watched.commits.commit({"site.yaml": watched.commits.site(text=FASTER)})
    allow(watched, waits(watcher.once()))
    watcher.store = dying = DyingStore(watched.store.folder)
    dying.left = at
    with suppress(Killed):
        watcher.once()
    # The last of them is behind the end of the round.
    assert (dying.left > 0) == (at == 7)
    watcher.store = watched.store
    for _ in range(3):
        standing = watcher.once()
        if standing.word == "waiting":
            allow(watched, waits(standing))
    assert standing.word == "done"
    assert watcher.in_force().site.digest == watched.machines.applied[-1]


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("end", [Killed(), DiskFullError("no room")])
@pytest.mark.parametrize("meanwhile", [locked, outdated, stopped])
def test_dying_at_any_write_does_not_forget_what_failed_before(
    watched: Watched,
    failed: Watcher,
    meanwhile: Callable[[Watched], None],
    end: BaseException,
    at: int,
) -> None:
    failed.store = dying = DyingStore(watched.store.folder)
    dying.left, dying.end = at, end
    watched.machines.meanwhile = lambda: meanwhile(watched)
    with suppress(Killed, DiskFullError, LockedError):
        failed.once()
    failed.store = watched.store
    assert "the last attempt did not end well" in still_waits(watched, failed)


def _file(watcher: Watcher) -> Any:
    from provision.yamlfile import read_yaml

    (folder,) = watcher.repository.checkouts.iterdir()
    return read_yaml(folder / "site.yaml")
