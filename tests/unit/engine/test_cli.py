"""Every error ends with its documented exit code, one clear message and no traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from provision.cli import app, main
from provision.cli_common import runnable
from provision.errors import ExitCode

ROOT = Path(__file__).parents[3]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return int(caught.value.code or 0), printed.out, printed.err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # Programs that tests start find the project by this, where it is not installed.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_no_site_file_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "plan")
    assert code == ExitCode.CONFIG
    assert "there is no site file" in error
    assert "fix:    provision init" in error


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "plan", "--sight", "x")
    assert code == ExitCode.USAGE
    assert "--sight" in error


def test_errors_are_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "plan", "--json", "--site", "nowhere")
    assert code == ExitCode.CONFIG
    assert json.loads(error)["error"]["what"] == "there is no site file"


def test_init_writes_a_site_that_validates_and_never_overwrites(
    capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    arguments = ("init", "--name", "stella", "--host", "a=10.0.0.1", "--host", "b=10.0.0.2")
    code, printed, _ = run(capsys, *arguments)
    assert code == 0
    assert "provision check --site site.yaml" in printed
    before = (elsewhere / "site.yaml").read_text()
    code, _, error = run(capsys, *arguments)
    assert code == ExitCode.CONFIG
    assert "left as it is" in error
    assert (elsewhere / "site.yaml").read_text() == before
    code, printed, _ = run(capsys, "runs", "--site", "site.yaml")
    assert (code, printed) == (0, "no runs yet\n")


def test_a_wrong_host_is_shown_as_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "init", "--host", "a:10.0.0.1")
    assert code == ExitCode.USAGE
    assert "found:  a:10.0.0.1" in error


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--host", "N 1=10.0.0.1"], "hosts.N 1 does not have the form"),
        (["--host", "a=10.0.0.1", "--host", "a=10.0.0.2"], "two hosts have the same name"),
        (["--host", "a=10.0.0.1", "--host", "b=10.0.0.1"], "which hosts.a has already"),
        (["--host", "a=10.0.0.1", "--host", "b=10.0.9.1"], "is outside network.machines"),
        (["--endpoint", "nonsense"], "api_endpoint.address must be an IP address"),
        (["--endpoint", "192.0.2.11"], "is the address of hosts.n1"),
        (["--kubernetes", "1.30.1"], "does not have this Kubernetes version"),
        (["--name", "Bad: [name"], "not YAML"),
    ],
)
def test_init_writes_nothing_that_would_be_refused(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, arguments: list[str], what: str
) -> None:
    code, _, error = run(capsys, "init", *arguments)
    assert code == ExitCode.USAGE
    assert what in error
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("host", ["n1=192.0.2.251", "n1=2001:db8::1"])
def test_what_init_makes_up_fits_the_machines(
    capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert run(capsys, "init", "--host", host)[0] == 0
    assert run(capsys, "runs")[:2] == (0, "no runs yet\n")


VERBS: list[tuple[str, ...]] = [
    (name, *sub)
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    for sub in [[one] for one in getattr(command, "commands", {})] or [[]]
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example_and_speaks_json(
    capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]
) -> None:
    code, printed, _ = run(capsys, *verb, "--help")
    assert code == 0
    assert f"Example: provision {' '.join(verb)}" in printed
    assert "--json" in printed


def test_a_shell_completes_verbs_and_options() -> None:
    def completed(words: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from provision.cli import main; main([])"],
            env={
                **os.environ,
                "_PROVISION_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(words.count(" ")),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert completed("provision se") == ["secrets"]
    assert completed("provision secrets ex") == ["export"]
    assert "--site" in completed("provision up --")
    assert completed("provision bundle build --source ") == ["source", "upstream"]


def test_a_group_without_a_verb_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "bundle")
    assert code == ExitCode.USAGE
    assert error.startswith("Usage: provision bundle")


def test_a_version_that_nobody_can_have_is_told_with_those_there_are(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(elsewhere / "cache"))
    run(capsys, "init")
    site = elsewhere / "site.yaml"
    site.write_text(re.sub(r"version: .*", "version: 1.30.1", site.read_text()))
    code, _, error = run(capsys, "inventory")
    assert code == ExitCode.CONFIG
    assert error.startswith("error: kubernetes.version: the catalog does not have this version")
    assert "wanted: one of: 1." in error


FULL = """\
import resource, sys
from provision.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
main(sys.argv[1:])
"""
"""A real limit on the size of files stands for the disk."""


@pytest.mark.parametrize("verb", [["check"], ["plan"], ["up"], ["status"], ["reset", "--yes"]])
def test_a_full_disk_of_the_controller(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, verb: list[str]
) -> None:
    run(capsys, "init", "--host", "a=127.0.0.1")
    done = subprocess.run(
        [sys.executable, "-c", FULL, *verb], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.DISK
    assert "ssh_config: the configuration for SSH cannot be written" in done.stderr
    assert "fix:    free some space on that disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((elsewhere / "state" / "provision" / "site").iterdir()) == []


def test_output_that_nobody_can_keep() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "provision", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.DISK
    assert done.stderr.startswith("error: a disk of this controller takes no more\n")
    assert "fix:    free some space, then run this again: df -h" in done.stderr


def test_a_place_where_nothing_can_be_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "init")
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    code, _, error = run(capsys, "runs")
    assert code == ExitCode.SECRETS
    assert "folder for the site's secrets and journals cannot be made" in error


WORK = """\
import contextlib, sys, time
from provision.cli_common import Stoppable
from provision.engine import Interrupt

interrupt = Interrupt()
heeding = interrupt.heeding() if sys.argv[1] == "heeds" else contextlib.nullcontext()
with Stoppable(interrupt), heeding:
    print("works", flush=True)
    try:
        # Looked at again and again, as the engine does: nothing can wait for what takes no lock.
        while not interrupt.after_step():
            time.sleep(0.01)
        print("knows", flush=True)
        # A machine that is being read, or a step that goes on.
        while not interrupt.at_once():
            time.sleep(0.01) if sys.argv[1] == "heeds" else sys.stdin.read()
        print("ended", flush=True)
    except KeyboardInterrupt:
        print("broken off", flush=True)
"""


@pytest.mark.parametrize(("kind", "end"), [("heeds", "ended\n"), ("reads", "broken off\n")])
def test_ctrl_c_once_lets_the_step_end_and_twice_does_not(kind: str, end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORK, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "knows\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == end
        assert process.wait() == 0
        told = process.stderr.read().split("\n\n")
    assert [text.strip() for text in told] == [
        "stopping after the current step; press Ctrl-C again to stop at once",
        "stopping at once",
    ]


def test_commands_to_run_next_name_the_site_that_was_given() -> None:
    text = "next: provision up; what it would do: provision plan"
    assert runnable(text, "my site") == (
        "next: provision up --site 'my site'; what it would do: provision plan --site 'my site'"
    )
    assert runnable("provision bundle build", "x") == "provision bundle build"
    assert runnable("provision reset --site lab", "lab") == "provision reset --site lab"
    assert runnable(text, None) == text
