"""The bill of materials, the signature and the layout, as other tools read them."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from provision.bundle.lock import LOCK, PUBLIC_KEY, SBOM, SIGNATURE
from provision.bundle.sbom import bill_of_materials
from provision.bundle.signing import KeyRing, PublicKey
from provision.errors import BundleError, SecretsError
from tests.support.bundles import INGREDIENT, SmallBundle, small_bundle


@pytest.fixture
def small(tmp_path: Path) -> SmallBundle:
    return small_bundle(tmp_path)


def test_the_bill_names_files_images_and_modules(small: SmallBundle) -> None:
    bill = json.loads((small.folder / SBOM).read_bytes())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    by_ref = {one["bom-ref"]: one for one in bill["components"]}
    kubelet = small.open().sha256("kubelet", "amd64")
    assert by_ref["file/kubelet"]["hashes"] == [{"alg": "SHA-256", "content": kubelet}]
    purl = "pkg:golang/example.org/library@v1.2.3"
    assert by_ref[purl]["properties"][0]["value"] == INGREDIENT.checksum
    uses = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert uses["file/kubelet"] == [purl]
    assert "image/registry.example/api:v1" in uses["component/kubernetes"]


def test_the_bill_is_the_same_for_the_same_content(small: SmallBundle) -> None:
    again = bill_of_materials(small.selection, small.provided)
    assert again == (small.folder / SBOM).read_bytes()


def test_a_module_is_listed_once_with_its_checksum_where_any_binary_knows_it(
    small: SmallBundle,
) -> None:
    blank = INGREDIENT.model_copy(update={"checksum": ""})
    name, made = next((name, made) for name, made in small.provided.items() if made.files)
    first, *others = made.files
    files = [first.model_copy(update={"ingredients": (blank,)}), *others]
    provided = {**small.provided, name: made.model_copy(update={"files": tuple(files)})}
    bills = [bill_of_materials(small.selection, provided) for _ in range(2)]
    assert bills[0] == bills[1]
    found = [one for one in json.loads(bills[0])["components"] if one["name"] == INGREDIENT.name]
    assert [one["properties"][0]["value"] for one in found] == [INGREDIENT.checksum]


def test_the_bill_follows_the_schema(small: SmallBundle) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str((small.folder / SBOM).read_text()) is None


def test_openssl_accepts_the_signature(small: SmallBundle, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(base64.b64decode((small.folder / SIGNATURE).read_bytes()))
    done = subprocess.run(
        [
            *("openssl", "dgst", "-sha256", "-verify", str(small.folder / PUBLIC_KEY)),
            *("-signature", str(raw), str(small.folder / LOCK)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "Verified OK\n"


def test_the_private_key_is_private(small: SmallBundle) -> None:
    private = small.keys.folder / "bundle.key"
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.parent.stat().st_mode & 0o777 == 0o700
    private.chmod(0o644)
    with pytest.raises(SecretsError):
        small.keys.sign(b"anything")


def test_a_signature_is_over_exactly_these_bytes(tmp_path: Path) -> None:
    signature, key = KeyRing(tmp_path).sign(b"content")
    assert key.signed(b"content", signature)
    assert not key.signed(b"content ", signature)
    assert not key.signed(b"content", signature[4:])
    assert not key.signed(b"content", b"")
    assert not key.signed(b"content", "ü".encode())


def test_only_p256_keys_are_taken(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    for public in (
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    ):
        pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(BundleError, match="wrong kind"):
            PublicKey.parse(pem, "key.pub")
    with pytest.raises(BundleError, match="not a public key"):
        PublicKey.parse(b"nonsense", "key.pub")
    with pytest.raises(BundleError, match="cannot be read"):
        PublicKey.read(tmp_path / "absent.pub")


def test_the_index_names_images_as_upstream_does(small: SmallBundle) -> None:
    index = json.loads((small.folder / "index.json").read_bytes())
    names = {
        one["annotations"]["org.opencontainers.image.ref.name"]: one for one in index["manifests"]
    }
    assert set(names) == {
        "provision/files:kubernetes-1.36.3",
        "registry.example/api:v1",
        "registry.example/deep/pause:1",
    }
    assert names["registry.example/api:v1"]["platform"] == {"architecture": "amd64", "os": "linux"}
    for one in names.values():
        sha256 = one["digest"].removeprefix("sha256:")
        assert (small.folder / "blobs" / "sha256" / sha256).stat().st_size == one["size"]
