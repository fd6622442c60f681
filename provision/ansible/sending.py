"""Sends blobs of the bundle to a machine over Ansible's own connection."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provision.ansible.pieces import BOOT, batches, payload
from provision.errors import OperatorError

Execute = Callable[..., Mapping[str, Any]]
"""Runs a command on the machine with ``in_data`` on its standard input, as action plugins do."""


def send(
    execute: Execute,
    folder: str,
    blobs: Mapping[str, int],
    arrived: Mapping[str, int],
    source: Callable[[str], Path],
    *,
    noted: bool = False,
) -> int:
    """Bring ``blobs`` into ``folder`` on the machine, as a registry stores them; the bytes sent.

    Parameters
    ----------
    blobs
        Size by sha256.
    arrived
        Bytes by sha256 that an interrupted run brought already.
    source
        Where a blob lies on the controller, by its sha256.
    noted
        Whether the machine notes their digests, since they stay.

    Raises
    ------
    OperatorError
        The machine did not take them.
    """
    command = f"/usr/bin/python3 -I -S -B -c {shlex.quote(BOOT)} {shlex.quote(folder)}"
    if noted:
        command += " noted"
    sent = 0
    for batch in batches(blobs, arrived):
        done = execute(command, in_data=payload(batch, source))
        if done["rc"] != 0:
            said = (done["stderr"] or done["stdout"]).strip().splitlines()
            raise OperatorError(
                "what was sent of the bundle was not taken",
                where=folder,
                found=said[-1] if said else "the process ended without a word",
                fix="put that right, then: provision up (what arrived is not sent again)",
            )
        sent += sum(piece.length for piece in batch)
    return sent
