"""Export and import of the store as age files."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from provision.errors import SecretsError, UsageError
from provision.privatefiles import make_folder
from provision.secrets import MARKER, Marker, SecretStore
from provision.secretsharing import Imported, export_secrets, import_secrets
from tests.support.secrets import SPECS

PASSPHRASE = "correct horse battery staple"


class Administrator:
    """An age key pair, the private one in a file."""

    def __init__(self, folder: Path, name: str) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.public = str(identity.to_public())
        self.key = folder / f"{name}.key"
        self.key.write_text(f"# created: today\n# public key: {self.public}\n{identity}\n")


@pytest.fixture
def admin(tmp_path: Path) -> Administrator:
    return Administrator(tmp_path, "admin")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole store, made once: RSA keys take their time."""
    path = tmp_path_factory.mktemp("made") / "secrets"
    SecretStore(path, specs=SPECS, site="lab").ensure(SPECS)
    return path


@pytest.fixture
def store(tmp_path: Path, made: Path) -> SecretStore:
    path = tmp_path / "first" / "secrets"
    make_folder(path.parent)
    shutil.copytree(made, path)
    return SecretStore(path, specs=SPECS, site="lab")


@pytest.fixture
def elsewhere(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "second" / "secrets", specs=SPECS, site="lab")


@pytest.fixture
def exported(tmp_path: Path, store: SecretStore, admin: Administrator) -> Path:
    path = tmp_path / "lab.age"
    export_secrets(store, path, recipients=[admin.public])
    return path


def contents(store: SecretStore) -> dict[str, bytes]:
    return {name: store.read(name) for name in store.names()}


