"""Packs what travels to machines: one command line, and the text that goes to its input.

The code goes through standard input, never through arguments: those end in the
machine's sudo log and have a length limit, and a password would be seen in them.
"""

from __future__ import annotations

import base64
import shlex
import zlib
from functools import cache
from pathlib import Path

_PACKAGES = ("provision", "provision.adapters", "provision.adapters.onmachine")
_MODULES = (
    "provision.adapters.reader",
    "provision.adapters.onmachine.dns",
    "provision.adapters.onmachine.etcd",
    "provision.adapters.onmachine.hold",
    "provision.adapters.onmachine.kernel",
    "provision.adapters.onmachine.network",
    "provision.adapters.onmachine.postgresql",
    "provision.adapters.onmachine.registry",
    "provision.adapters.onmachine.system",
)
READER = "provision.adapters.reader"
HOLD = "provision.adapters.onmachine.hold"

# sudo takes the password as the first line of its input only where it wants one, so
# whatever stands before the mark is skipped.
_STUB = """\
import base64, sys, zlib
for line in sys.stdin.buffer:
    if line == b"provision-begin\\n":
        exec(zlib.decompress(base64.b64decode(sys.stdin.buffer.readline())))
        break
"""

_PYTHON = f"python3 -I -S -B -c {shlex.quote(_STUB)}"

# Errors are marked line by line: they are told apart from the answer's, and pyinfra does
# not take sudo's own for an occasion to ask at the terminal.
_FRAME = """\
LC_ALL=C
export LC_ALL
exec 3>&1
run() {{
  errors=$("$@" 2>&1 >&3 3>&-)
  code=$?
  [ -z "$errors" ] || printf '%s\\n' "$errors" | sed 's/^/: /' >&2
  return "$code"
}}
{body}
"""

_WITHOUT_PASSWORD = f"""\
if [ "$(id -u)" -eq 0 ]; then set --; else set -- sudo -n --; fi
run "$@" {_PYTHON}
"""

# A wrong password is offered once only: further lines of input would count as further
# attempts and can lock the account.
_WITH_PASSWORD = f"""\
IFS= read -r password
try() {{ printf '%s\\n' "$password" | sudo -k -S -p '' -- true; }}
start() {{ {{ printf '%s\\n' "$password"; cat; }} | sudo -k -S -p '' -- {_PYTHON}; }}
if [ "$(id -u)" -eq 0 ]; then run {_PYTHON}; else run try && run start; fi
"""


def command(*, with_password: bool) -> str:
    """The shell's text that runs on the machine; the same for every query."""
    return _FRAME.format(body=_WITH_PASSWORD if with_password else _WITHOUT_PASSWORD)


@cache
def program(main: str) -> str:
    """Everything that travels, as one line of base64, ready to call ``main`` of a module."""
    here = Path(__file__).resolve().parents[2]
    sources = dict.fromkeys(_PACKAGES, "")
    for name in _MODULES:
        sources[name] = here.joinpath(*name.split(".")).with_suffix(".py").read_text("utf-8")
    boot = Path(__file__).with_name("onmachine").joinpath("boot.py").read_text("utf-8")
    text = f"{boot}\nstart({sources!r}, {main!r})\n"
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def stdin(main: str, request: str, password: str | None = None) -> list[str]:
    """Lines for the command's input: the password where there is one, mark, code, request."""
    first = [] if password is None else [password]
    return [*first, "provision-begin", program(main), request]
