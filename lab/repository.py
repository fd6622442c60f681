"""The reference platform as the lab's site has it: a Git repository that the cluster follows.

    python -m lab.repository examples/platform/lab.yaml

What ``examples/platform`` holds is committed into a bare repository below ``.vagrant/lab`` when it
differs from the last commit, and served in the background where ``platform.repository`` of the site
file says, which is the host's own address in the lab's network. Everybody there may read it. The
authority of its certificate is beside it, as ``ca.crt``. Running it again does nothing but commit;
``lab/remove`` ends it.
"""

from __future__ import annotations

import argparse
import os
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
from provision.pki import new_authority, new_certificate, new_key
from provision.secretspec import Authority, Certificate

ROOT = Path(__file__).resolve().parents[1]
SITE_FILE = ROOT / "examples" / "platform" / "lab.yaml"
FOLDERS = ("platform", "applications", "vault")
RUN = Path(os.environ.get("PROVISION_LAB_RUN", "/run/provision-lab"))
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
    """A certificate for the server and the authority of it, unless they are there; its file."""
    chain = folder / "server.pem"
    if chain.exists():
        return chain
    now = datetime.now(UTC)
    authority_key, key = new_key(), new_key()
    authority = new_authority(Authority("git", "Git server of the lab"), authority_key, now)
    spec = Certificate("server", "git", address, names=(address,))
    certificate = new_certificate(spec, key, authority, authority_key, now)
    (folder / "ca.crt").write_bytes(authority)
    chain.touch(0o600)
    chain.write_bytes(key + certificate)
    return chain


def serve(folder: Path, address: str, port: int) -> None:
    """Serve until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with serving(folder, address, port, context):
        signal.sigwait(ends)


def runs(pid: Path) -> bool:
    """Whether the process of a pid file is the server still."""
    try:
        return b"lab.repository" in Path("/proc", pid.read_text().strip(), "cmdline").read_bytes()
    except OSError:
        return False


def start(name: str, folder: Path, address: str, port: int) -> None:
    """Serve in the background, unless that is so."""
    pid = RUN / f"{name}-git.pid"
    if runs(pid):
        return
    RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "lab.repository", "--serve", str(folder), address, str(port)]
    with (RUN / f"{name}-git.log").open("ab") as log:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    pid.write_text(f"{server.pid}\n")


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
