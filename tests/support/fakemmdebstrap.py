"""An ``mmdebstrap`` whose root file system is a folder, and what is run there only noted.

It knows the hooks that bring an archive in and out. The note is a file ``built`` among what was
brought in; with ``fails`` beside the program, the command fails as that file says.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """\
#!{python} -IS
import pathlib, shlex, sys, tarfile, tempfile
fails = pathlib.Path({fails!r})
with tempfile.TemporaryDirectory() as root:
    for argument in sys.argv[1:]:
        if not argument.startswith("--customize-hook="):
            continue
        words = shlex.split(argument.partition("=")[2])
        if words[0] == "mkdir":
            folder = pathlib.Path(root + words[2].removeprefix("$1"))
            folder.mkdir(parents=True)
        elif words[0] == "tar-in":
            with tarfile.open(words[1]) as tar:
                # Python before 3.11.4 knows no parameter for it, 3.12 and later warn without it.
                tar.extraction_filter = lambda member, path: member
                tar.extractall(root + words[2])
        elif words[0] == "unshare":
            if fails.exists():
                sys.exit(fails.read_text())
            (folder / "built").write_text(" ".join(words))
        elif words[0] == "tar-out":
            with tarfile.open(words[2], "w") as tar:
                tar.add(root + words[1], pathlib.Path(words[1]).name)
"""


def install(folder: Path) -> None:
    """Put the program into ``folder``."""
    folder.mkdir()
    program = folder / "mmdebstrap"
    program.write_text(PROGRAM.format(python=sys.executable, fails=str(folder / "fails")))
    program.chmod(0o755)
