"""The machine's stamp: written last, once it is a member."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .commands import Commands
from .files import read_json, sha256, write_private
from .order import Order
from .paths import ADMISSION, AUDIT, ENCRYPTION, INIT, PKI, STAMP, made_files

BEGUN = Path(STAMP).with_name("kubernetes-begun.json")
"""Written before kubeadm first runs: what stands here since is this site's own."""


def is_begun() -> bool:
    """Whether kubeadm ran here before, for this site's cluster."""
    begun = read_json(BEGUN)
    return begun is not None and begun.get("ca") == sha256(Path(PKI, "ca.crt"))


def note_begun() -> None:
    """Note that kubeadm is about to run."""
    if not is_begun():
        write_private(BEGUN, json.dumps({"ca": sha256(Path(PKI, "ca.crt"))}) + "\n")


def is_complete(order: Order) -> bool:
    """Whether the machine became a member, perhaps by a run that was thought dead."""
    stamp = read_json(Path(STAMP))
    return (
        stamp is not None
        and stamp.get("ca") == sha256(Path(PKI, "ca.crt"))
        and stamp.get("control_plane") == order.control_plane
        and stamp.get("version") == order.version
    )


def write_stamp(order: Order, commands: Commands, *, renewed: str = "") -> None:
    """Note that the machine is a member, and what kubeadm has made here."""
    inputs = (INIT, AUDIT, ADMISSION, ENCRYPTION) if order.control_plane else ()
    stamp: dict[str, Any] = {
        "version": order.version,
        "control_plane": order.control_plane,
        "ca": sha256(Path(PKI, "ca.crt")),
        "inputs": {path: sha256(Path(path)) for path in inputs},
        "files": {path: sha256(Path(path)) for path in made_files(order.control_plane)},
        "expires": _expiry(commands) if order.control_plane else {},
        "renewed": renewed,
    }
    write_private(Path(STAMP), json.dumps(stamp, indent=1, sort_keys=True) + "\n")


def last_renewal() -> str:
    """When the certificates were last renewed; empty when never."""
    return str((read_json(Path(STAMP)) or {}).get("renewed", ""))


def _expiry(commands: Commands) -> dict[str, str]:
    """End of each certificate that kubeadm made, as it names them."""
    told = commands.run("kubeadm", "certs", "check-expiration", f"--config={INIT}", "-o", "json")
    return {
        item["name"]: item["expirationDate"].replace("Z", "+00:00")
        for item in json.loads(told)["certificates"]
        if not item.get("missing")
    }


def forget() -> None:
    """Remove the stamp and the note."""
    Path(STAMP).unlink(missing_ok=True)
    BEGUN.unlink(missing_ok=True)
