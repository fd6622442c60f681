"""X.509 by the ``cryptography`` library: authorities, certificates and keys, all as PEM.

Keys of authorities and certificates are ECDSA P-256, which kubeadm takes as
they are; a KeyPair is RSA 2048, in which the API server signs service-account
tokens (kubeadm's own choice for ``sa.key``).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provision.secretspec import Authority, Certificate

BACKDATE = timedelta(minutes=5)
"""How far before its making a certificate begins to hold, for clocks that are behind."""

AUTHORITY_RENEWAL = timedelta(days=365)
"""An authority's certificate is made anew, with the same key, this long before its end:
more than the longest-lived certificate that it may still sign."""

_USAGES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
}

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key() -> bytes:
    """A new ECDSA P-256 key."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def new_rsa_key() -> bytes:
    """A new RSA 2048 key, in PKCS #1 as kubeadm writes ``sa.key``."""
    return _key_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def public_key(key: bytes) -> bytes:
    """The public half of a key, in PKIX as kubeadm writes ``sa.pub``.

    Raises
    ------
    ValueError
        ``key`` is not a private key in PEM.
    """
    return load_key(key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def new_authority(spec: Authority, key: bytes, now: datetime) -> bytes:
    """The self-signed certificate of an authority; it may sign certificates, not authorities."""
    private = load_key(key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, spec.common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=spec.days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(private, SHA256())
        .public_bytes(Encoding.PEM)
    )


def new_certificate(
    spec: Certificate, key: bytes, authority: bytes, authority_key: bytes, now: datetime
) -> bytes:
    """A certificate for ``key``, signed by an authority; it ends no later than that does."""
    issuer = load_certificate(authority)
    signer = load_key(authority_key)
    public = load_key(key).public_key()
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(spec))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + timedelta(days=spec.days), issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[usage] for usage in spec.usages]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id),
            critical=False,
        )
    )
    if spec.names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in spec.names])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, SHA256()).public_bytes(Encoding.PEM)


def why_authority_due(certificate: bytes, key: bytes, now: datetime) -> str:
    """Why an authority's certificate has to be made anew with the same key, or nothing."""
    try:
        found = load_certificate(certificate)
        if found.public_key() != load_key(key).public_key():
            return "its certificate is for another key"
    except ValueError:
        return "its certificate is damaged"
    return _why_ending(found, AUTHORITY_RENEWAL, now)


def why_certificate_due(
    spec: Certificate, certificate: bytes, key: bytes, authority: bytes, now: datetime
) -> str:
    """Why a certificate has to be made anew, or nothing."""
    try:
        found = load_certificate(certificate)
        issuer = load_certificate(authority)
        if found.public_key() != load_key(key).public_key():
            return "it is for another key"
        found.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return f"the authority {spec.authority} did not sign it"
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return f"it is damaged, or not of the authority {spec.authority}"
    return _why_other(spec, found) or _why_ending(found, timedelta(days=spec.renew_days), now)


def end_of(certificate: bytes) -> datetime:
    """When a certificate ends (UTC).

    Raises
    ------
    ValueError
        It is no certificate in PEM.
    """
    return load_certificate(certificate).not_valid_after_utc


@lru_cache(maxsize=128)
def certificate_problem(path: Path) -> str:
    """Why a file is none with certificates in PEM form, as the end of a sentence; or nothing."""
    try:
        x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return "holds no certificate in PEM form"
    return ""


def load_key(pem: bytes) -> PrivateKey:
    """A private key from PEM.

    Raises
    ------
    ValueError
        It is none, or of a kind that is not made here.
    """
    try:
        # Its primes are as they were made; testing them again takes 40 ms, a signature two.
        key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, rsa.RSAPrivateKey):
            signature = key.sign(b"", padding.PKCS1v15(), SHA256())
            key.public_key().verify(signature, b"", padding.PKCS1v15(), SHA256())
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error
    except InvalidSignature as error:
        raise ValueError("its parts do not fit together") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("neither an ECDSA nor an RSA key")  # noqa: TRY004 - a value, read from a file
    return key


@lru_cache(maxsize=128)
def load_certificate(pem: bytes) -> x509.Certificate:
    """A certificate from PEM.

    Raises
    ------
    ValueError
        It is none.
    """
    return x509.load_pem_x509_certificate(pem)


def _why_other(spec: Certificate, found: x509.Certificate) -> str:
    """What differs between a certificate and its specification, or nothing."""
    if found.subject != _subject(spec):
        return f"its subject is {found.subject.rfc4514_string()}"
    wanted = {_general_name(name) for name in spec.names}
    has = _names_of(found)
    if has != wanted:
        missing = ", ".join(sorted(str(name.value) for name in wanted - has))
        extra = ", ".join(sorted(str(name.value) for name in has - wanted))
        return "; ".join(
            text
            for text in (missing and f"it lacks the name {missing}", extra and f"it has {extra}")
            if text
        )
    usages = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if set(usages) != {_USAGES[usage] for usage in spec.usages}:
        return "it is for other usages"
    return ""


def _why_ending(found: x509.Certificate, ahead: timedelta, now: datetime) -> str:
    """Why a certificate is near its end, or nothing.

    A certificate that lives shorter than twice ``ahead`` is made anew after
    half its life; else a short-lived one would be due as soon as it is made.
    """
    life = found.not_valid_after_utc - found.not_valid_before_utc
    if now < found.not_valid_before_utc:
        return f"it holds from {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only"
    if found.not_valid_after_utc - now < min(ahead, life / 2):
        verb = "ended" if found.not_valid_after_utc <= now else "ends"
        return f"it {verb} {found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return ""


def _names_of(found: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _subject(spec: Certificate) -> x509.Name:
    organizations = (
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in spec.organizations
    )
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, spec.common_name)])


def _general_name(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        address: IPv4Address | IPv6Address = ip_address(name)
    except ValueError:
        return x509.DNSName(name)
    return x509.IPAddress(address)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