def sealed(
    admin: Administrator, members: list[tuple[tarfile.TarInfo, bytes]], site: str = "lab"
) -> bytes:
    """A tar of hand-made entries, encrypted as an export is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        marker = Marker(site, 1).as_bytes()
        for member, content in [(tarfile.TarInfo(MARKER), marker), *members]:
            if member.isreg():
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    recipient = pyrage.x25519.Recipient.from_str(admin.public)
    sealed_bytes: bytes = pyrage.encrypt(buffer.getvalue(), [recipient])
    return sealed_bytes


def test_everything_arrives_on_another_controller(
    store: SecretStore, elsewhere: SecretStore, exported: Path, admin: Administrator
) -> None:
    done = import_secrets(elsewhere, exported, identities=[admin.key])
    assert list(done.added) == store.names()
    assert contents(elsewhere) == contents(store)
    assert elsewhere.ensure(SPECS) == []
    assert elsewhere.marker == store.marker
    for path in elsewhere.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert {item.name for item in elsewhere.path.parent.iterdir()} == {"secrets", "secrets.lock"}


def test_the_file_is_encrypted_and_its_owners_alone(
    store: SecretStore, exported: Path, admin: Administrator
) -> None:
    content = exported.read_bytes()
    assert content.startswith(b"age-encryption.org/v1\n-> X25519 ")
    assert exported.stat().st_mode & 0o777 == 0o600
    for secret in store.values().values():
        assert secret.splitlines()[0] not in content
    assert admin.public.encode() not in content


def test_any_one_recipient_can_read(
    tmp_path: Path, store: SecretStore, elsewhere: SecretStore
) -> None:
    people = [Administrator(tmp_path, name) for name in ("one", "two")]
    path = tmp_path / "lab.age"
    export_secrets(store, path, recipients=[person.public for person in people])
    import_secrets(elsewhere, path, identities=[people[1].key])
    assert contents(elsewhere) == contents(store)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_openssh_keys_serve_as_well(
    tmp_path: Path, store: SecretStore, elsewhere: SecretStore, kind: str
) -> None:
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True)
    path = tmp_path / "lab.age"
    export_secrets(store, path, recipients=[key.with_suffix(".pub").read_text()])
    import_secrets(elsewhere, path, identities=[key])
    assert contents(elsewhere) == contents(store)


def test_a_passphrase_serves_as_well(
    tmp_path: Path, store: SecretStore, elsewhere: SecretStore
) -> None:
    path = tmp_path / "lab.age"
    export_secrets(store, path, passphrase=PASSPHRASE)
    assert path.read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")
    with pytest.raises(SecretsError, match="cannot be decrypted") as caught:
        import_secrets(elsewhere, path, ask=lambda: "wrong")
    assert "passphrase is wrong" in caught.value.why
    with pytest.raises(SecretsError, match="no terminal"):
        import_secrets(elsewhere, path)
    import_secrets(elsewhere, path, ask=lambda: PASSPHRASE)
    assert contents(elsewhere) == contents(store)


def test_a_passphrase_that_costs_too_much_here_is_not_called_wrong(
    tmp_path: Path, store: SecretStore, elsewhere: SecretStore
) -> None:
    path = tmp_path / "lab.age"
    export_secrets(store, path, passphrase=PASSPHRASE)
    path.write_bytes(re.sub(rb"(-> scrypt \S+) \d+", rb"\1 30", path.read_bytes(), count=1))
    with pytest.raises(SecretsError, match="cannot be tried on this machine now") as caught:
        import_secrets(elsewhere, path, ask=lambda: PASSPHRASE)
    assert caught.value.found.startswith("Decryption would take around")


def test_without_recipients_nothing_is_written(tmp_path: Path, store: SecretStore) -> None:
    with pytest.raises(SecretsError, match="nobody to encrypt the secrets to") as caught:
        export_secrets(store, tmp_path / "out")
    assert "--recipient" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_recipients_and_a_passphrase_exclude_each_other(
    tmp_path: Path, store: SecretStore, admin: Administrator
) -> None:
    with pytest.raises(SecretsError, match="either"):
        export_secrets(store, tmp_path / "out", recipients=[admin.public], passphrase="x")


@pytest.mark.parametrize(
    ("recipient", "what"),
    [
        ("age1nonsense", "not a public key"),
        ("ssh-ed25519 nonsense", "not a public key"),
        ("", "not a public key"),
        ("PRIVATE", "this is a private key"),
    ],
)
def test_a_malformed_recipient_is_named_unless_it_is_secret(
    tmp_path: Path, store: SecretStore, recipient: str, what: str
) -> None:
    secret = str(pyrage.x25519.Identity.generate())
    given = secret if recipient == "PRIVATE" else recipient
    with pytest.raises(SecretsError, match=what) as caught:
        export_secrets(store, tmp_path / "out", recipients=[given])
    assert secret not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_existing_file_is_never_overwritten(
    store: SecretStore, exported: Path, admin: Administrator
) -> None:
    before = exported.read_bytes()
    with pytest.raises(UsageError, match="there already"):
        export_secrets(store, exported, recipients=[admin.public])
    assert exported.read_bytes() == before


def test_a_controller_without_secrets_has_nothing_to_export(
    tmp_path: Path, elsewhere: SecretStore, admin: Administrator
) -> None:
    with pytest.raises(SecretsError, match="no secrets of the site"):
        export_secrets(elsewhere, tmp_path / "out", recipients=[admin.public])
    assert not elsewhere.path.exists()


def test_a_wrong_key_is_refused(tmp_path: Path, elsewhere: SecretStore, exported: Path) -> None:
    stranger = Administrator(tmp_path, "stranger")
    with pytest.raises(SecretsError, match="cannot be decrypted") as caught:
        import_secrets(elsewhere, exported, identities=[stranger.key])
    assert str(stranger.key) in caught.value.why
    assert elsewhere.is_empty


def test_no_key_at_all_is_refused(elsewhere: SecretStore, exported: Path) -> None:
    with pytest.raises(SecretsError, match="a private key is needed") as caught:
        import_secrets(elsewhere, exported)
    assert "--identity" in caught.value.fix


@pytest.mark.parametrize(
    "content", [b"", b"# nothing\n", b"\xff\xfe", b"-----BEGIN NONSENSE", b"hi"]
)
def test_a_file_without_a_key_is_refused(
    tmp_path: Path, elsewhere: SecretStore, exported: Path, content: bytes
) -> None:
    key = tmp_path / "bad.key"
    key.write_bytes(content)
    with pytest.raises(SecretsError, match="holds no private key"):
        import_secrets(elsewhere, exported, identities=[key])


def test_a_key_file_that_is_missing_or_encrypted_is_refused(
    tmp_path: Path, elsewhere: SecretStore, exported: Path
) -> None:
    with pytest.raises(SecretsError, match="key file cannot be read"):
        import_secrets(elsewhere, exported, identities=[tmp_path / "nonesuch"])
    with pytest.raises(SecretsError, match="itself encrypted"):
        import_secrets(elsewhere, exported, identities=[exported])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(
    elsewhere: SecretStore, exported: Path, admin: Administrator, share: float
) -> None:
    content = exported.read_bytes()
    exported.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SecretsError):
        import_secrets(elsewhere, exported, identities=[admin.key])
    assert elsewhere.is_empty


def test_a_flipped_bit_is_refused(
    elsewhere: SecretStore, exported: Path, admin: Administrator
) -> None:
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    exported.write_bytes(content)
    with pytest.raises(SecretsError, match="cannot be decrypted"):
        import_secrets(elsewhere, exported, identities=[admin.key])
    assert elsewhere.is_empty


def test_another_sites_secrets_are_refused(
    tmp_path: Path, exported: Path, admin: Administrator
) -> None:
    other = SecretStore(tmp_path / "third" / "secrets", specs=SPECS, site="other")
    with pytest.raises(SecretsError, match="secrets of another site") as caught:
        import_secrets(other, exported, identities=[admin.key])
    assert (caught.value.found, caught.value.wanted) == ("lab", "other")
    assert other.is_empty


def link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


def folder(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    return member


@pytest.mark.parametrize(
    "make",
    [
        lambda: [(tarfile.TarInfo("../../escape"), b"x")],
        lambda: [(tarfile.TarInfo("/etc/cron.d/escape"), b"x")],
        lambda: [(tarfile.TarInfo("good/../../escape"), b"x")],
        lambda: [(tarfile.TarInfo(".hidden"), b"x")],
        lambda: [(tarfile.TarInfo("UPPER"), b"x")],
        lambda: [(tarfile.TarInfo("x" * 90 + "\n"), b"x")],
        lambda: [(link("kubeconfig"), b"")],
        lambda: [(folder("kubernetes"), b"")],
        lambda: [(tarfile.TarInfo("twice"), b"1"), (tarfile.TarInfo("twice"), b"2")],
        lambda: [(tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("a/b"), b"2")],
        lambda: [(tarfile.TarInfo(MARKER), b"{}")],
    ],
    ids=[
        "parent",
        "absolute",
        "inner-parent",
        "hidden",
        "capitals",
        "newline",
        "link",
        "folder",
        "twice",
        "file-and-folder",
        "two-markers",
    ],
)
def test_a_tar_that_export_would_not_write_is_refused(
    tmp_path: Path,
    elsewhere: SecretStore,
    admin: Administrator,
    make: Callable[[], list[tuple[tarfile.TarInfo, bytes]]],
) -> None:
    path = tmp_path / "evil.age"
    path.write_bytes(sealed(admin, make()))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SecretsError, match="not a file that provision secrets export wrote"):
        import_secrets(elsewhere, path, identities=[admin.key])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("plain", [b"", b"no tar", b"\x00" * 1024, b"\x1f\x8b" + b"\x00" * 100])
def test_what_is_no_tar_is_refused(
    tmp_path: Path, elsewhere: SecretStore, admin: Administrator, plain: bytes
) -> None:
    path = tmp_path / "evil.age"
    path.write_bytes(pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(admin.public)]))
    with pytest.raises(SecretsError, match="not a file that provision secrets export wrote"):
        import_secrets(elsewhere, path, identities=[admin.key])


def test_what_is_not_encrypted_or_too_large_is_refused(
    tmp_path: Path, elsewhere: SecretStore, admin: Administrator
) -> None:
    path = tmp_path / "plain.tar"
    for content in (b"plain", b"\x00" * (17 * 1024 * 1024)):
        path.write_bytes(content)
        with pytest.raises(SecretsError, match="not a file that") as caught:
            import_secrets(elsewhere, path, identities=[admin.key])
        assert "not in the age format" in caught.value.found
    with pytest.raises(SecretsError, match="cannot be read"):
        import_secrets(elsewhere, tmp_path / "nonesuch", identities=[admin.key])


def test_importing_what_is_here_already_changes_nothing(
    store: SecretStore, exported: Path, admin: Administrator
) -> None:
    before = (contents(store), store.marker)
    assert import_secrets(store, exported, identities=[admin.key]) == Imported()
    assert (contents(store), store.marker) == before


def test_differing_secrets_are_replaced_by_force_alone(
    elsewhere: SecretStore, store: SecretStore, exported: Path, admin: Administrator
) -> None:
    elsewhere.ensure(SPECS)
    before = contents(elsewhere)
    with pytest.raises(SecretsError, match="differs from secrets that are here") as caught:
        import_secrets(elsewhere, exported, identities=[admin.key])
    assert "kubernetes/ca.key" in caught.value.found
    assert "--force" in caught.value.fix
    assert contents(elsewhere) == before

    done = import_secrets(elsewhere, exported, identities=[admin.key], force=True)
    assert "kubernetes/ca.key" in done.replaced
    assert contents(elsewhere) == contents(store)
    assert done.kept_copy is not None
    kept = SecretStore(done.kept_copy, site="lab")
    assert contents(kept) == before


def test_a_backup_repairs_what_was_lost(
    store: SecretStore, exported: Path, admin: Administrator
) -> None:
    before = contents(store)
    for name in ("site-ca.key", "kubernetes/encryption-key"):
        (store.path / name).unlink()
    done = import_secrets(store, exported, identities=[admin.key])
    assert sorted(done.added) == ["kubernetes/encryption-key", "site-ca.key"]
    assert done.kept_copy is None
    assert contents(store) == before


def test_secrets_made_since_the_backup_stay(
    store: SecretStore, exported: Path, admin: Administrator
) -> None:
    store.put("vault/token", b"later")
    (store.path / "site-ca.key").unlink()
    import_secrets(store, exported, identities=[admin.key])
    assert store.read("vault/token") == b"later"
    assert store.marker is not None
    assert "vault/token" in store.marker.made


def test_a_git_work_tree_is_no_place_to_import_to(
    tmp_path: Path, elsewhere: SecretStore, exported: Path, admin: Administrator
) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(SecretsError, match="Git work tree"):
        import_secrets(elsewhere, exported, identities=[admin.key])


def test_what_a_killed_import_left_is_removed(
    elsewhere: SecretStore, exported: Path, admin: Administrator
) -> None:
    remains = elsewhere.path.parent / ".secrets.incoming-abc"
    remains.mkdir(parents=True)
    (remains / "site-ca.key").write_text("half")
    import_secrets(elsewhere, exported, identities=[admin.key])
    assert not remains.exists()


def test_a_full_disk_leaves_the_store_as_it_was(
    tmp_path: Path, store: SecretStore, exported: Path, admin: Administrator
) -> None:
    """A real limit on the size of files stands for the disk."""
    shutil.copytree(store.path, tmp_path / "copy")
    (store.path / "kubeconfig").unlink()
    program = (
        "import resource, signal, sys; from pathlib import Path;"
        "from provision.secrets import SecretStore;"
        "from provision.secretsharing import import_secrets;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900));"
        "import_secrets(SecretStore(Path(sys.argv[1])), Path(sys.argv[2]),"
        " identities=[Path(sys.argv[3])])"
    )
    before = contents(store)
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.path), str(exported), str(admin.key)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nothing was changed" in done.stderr
    assert contents(store) == before
    assert {item.name for item in store.path.parent.iterdir()} == {"secrets", "secrets.lock"}
