"""Signatures over a bundle's lock, as cosign's ``sign-blob`` makes and ``verify-blob`` checks.

ECDSA on P-256 over SHA-256, the signature in base64. ``cosign verify-blob
--key bundle.pub --signature bundle.lock.json.sig bundle.lock.json`` agrees.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provision.bundle.store import write_atomically
from provision.errors import BundleError
from provision.privatefiles import make_folder, read_private, write_private


@dataclass(frozen=True)
class PublicKey:
    """A key whose signatures can be checked."""

    pem: bytes

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """Read a PEM file.

        Raises
        ------
        BundleError
            There is none, or it holds no P-256 public key.
        """
        try:
            return cls.parse(path.read_bytes(), str(path))
        except OSError as error:
            raise BundleError(
                "the public key cannot be read",
                where=str(path),
                found=error.strerror or str(error),
                fix="name the right file in the site's bundle.trusted_keys",
            ) from error

    @classmethod
    def parse(cls, pem: bytes, where: str) -> PublicKey:
        """Take a key from its PEM text.

        Raises
        ------
        BundleError
            It is no P-256 public key.
        """
        try:
            key = serialization.load_pem_public_key(pem)
        except ValueError as error:
            raise BundleError("this is not a public key", where=where, found=str(error)) from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise BundleError(
                "the public key has the wrong kind", where=where, wanted="ECDSA on P-256"
            )
        return cls(_public_pem(key))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key, as OpenSSH shows keys."""
        key = serialization.load_pem_public_key(self.pem)
        der = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")

    def signed(self, content: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (base64) over ``content`` is this key's."""
        key = serialization.load_pem_public_key(self.pem)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        try:
            raw = base64.b64decode(signature, validate=False)
            key.verify(raw, content, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, binascii.Error):
            return False
        return True


class KeyRing:
    """The controller's own signing key, and the keys it has been told to trust.

    Parameters
    ----------
    folder
        Kept 0700; the private key in it 0600.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def default(cls) -> KeyRing:
        """The ring in the caller's state folder."""
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        # No site can have this name: sites' names begin with a letter or digit.
        return cls(Path(home) / "provision" / ".bundle-keys")

    @property
    def _private(self) -> Path:
        return self.folder / "bundle.key"

    def own(self) -> PublicKey | None:
        """The public half of the signing key, when one has been made."""
        pem = read_private(self._private)
        return None if pem is None else PublicKey(_public_pem(_private_key(pem).public_key()))

    def trusted(self) -> tuple[PublicKey, ...]:
        """The own key and every pinned one."""
        own = self.own()
        pinned = [PublicKey.read(path) for path in sorted(self.folder.glob("trusted-*.pub"))]
        return (*([own] if own else []), *pinned)

    def pin(self, key: PublicKey) -> None:
        """Trust ``key`` from now on."""
        make_folder(self.folder)
        name = hashlib.sha256(key.pem).hexdigest()[:16]
        write_atomically(self.folder / f"trusted-{name}.pub", key.pem)

    def sign(self, content: bytes) -> tuple[bytes, PublicKey]:
        """Signature over ``content`` in base64, by the own key, made when there is none."""
        pem = read_private(self._private)
        if pem is None:
            pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            write_private(self._private, pem)
        key = _private_key(pem)
        signature = key.sign(content, ec.ECDSA(hashes.SHA256()))
        return base64.b64encode(signature), PublicKey(_public_pem(key.public_key()))


def signer(content: bytes, signature: bytes, keys: Iterable[PublicKey]) -> PublicKey | None:
    """Which of ``keys`` made ``signature`` over ``content``."""
    return next((key for key in keys if key.signed(content, signature)), None)


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BundleError("the signing key has the wrong kind", wanted="ECDSA on P-256")
    return key


def _public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
