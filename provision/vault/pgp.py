"""Reads an administrator's public PGP key as Vault takes it: its binary form, in base64."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY_TAGS = (0x98, 0x99, 0x9A, 0xC6)
"""First byte of a public-key packet: tag 6 in the old form with its lengths, and in the new form
(RFC 4880, section 4.2)."""


def public_key(path: Path) -> str:
    """The key in the file ``path``, armoured or binary.

    Raises
    ------
    ValueError
        It holds no public PGP key, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if content.lstrip().startswith(BEGIN.encode()):
        content = _without_armour(content.decode("ascii", errors="replace"))
    if not content or content[0] not in PUBLIC_KEY_TAGS:
        raise ValueError("is no public PGP key; write one with: gpg --export ADDRESS > FILE")
    return base64.b64encode(content).decode()


def _without_armour(text: str) -> bytes:
    """The body between the headers' empty line and the checksum, decoded."""
    lines = [line.strip() for line in text.strip().splitlines()]
    start = lines.index("") + 1 if "" in lines else 1
    body = []
    for line in lines[start:]:
        if line.startswith(("=", "-----END")):
            break
        body.append(line)
    try:
        return base64.b64decode("".join(body), validate=True)
    except binascii.Error:
        return b""
