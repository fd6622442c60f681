"""A repository of Debian packages on this machine, out of the site's bundle.

It lasts for one installation. Its index lists everything that the bundle has
for the machine's release; of the packages themselves only those are brought
that apt says it would fetch. The machine's own sources are neither asked nor
changed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .blobs import AUTHORITY, fetch
from .commands import run
from .failure import WorkError
from .files import remove_if_empty

FOLDER = Path("/var/lib/provision/packages")
FOUND = re.compile(r"^'file:.*/([0-9a-f]{64})\.deb' ", re.MULTILINE)


class Repository:
    """The repository for one role's packages.

    Parameters
    ----------
    role
        Roles that install at the same time have one each.
    folder
        Where all of them lie; readable by root alone.
    authority
        Certificate of the site's authority, which the depots' are judged by.
    """

    def __init__(self, role: str, folder: Path = FOLDER, authority: str = AUTHORITY) -> None:
        self.folder = folder / role
        self.authority = authority

    @property
    def options(self) -> tuple[str, ...]:
        """Options by which apt knows this repository, and no other source."""
        return (
            f"--option=Dir::Etc::sourcelist={self.folder}/sources.list",
            "--option=Dir::Etc::sourceparts=/dev/null",
            f"--option=Dir::State::lists={self.folder}/lists",
            "--option=Dir::Cache::pkgcache=",
            "--option=Dir::Cache::srcpkgcache=",
            "--option=Acquire::Languages=none",
            # Debian's user for downloads may not enter the folder.
            "--option=APT::Sandbox::User=root",
        )

    def offer(self, index: str, names: Sequence[str], depots: Sequence[str]) -> dict[str, Any]:
        """Lay out the index, and fetch what is needed of it so that ``names`` can be installed.

        Parameters
        ----------
        depots
            Addresses below which the site's depots have blobs by their digest; they may be
            still to come.

        Returns
        -------
        dict
            ``needed``, the sha256 of packages that no depot gave, and ``arrived``, how many
            bytes of which an interrupted run brought already.

        Raises
        ------
        WorkError
            The index does not have them all, or not for what is installed here.
        """
        lists = self.folder / "lists"
        shutil.rmtree(lists, ignore_errors=True)
        self.folder.parent.parent.mkdir(mode=0o700, exist_ok=True)
        (lists / "partial").mkdir(parents=True)
        (self.folder / "Packages").write_text(index, "utf-8")
        # No signature of its own: the index came over the same authenticated connection as
        # these lines, out of a bundle whose signature the controller verified. apt compares
        # each package with the digest that the index gives.
        source = f"deb [trusted=yes] file:{self.folder} ./\n"
        (self.folder / "sources.list").write_text(source, "utf-8")
        apt = ("apt-get", "--quiet=2", *self.options)
        run([*apt, "update"])
        try:
            told = run(
                [*apt, "install", "--yes", "--no-install-recommends", "--print-uris", *names]
            )
        except WorkError as error:
            raise WorkError(
                f"the packages of the bundle do not fit what is installed here: {error}\n"
                "  fix:    build the bundle anew, so that its packages are as new as the machine's:"
                " provision bundle build --os-packages RELEASE"
            ) from error
        self.complete()
        needed = [sha256 for sha256 in FOUND.findall(told) if not self._path(sha256).exists()]
        needed = needed[self._fetch(needed, depots) :]
        incoming = self.folder / "incoming"
        arrived = {path.name: path.stat().st_size for path in incoming.glob("*")}
        return {"needed": needed, "arrived": arrived}

    def _fetch(self, wanted: Sequence[str], depots: Sequence[str]) -> int:
        """Fetch packages from the depots until none has the next; how many were fetched."""
        # Before the site's own certificate is here, no depot can be believed.
        answering = list(depots) if Path(self.authority).exists() else []
        partial = self.folder / "fetched"
        for fetched, sha256 in enumerate(wanted):
            # A depot that failed once is not waited for again.
            while answering:
                try:
                    with partial.open("wb") as file:
                        fetch([f"{answering[0]}{sha256}"], sha256, file, authority=self.authority)
                    break
                except WorkError:
                    del answering[0]
            else:
                return fetched
            partial.replace(self._path(sha256))
        return len(wanted)

    def complete(self) -> None:
        """Name the packages that were brought as the index does."""
        for data in self.folder.glob("docker/registry/v2/blobs/sha256/*/*/data"):
            data.replace(self._path(data.parent.name))

    def drop(self) -> None:
        """Take it away."""
        shutil.rmtree(self.folder, ignore_errors=True)
        remove_if_empty(str(self.folder.parent))

    def _path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.deb"
