"""The reference platform as the lab's site has it: a Git repository that the cluster follows.

    python -m lab.repository examples/platform/lab.yaml

What ``examples/platform`` holds is committed into a bare repository below ``.vagrant/lab`` when it
differs from the last commit, and served in the background where ``platform.repository`` of the site
file says, which is the host's own address in the lab's network. Everybody there may read it. The
authority of its certificate is beside it, as ``ca.crt``. Running it again does nothing but commit,
unless what it serves, or where, is another than before: the server is one for the machine, and the
last checkout's. ``lab/remove`` ends it.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from lab.gitserver import serving
from provision.pki import new_authority, new_certificate, new_key, why_certificate_due
from provision.secretspec import Authority, Certificate

ROOT = Path(__file__).resolve().parents[1]
SITE_FILE = ROOT / "examples" / "platform" / "lab.yaml"
FOLDERS = ("platform", "applications", "vault")
RUN = Path(os.environ.get("PROVISION_LAB_RUN", "/run/provision-lab"))
SERVER = ["-m", "lab.repository", "--serve"]
"""What follows Python's name in the command of a server."""
SERVES = "serving"
"""What a server says when it does."""
SECONDS = 60
"""In which a server begins, or ends."""
IDENTITY = {
    "GIT_AUTHOR_NAME": "The lab",
    "GIT_AUTHOR_EMAIL": "lab@example.test",
    "GIT_COMMITTER_NAME": "The lab",
    "GIT_COMMITTER_EMAIL": "lab@example.test",
}


def git(folder: Path, *arguments: str) -> str:
    """Run ``git`` in ``folder`` with nothing of the caller's own settings; what it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **IDENTITY}
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def commit(repository: Path) -> str:
    """Put what ``examples/platform`` holds into a bare repository; its last commit."""
    if not repository.exists():
        git(
            repository.parent,
            "init",
            "--quiet",
            "--bare",
            "--initial-branch",
            "main",
            repository.name,
        )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name) / "site"
        git(work.parent, "init", "--quiet", "--initial-branch", "main", work.name)
        if any((repository / "refs" / "heads").iterdir()):
            git(work, "pull", "--quiet", str(repository), "main")
        for folder in FOLDERS:
            shutil.rmtree(work / folder, ignore_errors=True)
            shutil.copytree(
                ROOT / "examples" / "platform" / folder,
                work / folder,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        git(work, "add", "--all")
        if git(work, "status", "--porcelain"):
            git(work, "commit", "--quiet", "--message", "Take the example platform as it is")
            git(work, "push", "--quiet", str(repository), "HEAD:main")
        return git(work, "rev-parse", "HEAD").strip()


def certify(folder: Path, address: str) -> Path:
    """A certificate for the server and the authority of it, unless they are there; its file.

    They are made anew for another address, and before they end.
    """
    chain, authority_file = folder / "server.pem", folder / "ca.crt"
    spec = Certificate("server", "git", address, names=(address,))
    now = datetime.now(UTC)
    if chain.exists() and authority_file.exists():
        pem = chain.read_bytes()
        if not why_certificate_due(spec, pem, pem, authority_file.read_bytes(), now):
            return chain
    authority_key, key = new_key(), new_key()
    authority = new_authority(Authority("git", "Git server of the lab"), authority_key, now)
    certificate = new_certificate(spec, key, authority, authority_key, now)
    authority_file.write_bytes(authority)
    chain.touch(0o600)
    chain.write_bytes(key + certificate)
    return chain


def serve(folder: Path, address: str, port: int) -> None:
    """Serve until the process is ended; say so as soon as it does.

    Raises
    ------
    SystemExit
        It cannot listen there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with serving(folder, address, port, context):
            print(SERVES, flush=True)
            signal.sigwait(ends)
    except OSError as error:
        raise SystemExit(f"{error.strerror}; who listens there: ss -ltnp") from error


def server_of(pid: Path) -> tuple[int, list[str]] | None:
    """The process of a pid file and what it was told to serve, if it is the server still."""
    try:
        process = int(pid.read_text())
        told = Path("/proc", str(process), "cmdline").read_bytes().decode().split("\0")
    except (OSError, ValueError):
        return None
    return (process, told[4:7]) if told[1:4] == SERVER else None


def end(process: int) -> None:
    """End a server.

    Raises
    ------
    SystemExit
        It goes on.
    """
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended, _, _ = select.select([handle], [], [], SECONDS)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
    if not ended:
        raise SystemExit(f"the Git server of before, process {process}, does not end; end it")


def start(
    name: str, folder: Path, address: str, port: int, run: Path = RUN
) -> subprocess.Popen[bytes] | None:
    """Serve in the background, unless that is so; the server, if it had to be started.

    Parameters
    ----------
    name : the site's name.
    folder, address, port : what to serve, and where.
    run : folder of the server's pid file and of what it says.

    Raises
    ------
    SystemExit
        The server ended, or does not serve in time, in its own words.
    """
    pid, log = run / f"{name}-git.pid", run / f"{name}-git.log"
    wanted = [str(folder), address, str(port)]
    found = server_of(pid)
    if found:
        process, told = found
        # It has the certificate that there was when it began.
        if told == wanted and pid.stat().st_mtime >= (folder / "server.pem").stat().st_mtime:
            return None
        end(process)
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as words:
        before = words.tell()
        server = subprocess.Popen(
            [sys.executable, *SERVER, *wanted],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            start_new_session=True,
        )
    pid.write_text(f"{server.pid}\n")
    if not _says_so(server):
        server.kill()
        server.wait()
        pid.unlink()
        told_us = log.read_bytes()[before:].decode(errors="replace").strip()
        raise SystemExit(
            f"the Git server does not serve {folder} at {address}:{port} ({log}):\n{told_us}"
        )
    return server


def _says_so(server: subprocess.Popen[bytes]) -> bool:
    """Whether the server says in time that it serves.

    Its port is not tried: the address may be that of a network which comes with the machines.
    """
    if server.stdout is None:
        return False
    with server.stdout as said:
        ready, _, _ = select.select([said], [], [], SECONDS)
        return bool(ready) and said.readline().decode().strip() == SERVES


def main() -> None:
    """Commit, certify, and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "site", type=Path, nargs="?", default=ROOT / "examples" / "platform" / "lab.yaml"
    )
    parser.add_argument("--serve", nargs=3, metavar=("FOLDER", "ADDRESS", "PORT"))
    given = parser.parse_args()
    if given.serve:
        folder, address, port = given.serve
        serve(Path(folder), address, int(port))
        return
    site = yaml.safe_load(given.site.read_text())
    url = urlsplit(site["platform"]["repository"])
    folder = ROOT / ".vagrant" / "lab" / "repository"
    folder.mkdir(parents=True, exist_ok=True)
    address, port = str(url.hostname), int(url.port or 443)
    made = commit(folder / url.path.strip("/"))
    certify(folder, address)
    start(site["name"], folder, address, port)
    print(f"{url.geturl()} is at {made}")


if __name__ == "__main__":
    main()
