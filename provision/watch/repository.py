"""The site's repository, read with the system's git into a clone of our own.

Nothing of it is ever run: the clone has no hooks, its configuration is ours, and no one else's
is read but for the fetch, which needs the operator's (credentials, proxies, SSH).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from provision.errors import ConfigError, UnreachableError
from provision.git import LOCAL_SECONDS, run_git
from provision.privatefiles import PARTIAL_PREFIX, make_folder, write_private, writing

FETCH_SECONDS = 300.0
"""How long a fetch may take; the first brings all of the repository."""
HEAD = "refs/watch/head"
APPLIED = "refs/watch/applied"
OURS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""Makes git read no configuration but the clone's: another could name programs to run."""
UNWRITTEN = "the clone of the site's repository cannot be written; nothing was changed"


class Repository:
    """A clone of one repository.

    Parameters
    ----------
    folder
        Where it lies, with the checkouts; 0700.
    fetch_seconds
        How long a fetch may take.
    """

    def __init__(self, folder: Path, fetch_seconds: float = FETCH_SECONDS) -> None:
        self.folder = folder.absolute()
        self.clone = self.folder / "repository.git"
        self.checkouts = self.folder / "checkouts"
        self.fetch_seconds = fetch_seconds

    def fetch(self, repository: str, revision: str) -> str:
        """Bring ``revision``; its commit.

        Raises
        ------
        UnreachableError
            The repository cannot be read, or has no such revision.
        ConfigError
            There is no git on this controller.
        """
        make_folder(self.clone, UNWRITTEN)
        self._unlock()
        self._local("init", "--quiet", "--bare", "--template=", str(self.clone))
        refspec = f"+{revision}:{HEAD}"
        options = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")
        code, printed = self._run(
            *options,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--end-of-options"),
            *(repository, refspec),
            seconds=self.fetch_seconds,
            variables={},
        )
        if code:
            raise UnreachableError(
                "the site's repository cannot be read",
                where=f"{repository} {revision}",
                found=printed,
                fix=f"see what git says: git ls-remote {repository} {revision}",
            )
        return self._local("rev-parse", "--verify", "--quiet", f"{HEAD}^{{commit}}").strip()

    def signer(self, commit: str, allowed: str) -> str:
        """Who of those in ``allowed`` signed ``commit``.

        Parameters
        ----------
        allowed
            Content of a file as ssh-keygen(1) describes under ALLOWED SIGNERS.

        Raises
        ------
        ConfigError
            It is not signed, or by nobody of them.
        """
        path = self.folder / "allowed_signers"
        write_private(path, allowed.encode(), UNWRITTEN)
        # A signature says itself of which format it is: one by PGP would be judged by whatever
        # keys the caller's keyring happens to hold.
        options = {
            "gpg.format": "ssh",
            "gpg.ssh.program": "ssh-keygen",
            "gpg.ssh.allowedSignersFile": str(path),
            "gpg.minTrustLevel": "fully",
            "gpg.openpgp.program": "false",
            "gpg.x509.program": "false",
        }
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        code, printed = self._run(*given, "verify-commit", commit)
        if code:
            raise ConfigError(
                "a commit is not signed by anyone who may; it was left alone",
                where=commit,
                found=printed or "no signature",
                wanted="a signature by SSH of one whom watch.allowed_signers names",
                why="the list in force is that of what was applied last, not the commit's own",
                fix="sign it, then push: git commit --amend --no-edit -S",
            )
        return self._local(*given, "show", "--no-patch", "--format=%GS", commit).strip()

    def descends(self, commit: str, ancestor: str) -> bool:
        """Whether ``commit`` was made on top of ``ancestor``; False where that one is unknown."""
        return not self._run("merge-base", "--is-ancestor", ancestor, commit)[0]

    def keep(self, commit: str) -> None:
        """Remember ``commit`` as what was applied, so that later ones can be compared with it."""
        self._local("update-ref", APPLIED, commit)

    def checkout(self, commit: str) -> Path:
        """A folder with the files of ``commit``; those of others are removed."""
        path = self.checkouts / commit
        make_folder(self.checkouts, UNWRITTEN)
        if not path.is_dir():
            with self._partial() as (partial, index):
                here = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(partial)}
                for words in (("read-tree", commit), ("checkout-index", "--all", "--quiet")):
                    self._local(*words, variables={**OURS, **here})
                with writing(path, UNWRITTEN):
                    partial.rename(path)
        for other in self.checkouts.iterdir():
            if other != path:
                shutil.rmtree(other, ignore_errors=True)
        return path

    @contextmanager
    def _partial(self) -> Iterator[tuple[Path, Path]]:
        """A folder to fill, and the place for git's list of what belongs there."""
        with writing(self.checkouts, UNWRITTEN):
            above = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=self.checkouts))
            partial = above / "tree"
            partial.mkdir(mode=0o700)
        try:
            yield partial, above / "index"
        finally:
            shutil.rmtree(above, ignore_errors=True)

    def _unlock(self) -> None:
        """Take away what a git that was killed left locked; the watcher's lock keeps others out."""
        for lock in self.clone.rglob("*.lock"):
            lock.unlink(missing_ok=True)

    def _local(self, *words: str, variables: dict[str, str] | None = None) -> str:
        """What git printed for something that needs nobody else.

        Raises
        ------
        ConfigError
            It failed, which a sound clone gives no reason for.
        """
        code, printed = self._run(*words, variables=variables)
        if code:
            raise ConfigError(
                "git cannot use the clone of the site's repository",
                where=f"git {words[0]}",
                found=printed,
                fix=f"let it be fetched anew: rm -r {self.clone}",
            )
        return printed

    def _run(
        self,
        *words: str,
        seconds: float = LOCAL_SECONDS,
        variables: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run git on the clone, by its own configuration alone unless other variables are said."""
        clone = ("--git-dir", str(self.clone), "-c", f"core.hooksPath={os.devnull}")
        given = OURS if variables is None else variables
        return run_git(*clone, *words, seconds=seconds, variables=given)
