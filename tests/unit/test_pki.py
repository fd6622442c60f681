"""Certificates as OpenSSL and the specification see them."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from provision import pki
from provision.secretspec import Authority, Certificate

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = Authority("ca", "lab CA")
LEAF = Certificate(
    "leaf",
    "ca",
    "leaf",
    organizations=("one", "two"),
    names=("leaf.lab", "10.0.0.1", "fd00::1"),
    usages=("server", "client"),
)


@pytest.fixture(scope="module")
def ca_key() -> bytes:
    return pki.new_key()


@pytest.fixture(scope="module")
def ca(ca_key: bytes) -> bytes:
    return pki.new_authority(AUTHORITY, ca_key, NOW)


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("usage", ["server", "client"])
def test_openssl_accepts_the_chain(tmp_path: Path, ca: bytes, ca_key: bytes, usage: str) -> None:
    (tmp_path / "ca.crt").write_bytes(ca)
    leaf = pki.new_certificate(LEAF, pki.new_key(), ca, ca_key, NOW)
    (tmp_path / "leaf.crt").write_bytes(leaf)
    arguments = ["-x509_strict", "-check_ss_sig", "-purpose", f"ssl{usage}"]
    assert "OK" in openssl(
        "verify", *arguments, "-CAfile", tmp_path / "ca.crt", tmp_path / "leaf.crt"
    )


def test_openssl_reads_names_usages_and_keys(tmp_path: Path, ca: bytes, ca_key: bytes) -> None:
    key = pki.new_key()
    (tmp_path / "leaf.crt").write_bytes(pki.new_certificate(LEAF, key, ca, ca_key, NOW))
    (tmp_path / "leaf.key").write_bytes(key)
    text = openssl("x509", "-in", tmp_path / "leaf.crt", "-noout", "-text")
    assert "DNS:leaf.lab, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1" in text
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in text
    subject = openssl(
        "x509", "-in", tmp_path / "leaf.crt", "-noout", "-subject", "-nameopt", "RFC2253"
    )
    assert subject.strip() == "subject=CN=leaf,O=two,O=one"
    assert "X509v3 Basic Constraints: critical\n                CA:FALSE" in text
    openssl("ec", "-in", tmp_path / "leaf.key", "-check", "-noout")


def test_a_leaf_may_not_sign(tmp_path: Path, ca: bytes, ca_key: bytes) -> None:
    key = pki.new_key()
    leaf = pki.new_certificate(LEAF, key, ca, ca_key, NOW)
    below = pki.new_certificate(
        Certificate("below", "leaf", "below"), pki.new_key(), leaf, key, NOW
    )
    for name, content in (("ca", ca), ("leaf", leaf), ("below", below)):
        (tmp_path / f"{name}.crt").write_bytes(content)
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", "ca.crt", "-untrusted", "leaf.crt", "below.crt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0


def test_authority_is_an_ecdsa_ca_of_ten_years(ca: bytes) -> None:
    found = pki.load_certificate(ca)
    assert isinstance(found.public_key(), ec.EllipticCurvePublicKey)
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    own = found.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer.key_identifier == own.digest
    assert found.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert found.not_valid_after_utc == NOW + timedelta(days=3650)


def test_serial_numbers_differ(ca: bytes, ca_key: bytes) -> None:
    key = pki.new_key()
    serials = {
        pki.load_certificate(pki.new_certificate(LEAF, key, ca, ca_key, NOW)).serial_number
        for _ in range(5)
    }
    assert len(serials) == 5
    assert min(serials).bit_length() > 64


def test_a_certificate_never_outlives_its_authority(ca_key: bytes) -> None:
    short = pki.new_authority(Authority("ca", "ca", days=100), ca_key, NOW)
    leaf = pki.new_certificate(LEAF, pki.new_key(), short, ca_key, NOW)
    assert pki.end_of(leaf) == pki.end_of(short)


def test_service_account_keys_have_kubeadms_form(tmp_path: Path) -> None:
    key = pki.new_rsa_key()
    assert key.startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    public = pki.public_key(key)
    assert public.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    loaded = pki.load_key(key)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    assert loaded.key_size == 2048
    (tmp_path / "sa.key").write_bytes(key)
    assert openssl("pkey", "-in", tmp_path / "sa.key", "-pubout").encode() == public


def other(**changes: object) -> Certificate:
    return Certificate(**{**vars(LEAF), **changes})


@pytest.mark.parametrize(
    ("spec", "days", "reason"),
    [
        (LEAF, 0, ""),
        (LEAF, 304, ""),
        (LEAF, 306, "it ends"),
        (LEAF, 400, "it ended"),
        (LEAF, -1, "it holds from"),
        (other(names=("leaf.lab", "10.0.0.1")), 0, "it has fd00::1"),
        (other(names=(*LEAF.names, "new.lab")), 0, "it lacks the name new.lab"),
        (other(names=tuple(reversed(LEAF.names))), 0, ""),
        (other(common_name="renamed"), 0, "its subject is"),
        (other(organizations=("one",)), 0, "its subject is"),
        (other(usages=("server",)), 0, "it is for other usages"),
    ],
)
def test_why_a_certificate_is_due(
    ca: bytes, ca_key: bytes, spec: Certificate, days: int, reason: str
) -> None:
    key = pki.new_key()
    leaf = pki.new_certificate(LEAF, key, ca, ca_key, NOW)
    found = pki.why_certificate_due(spec, leaf, key, ca, NOW + timedelta(days=days))
    assert found == reason if not reason else found.startswith(reason)


def test_a_certificate_of_another_key_or_authority_is_due(ca: bytes, ca_key: bytes) -> None:
    key, other_key = pki.new_key(), pki.new_key()
    leaf = pki.new_certificate(LEAF, key, ca, ca_key, NOW)
    impostor = pki.new_authority(AUTHORITY, other_key, NOW)
    stranger = pki.new_authority(Authority("x", "somebody else"), other_key, NOW)
    assert pki.why_certificate_due(LEAF, leaf, other_key, ca, NOW) == "it is for another key"
    assert "did not sign" in pki.why_certificate_due(LEAF, leaf, key, impostor, NOW)
    assert "not of the authority" in pki.why_certificate_due(LEAF, leaf, key, stranger, NOW)
    assert "damaged" in pki.why_certificate_due(LEAF, leaf[:200], key, ca, NOW)


def test_a_short_lived_certificate_is_not_due_at_once(ca: bytes, ca_key: bytes) -> None:
    spec = Certificate("join", "ca", "join", usages=("client",), days=1, renew_days=60)
    key = pki.new_key()
    leaf = pki.new_certificate(spec, key, ca, ca_key, NOW)
    assert pki.why_certificate_due(spec, leaf, key, ca, NOW) == ""
    assert pki.why_certificate_due(spec, leaf, key, ca, NOW + timedelta(hours=13)) != ""


def test_an_authority_made_anew_with_its_key_still_vouches(
    tmp_path: Path, ca: bytes, ca_key: bytes
) -> None:
    key = pki.new_key()
    leaf = pki.new_certificate(LEAF, key, ca, ca_key, NOW)
    later = NOW + timedelta(days=3650 - 360)
    assert pki.why_authority_due(ca, ca_key, NOW) == ""
    assert pki.why_authority_due(ca, ca_key, later).startswith("it ends")
    renewed = pki.new_authority(AUTHORITY, ca_key, NOW)
    assert pki.why_certificate_due(LEAF, leaf, key, renewed, NOW) == ""
    (tmp_path / "ca.crt").write_bytes(renewed)
    (tmp_path / "leaf.crt").write_bytes(leaf)
    openssl("verify", "-CAfile", tmp_path / "ca.crt", tmp_path / "leaf.crt")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00\xff" * 40])
def test_what_is_no_key_or_certificate_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        pki.load_key(content)
    with pytest.raises(ValueError, match=r"."):
        pki.load_certificate(content)


def test_a_key_of_another_kind_is_refused() -> None:
    ed25519 = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True
    ).stdout
    with pytest.raises(ValueError, match="neither an ECDSA nor an RSA key"):
        pki.load_key(ed25519)


def test_an_rsa_key_whose_parts_do_not_fit_is_no_key() -> None:
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    other = rsa.RSAPrivateNumbers(
        numbers.p,
        numbers.q,
        numbers.d ^ 1 << 100,
        numbers.dmp1 ^ 1 << 100,
        numbers.dmq1,
        numbers.iqmp,
        numbers.public_numbers,
    )
    damaged = other.private_key(unsafe_skip_rsa_key_validation=True)
    pem = damaged.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    with pytest.raises(ValueError, match="do not fit together"):
        pki.load_key(pem)
