"""``provision watch`` and ``provision approve`` as the administrator runs them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from provision.app import Application, read_site
from provision.cli import main
from provision.engine import Interrupt
from provision.errors import ExitCode
from provision.journal import past_runs, read_run
from provision.locallock import local_lock
from provision.report import PlainReporter
from provision.verbs.watch import Telling, follow
from provision.watch import pending
from provision.watch.rounds import Standing
from provision.watch.unit import unit
from tests.support.watched import Commits, Watched, allowed, make_key

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def commits(elsewhere: Path) -> Commits:
    return Commits(elsewhere / "work")


@pytest.fixture
def site_file(elsewhere: Path, commits: Commits, capsys: pytest.CaptureFixture[str]) -> Path:
    """A site file of real components that says what to watch."""
    run(capsys, "init", "--name", "lab", "--host", "n1=127.0.0.1")
    path = elsewhere / "site.yaml"
    watch = {"repository": str(commits.folder), "revision": "main"}
    path.write_text(f"{path.read_text()}watch: {json.dumps(watch)}\n")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return int(caught.value.code or 0), printed.out, printed.err


def state(elsewhere: Path) -> Path:
    return elsewhere / "state" / "provision" / "lab"


def test_a_site_that_does_not_say_what_to_watch(
    capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    run(capsys, "init")
    code, _, error = run(capsys, "watch", "--once")
    assert code == ExitCode.CONFIG
    assert "does not say what to watch" in error
    assert "watch: {repository: URL}" in error


@pytest.mark.parametrize(
    ("watch", "what"),
    [
        ("{}", "the required setting watch.repository is missing"),
        ("", "watch has no value"),
        ("{repository: --upload-pack=x}", "watch.repository does not have the form"),
        ("{repository: 'ext::sh -c x'}", "watch.repository does not have the form"),
        ("{repository: relative/site.git}", "watch.repository does not have the form"),
        ("{repository: /a, revision: --x}", "watch.revision does not have the form"),
        ("{repository: /a, revision: 'a:b'}", "watch.revision does not have the form"),
        ("{repository: /a, interval_seconds: 4}", "watch.interval_seconds must be at least 5"),
        ("{repository: /a, site_file: ../x}", "leads out of the repository"),
        ("{repository: /a, site_file: /etc/x}", "watch.site_file does not have the form"),
        ("{repository: /a, unattended: [prunings]}", "watch.unattended.0 has a value"),
        ("{repository: /a, unattended: [repairs, repairs]}", "twice in unattended"),
        ("{repository: 'https://a:hunter2@b/c'}", "holds credentials"),
        ("{repository: 'https://hunter2@b/c'}", "holds credentials"),
    ],
)
def test_settings_that_cannot_be(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, watch: str, what: str
) -> None:
    run(capsys, "init")
    path = elsewhere / "site.yaml"
    path.write_text(f"{path.read_text()}watch: {watch}\n")
    code, _, error = run(capsys, "watch", "--once")
    assert code == ExitCode.CONFIG
    assert what in error
    assert "hunter2" not in error


def test_the_errors_code_is_that_of_once(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, commits: Commits, site_file: Path
) -> None:
    code, _, error = run(capsys, "watch", "--once")
    assert code == ExitCode.CONNECTION
    assert "the site's repository cannot be read" in error
    commits.commit({"site.yaml": "name: ["})
    assert run(capsys, "watch", "--once")[0] == ExitCode.CONFIG
    commits.commit({"site.yaml": site_file.read_text()})
    code, _, error = run(capsys, "watch", "--once")
    assert code == ExitCode.BUNDLE
    assert "there is no bundle" in error
    runs = past_runs(state(elsewhere) / "runs")
    assert [(one.command, one.outcome) for one in runs] == [("watch", "failed")] * 3
    assert run(capsys, "watch", "--once")[0] == ExitCode.BUNDLE
    assert len(past_runs(state(elsewhere) / "runs")) == 3


def test_unsigned_commits_end_once_with_the_reason(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, commits: Commits, site_file: Path
) -> None:
    (elsewhere / "signers").write_text(allowed(make_key(elsewhere, "anna")))
    text = site_file.read_text().replace('"main"}', '"main", "allowed_signers": "signers"}')
    site_file.write_text(text)
    commits.commit({"site.yaml": site_file.read_text()})
    code, _, error = run(capsys, "watch", "--once")
    assert code == ExitCode.CONFIG
    assert "not signed by anyone who may" in error
    assert "found:  no signature" in error


def test_a_second_watcher_is_refused(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, site_file: Path
) -> None:
    folder = state(elsewhere) / "watch"
    folder.mkdir(parents=True)
    with local_lock(folder, "anna@here, process 4711"):
        code, _, error = run(capsys, "watch", "--once")
    assert code == ExitCode.LOCKED
    assert "another watcher follows this site" in error
    assert "anna@here, process 4711" in error


def test_a_secret_that_is_asked_for_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], site_file: Path
) -> None:
    text = site_file.read_text().replace("  user:", "  sudo_password: {prompt: true}\n  user:")
    site_file.write_text(text)
    assert "sudo_password: {prompt" in text
    for option in ("--once", "--unit"):
        code, _, error = run(capsys, "watch", option)
        assert code == ExitCode.SECRETS
        assert "connection.sudo_password: {prompt: true}" in error


def test_a_signal_ends_the_watcher(elsewhere: Path, site_file: Path) -> None:
    """It ends soon, not after the interval of a minute."""
    with subprocess.Popen(
        [sys.executable, "-m", "provision", "watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "cannot be read" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == ExitCode.INTERRUPTED


def test_the_unit_names_this_program_and_this_site(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, site_file: Path
) -> None:
    code, printed, _ = run(capsys, "watch", "--unit", "--site", "site.yaml")
    assert code == 0
    command = f"{sys.executable} -m provision watch --site {elsewhere}/site.yaml"
    assert f"\nExecStart={command}\n" in printed
    assert f"\nEnvironment=XDG_STATE_HOME={elsewhere}/state\n" in printed
    assert f"\nEnvironment=PROVISION_CACHE={elsewhere}/cache\n" in printed
    assert f"\nReadWritePaths={elsewhere}/state/provision {elsewhere}/cache " in printed
    assert "/etc/systemd/system/provision-watch-lab.service" in printed
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "KillMode=mixed"):
        assert f"\n{line}\n" in printed
    assert not (state(elsewhere) / "watch").exists()


def test_words_of_the_unit_are_systemds() -> None:
    made = unit(
        "lab",
        ["/opt/my tools/python", "watch", "/srv/100%/$HOME"],
        "anna",
        [Path("/var/state of things")],
        {"XDG_STATE_HOME": "/a b%", "HOME": "/root"},
    )
    assert '\nExecStart="/opt/my tools/python" watch /srv/100%%/$$HOME\n' in made
    assert '\nReadWritePaths="/var/state of things"\n' in made
    assert '\nEnvironment="XDG_STATE_HOME=/a b%%"\n' in made
    assert "HOME=/root" not in made


# Telling, and following


class Rounds:
    """A watcher whose rounds end as they are told to; the last one presses Ctrl-C."""

    def __init__(self, watched: Watched, interrupt: Interrupt, *ends: str) -> None:
        self.real = watched.watcher(watched.commits.site())
        self.started = self.real.started
        self.in_force = self.real.in_force
        self.interrupt = interrupt
        self.ends = list(ends)

    def once(self) -> Standing:
        end = self.ends.pop(0)
        if not self.ends:
            self.interrupt.press()
        if end == "error":
            # Such as the network's.
            self.real.repository.fetch("/nowhere", "main")
        return Standing("done", end, data={"watch": "done"}, fresh=end == "fresh")


@pytest.fixture
def told(elsewhere: Path) -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def watched(elsewhere: Path, commits: Commits) -> Watched:
    commits.commit({"site.yaml": commits.site()})
    return Watched(elsewhere, commits)


def telling(watched: Watched, site_file: Path, told: io.StringIO) -> Telling:
    watched.store.make()
    application = Application(read_site(site_file).site)
    return Telling(application, watched.store, PlainReporter(told), str.upper)


def test_what_goes_on_is_told_once(
    watched: Watched, site_file: Path, told: io.StringIO, elsewhere: Path
) -> None:
    paused: list[float] = []
    for _ in range(2):
        interrupt = Interrupt()
        rounds = Rounds(watched, interrupt, "error", "error", "good", "good", "fresh", "fresh")
        follow(rounds, telling(watched, site_file, told), interrupt, paused.append)  # type: ignore[arg-type]
    lines = [line for line in told.getvalue().splitlines() if line[2:3] == ":"]
    once = ["CANNOT BE READ", "GOOD", "FRESH", "FRESH"]
    assert [word for line in lines for word in set(once) if word in line] == once * 2
    outcomes = [run.outcome for run in past_runs(state(elsewhere) / "runs")]
    assert outcomes == ["done", "done", "done", "failed"] * 2
    assert sum(paused) == pytest.approx(2 * 5 * 60)


def test_the_journal_knows_what_was_approved_by_whom(
    capsys: pytest.CaptureFixture[str],
    elsewhere: Path,
    site_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _wait(elsewhere, {"machine": {"decision": "run", "hosts": ["n1"], "reasons": {"n1": ["a"]}}})
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, error = run(capsys, "approve", "0123456789ab")
    assert code == ExitCode.USAGE
    assert "commit c0ffee" in error
    assert "machine  run on n1" in error
    assert "nobody said yes" in error
    assert not (state(elsewhere) / "watch" / "approval.json").exists()

    monkeypatch.setenv("SUDO_USER", "anna")
    code, printed, _ = run(capsys, "approve", "0123456789ab", "--yes", "--json")
    assert code == 0
    given = json.loads(printed)
    assert given["id"] == "0123456789ab"
    assert given["by"].startswith("anna by sudo as ")
    (newest, *_) = past_runs(state(elsewhere) / "runs")
    assert (newest.command, newest.outcome) == ("approve", "done")
    events = list(read_run(state(elsewhere) / "runs", newest.run))
    assert events[1]["by"] == given["by"]
    assert json.loads((state(elsewhere) / "watch" / "approval.json").read_text()) == given


@pytest.mark.parametrize("name", ["fedcba987654", "nonsense"])
def test_another_id_is_not_approved(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, site_file: Path, name: str
) -> None:
    code, _, error = run(capsys, "approve", name, "--yes")
    assert code == ExitCode.USAGE
    assert "nothing waits" in error
    _wait(elsewhere, {})
    code, _, error = run(capsys, "approve", name, "--yes")
    assert code == ExitCode.USAGE
    assert "provision approve 0123456789ab" in error
    assert not (state(elsewhere) / "watch" / "approval.json").exists()


def _wait(elsewhere: Path, phases: Mapping[str, object]) -> None:
    from provision.watch.store import Store

    found = pending.Pending(
        id="0123456789ab",
        commit="c0ffee",
        kind="changes",
        signer="",
        reasons=("the site file changes what it said before",),
        differences=("engine.speed changed",),
        plan={"phases": phases},
        text=("machine  run on n1",),
    )
    store = Store(state(elsewhere) / "watch")
    store.make()
    pending.post(store, found)
