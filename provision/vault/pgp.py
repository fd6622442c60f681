"""Reads an administrator's public PGP key as Vault takes it: its binary form, in base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path

BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY_TAGS = (0x98, 0x99, 0x9A, 0xC6)
"""First byte of a public-key packet: tag 6 in the old form with its lengths, and in the new form
(RFC 4880, section 4.2)."""

KEY_PACKETS = (6, 14)
"""Tags of a public key and a public subkey (RFC 4880, section 4.3)."""
ENCRYPTING = (1, 2, 16, 18, 25, 26)
"""Algorithms that encrypt: RSA, Elgamal, ECDH, X25519, X448 (RFC 4880, section 9.1; RFC 9580)."""
ALGORITHM_AT = 5
"""Where in a key packet its algorithm is, after version and time (RFC 4880, section 5.5.2)."""


def public_key(path: Path) -> str:
    """The key in the file ``path``, armoured or binary.

    Raises
    ------
    ValueError
        It holds no public PGP key, one that only signs, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if content.lstrip().startswith(BEGIN.encode()):
        content = _without_armour(content.decode("ascii", errors="replace"))
    if not content or content[0] not in PUBLIC_KEY_TAGS:
        raise ValueError("is no public PGP key; write one with: gpg --export ADDRESS > FILE")
    keys = [body for tag, body in _packets(content) if tag in KEY_PACKETS]
    if not any(len(key) > ALGORITHM_AT and key[ALGORITHM_AT] in ENCRYPTING for key in keys):
        raise ValueError(
            "is a PGP key that only signs, and shares are encrypted; add a subkey that encrypts"
            " (gpg --quick-add-key FINGERPRINT) and export it again"
        )
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


def _packets(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet (RFC 4880, section 4.2); ends at what is none."""
    at = 0
    while at < len(content) and content[at] & 0x80:
        first, at = content[at], at + 1
        if first & 0x40:
            tag = first & 0x3F
            size, at = _new_length(content, at)
        else:
            tag = first >> 2 & 0x0F
            width = 1 << (first & 0x03)
            size, at = int.from_bytes(content[at : at + width], "big"), at + width
        yield tag, content[at : at + size]
        at += size


def _new_length(content: bytes, at: int) -> tuple[int, int]:
    """A length in the new form, and where the body begins."""
    first = content[at] if at < len(content) else 0
    if first < 0xC0:
        return first, at + 1
    if first < 0xE0:
        return int.from_bytes(content[at : at + 2], "big") - 0xC000 + 0xC0, at + 2
    return int.from_bytes(content[at + 1 : at + 5], "big"), at + 5
