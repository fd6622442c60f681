"""The secret store on a real file system."""

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from provision import pki
from provision.errors import SecretsError
from provision.privatefiles import make_folder
from provision.secrets import MARKER, SecretStore
from provision.secretspec import Authority, Certificate, Random, Text
from tests.support.crashing_store import kill_and_heal
from tests.support.secrets import SPECS, Clock

KEPT = ("site-ca.key", "kubernetes/ca.key", "kubernetes/sa.key", "kubernetes/encryption-key")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> SecretStore:
    return SecretStore(tmp_path / "state" / "lab" / "secrets", specs=SPECS, site="lab", now=clock)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole store, made once: RSA keys take their time."""
    path = tmp_path_factory.mktemp("made") / "secrets"
    SecretStore(path, specs=SPECS, site="lab", now=Clock()).ensure(SPECS)
    return path


@pytest.fixture
def full(store: SecretStore, made: Path) -> SecretStore:
    make_folder(store.path.parent)
    shutil.copytree(made, store.path)
    return store


def contents(store: SecretStore) -> dict[str, bytes]:
    return {name: store.read(name) for name in store.names()}


def test_looking_at_a_store_that_is_not_there_makes_nothing(
    tmp_path: Path, store: SecretStore
) -> None:
    assert store.is_empty
    assert store.marker is None
    assert store.names() == []
    assert store.sha256("kubernetes/ca.crt") is None
    assert store.certificate("kubernetes/ca") is None
    assert store.sha256("kubeconfig") is None
    assert {info.due for info in store.describe()} >= {"not made yet"}
    assert list(tmp_path.iterdir()) == []


def test_everything_is_made_once_each_behind_what_it_rests_on(store: SecretStore) -> None:
    made = store.ensure(SPECS)
    assert sorted(made) == sorted(spec.name for spec in SPECS)
    assert made.index("kubernetes/ca") < made.index("kubernetes/admin") < made.index("kubeconfig")
    before = contents(store)
    assert store.ensure(SPECS) == []
    assert contents(store) == before
    assert not store.is_empty


def test_what_a_secret_rests_on_is_made_with_it(store: SecretStore) -> None:
    assert store.ensure([spec for spec in SPECS if spec.name == "depot/n1"]) == [
        "site-ca",
        "depot/n1",
    ]


def test_only_the_owner_may_look(full: SecretStore) -> None:
    for path in (full.path, *full.path.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert stat.S_IMODE(full.path.parent.stat().st_mode) == 0o700


def test_a_generous_umask_changes_nothing(store: SecretStore) -> None:
    before = os.umask(0)
    try:
        store.ensure(SPECS)
    finally:
        os.umask(before)
    test_only_the_owner_may_look(store)


def test_digests_are_those_of_the_files(full: SecretStore) -> None:
    for name, content in contents(full).items():
        assert full.sha256(name) == hashlib.sha256(content).hexdigest()
    assert full.certificate("site-ca") == full.read("site-ca.crt").decode()


def test_texts_are_composed_of_other_secrets(full: SecretStore) -> None:
    lines = full.read("kubeconfig").decode().splitlines()
    encoded = dict(line.split(": ") for line in lines)
    assert base64.b64decode(encoded["ca"]) == full.read("kubernetes/ca.crt")
    assert base64.b64decode(encoded["key"]) == full.read("kubernetes/admin.key")
    key = full.read("kubernetes/encryption-key").decode()
    assert len(base64.b64decode(key)) == 32
    # Braces that name no secret stay as they are.
    assert full.read("kubernetes/encryption.yaml").decode() == "keys: [{{secret: " + key + "}}]\n"


def test_a_certificate_near_its_end_is_made_anew_with_the_same_key(
    full: SecretStore, clock: Clock
) -> None:
    before = contents(full)
    clock.pass_days(310)
    assert full.sha256("depot/n1.crt") is None
    assert full.sha256("depot/n1.key") == hashlib.sha256(before["depot/n1.key"]).hexdigest()
    assert full.sha256("site-ca.crt") is not None
    assert sorted(full.ensure(SPECS)) == ["depot/n1", "kubernetes/admin"]
    after = contents(full)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"depot/n1.crt", "kubernetes/admin.crt"}
    assert full.sha256("depot/n1.crt") is not None


def test_a_text_follows_what_it_is_composed_of(full: SecretStore) -> None:
    (full.path / "kubernetes/admin.crt").unlink()
    assert full.sha256("kubeconfig") is None
    assert full.renew("kubernetes/admin") == ["kubernetes/admin", "kubeconfig"]
    assert base64.b64encode(full.read("kubernetes/admin.key")) in full.read("kubeconfig")


def test_a_machines_new_address_makes_its_certificate_due(full: SecretStore) -> None:
    moved = Certificate("depot/n1", "site-ca", "n1", names=("n1", "10.0.0.99"))
    again = SecretStore(full.path, specs=[moved, SPECS[4]], site="lab", now=full._now)
    assert again.sha256("depot/n1.crt") is None
    assert "10.0.0.99" in next(i for i in again.describe() if i.name == "depot/n1").due
    assert again.ensure([moved]) == ["depot/n1"]
    assert again.ensure([moved]) == []


def test_an_authority_near_its_end_keeps_its_key(full: SecretStore, clock: Clock) -> None:
    before = contents(full)
    clock.pass_days(3650 - 300)
    assert full.sha256("site-ca.crt") is None
    assert full.sha256("site-ca.key") is not None
    full.ensure(SPECS)
    after = contents(full)
    assert {name: after[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert after["site-ca.crt"] != before["site-ca.crt"]


def test_renewing_by_hand_takes_a_new_key(full: SecretStore) -> None:
    before = contents(full)
    assert "depot/n1" in full.renew("depot/n1")
    assert full.read("depot/n1.key") != before["depot/n1.key"]
    assert full.ensure(SPECS) == []


def test_a_password_is_renewed_in_one_step_where_its_component_says_so(full: SecretStore) -> None:
    specs = [Random("db/password", renewable=True), Random("db/key")]
    full.ensure(specs)
    before = full.read("db/password")
    generation = full.marker and full.marker.generation
    assert full.renew("db/password") == ["db/password"]
    assert full.read("db/password") != before
    assert full.marker
    assert full.marker.generation != generation
    with pytest.raises(SecretsError, match="not a secret that can be renewed"):
        full.renew("db/key")


@pytest.mark.parametrize("name", ["site-ca", "kubernetes/sa", "nonsense"])
def test_only_certificates_can_be_renewed_by_hand(full: SecretStore, name: str) -> None:
    with pytest.raises(SecretsError) as caught:
        full.renew(name)
    assert "depot/n1" in caught.value.wanted


@pytest.mark.parametrize(
    "lost", [*KEPT, ("site-ca.key", "site-ca.crt"), ("kubernetes/sa.key", "kubernetes/sa.pub")]
)
def test_what_must_not_be_made_twice_is_not(full: SecretStore, lost: str | tuple[str, ...]) -> None:
    names = (lost,) if isinstance(lost, str) else lost
    for name in names:
        (full.path / name).unlink()
    before = contents(full)
    for attempt in (lambda: full.ensure(SPECS), lambda: full.sha256(names[0])):
        with pytest.raises(SecretsError, match="was made for this site and is gone") as caught:
            attempt()
        assert "provision secrets import" in caught.value.fix
        assert contents(full) == before


@pytest.mark.parametrize("name", ["site-ca.key", "kubernetes/sa.key"])
def test_a_damaged_key_that_must_not_be_made_twice_is_an_error(
    full: SecretStore, name: str
) -> None:
    (full.path / name).write_bytes(b"\x00" * 200)
    with pytest.raises(SecretsError, match="is damaged"):
        full.ensure(SPECS)


@pytest.mark.parametrize(
    "name", ["depot/n1.key", "depot/n1.crt", "site-ca.crt", "kubernetes/sa.pub"]
)
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_what_can_be_made_again_is(full: SecretStore, name: str, content: bytes | None) -> None:
    if content is None:
        (full.path / name).unlink()
    else:
        (full.path / name).write_bytes(content)
    assert full.sha256(name) is None
    assert full.ensure(SPECS)
    assert full.ensure(SPECS) == []
    assert full.sha256(name) is not None


def test_a_store_of_another_site_is_refused(full: SecretStore) -> None:
    other = SecretStore(full.path, specs=SPECS, site="elsewhere")
    with pytest.raises(SecretsError, match="belongs to another site") as caught:
        other.ensure(SPECS)
    assert (caught.value.found, caught.value.wanted) == ("lab", "elsewhere")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"site": 1, "generation": []}'])
def test_a_damaged_marker_is_an_error(full: SecretStore, content: bytes) -> None:
    (full.path / MARKER).write_bytes(content)
    with pytest.raises(SecretsError, match="marker is damaged"):
        full.ensure(SPECS)


def test_the_generation_counts_changes(full: SecretStore) -> None:
    assert full.marker is not None
    first = full.marker.generation
    full.ensure(SPECS)
    assert full.marker.generation == first
    full.renew("depot/n1")
    assert full.marker.generation > first


@pytest.mark.parametrize("as_file", [True, False])
def test_a_git_work_tree_is_no_place_for_secrets(tmp_path: Path, *, as_file: bool) -> None:
    # A worktree and a submodule have a file in the place of the folder .git.
    git = tmp_path / ".git"
    if as_file:
        git.write_text("gitdir: elsewhere")
    else:
        git.mkdir()
    store = SecretStore(tmp_path / "deep" / "secrets", specs=SPECS)
    with pytest.raises(SecretsError, match="Git work tree") as caught:
        store.ensure(SPECS)
    assert "XDG_STATE_HOME" in caught.value.fix
    assert [path.name for path in tmp_path.iterdir()] == [".git"]


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o770])
def test_an_open_folder_is_refused(full: SecretStore, mode: int) -> None:
    full.path.chmod(mode)
    for attempt in (lambda: full.ensure(SPECS), lambda: full.read("kubeconfig"), full.names):
        with pytest.raises(SecretsError, match="other users may look") as caught:
            attempt()
        assert caught.value.fix == f"chmod 0700 {full.path}"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o610])
def test_an_open_file_is_refused(full: SecretStore, mode: int) -> None:
    path = full.path / "site-ca.key"
    path.chmod(mode)
    for attempt in (
        lambda: full.ensure(SPECS),
        lambda: full.read("site-ca.key"),
        lambda: full.sha256("site-ca.key"),
    ):
        with pytest.raises(SecretsError, match="other users may read") as caught:
            attempt()
        assert caught.value.fix == f"chmod 0600 {path}"


def test_a_link_in_the_place_of_a_secret_is_refused(full: SecretStore, tmp_path: Path) -> None:
    path = full.path / "site-ca.key"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretsError) as caught:
        full.read("site-ca.key")
    assert caught.value.found == "a symbolic link"


def test_a_folder_or_pipe_in_the_place_of_a_secret_is_refused(full: SecretStore) -> None:
    path = full.path / "kubeconfig"
    path.unlink()
    path.mkdir()
    with pytest.raises(SecretsError, match="must be a plain file"):
        full.read("kubeconfig")
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(SecretsError, match="must be a plain file") as caught:
        full.read("kubeconfig")
    assert caught.value.found == "a pipe"


def test_a_missing_secret_says_how_to_get_it(full: SecretStore) -> None:
    with pytest.raises(SecretsError, match="the secret nonesuch is missing") as caught:
        full.read("nonesuch")
    assert "provision secrets import" in caught.value.fix


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", ".store.json", "A", "", "a/../b"])
def test_names_stay_inside_the_store(store: SecretStore, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a secret"):
        store.read(name)
    with pytest.raises(SecretsError):
        store.put(name, b"x")


def test_the_operators_own_secrets(full: SecretStore) -> None:
    full.put("sudo", b"hunter2\n")
    assert full.read("sudo") == b"hunter2\n"
    assert full.sha256("sudo") is not None
    assert next(info for info in full.describe() if info.name == "sudo").kind == "Kept"
    with pytest.raises(SecretsError):
        full.put("site-ca.key", b"x")


def test_what_nobody_asks_for_any_more_is_told(full: SecretStore) -> None:
    later = SecretStore(full.path, specs=SPECS[1:3] + SPECS[4:], site="lab", now=full._now)
    kinds = {info.name: info.kind for info in later.describe()}
    assert kinds["depot/n1.key"] == "Unused"
    assert kinds["kubeconfig"] == "Unused"
    assert kinds["site-ca"] == "Authority"


def test_describing_tells_no_value(full: SecretStore, clock: Clock) -> None:
    clock.pass_days(10)
    told = json.dumps([info.as_dict() for info in full.describe()])
    for content in full.values().values():
        for line in content.decode().splitlines():
            assert line not in told
    by_name = {info.name: info for info in full.describe()}
    assert by_name["depot/n1"].days_left == 355
    assert by_name["site-ca"].days_left == 3640
    assert by_name["kubernetes/sa"].expires is None


def test_values_are_all_that_is_secret(full: SecretStore) -> None:
    assert set(full.values()) == {
        "site-ca.key",
        "depot/n1.key",
        "kubernetes/ca.key",
        "kubernetes/admin.key",
        "kubernetes/sa.key",
        "kubernetes/encryption-key",
        "kubernetes/encryption.yaml",
        "kubeconfig",
    }


def test_errors_tell_no_value(full: SecretStore) -> None:
    key = full.path / "kubernetes/encryption-key"
    value = key.read_text()
    key.chmod(0o644)
    with pytest.raises(SecretsError) as caught:
        full.ensure(SPECS)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "specs",
    [
        [Certificate("leaf", "nobody", "leaf")],
        [Text("text", "{secret:nobody}")],
        [Authority("same", "x"), Random("same")],
        [Random("../escape")],
    ],
)
def test_a_component_that_asks_for_nonsense_is_our_own_defect(
    tmp_path: Path, specs: list[Random]
) -> None:
    with pytest.raises(ValueError, match=r"nobody declares|malformed"):
        SecretStore(tmp_path / "secrets").ensure(specs)


def test_two_at_once_make_everything_once(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    made: list[str] = []

    def work() -> None:
        made.extend(SecretStore(path, specs=SPECS, site="lab").ensure(SPECS))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(spec.name for spec in SPECS)


def test_two_processes_at_once_make_everything_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from provision.secrets import SecretStore;"
        "from tests.support.secrets import SPECS;"
        "print(len(SecretStore(Path(sys.argv[1]), specs=SPECS, site='lab').ensure(SPECS)))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "secrets")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    counts = sorted(int(process.communicate()[0]) for process in started)
    assert counts == [0, 0, len(SPECS)]


def test_a_kill_is_healed_by_the_next_run(tmp_path: Path) -> None:
    """At some lines here, at every line in ``make soak``."""
    assert kill_and_heal(tmp_path / "crash", stride=149) > 10


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A real limit on the size of files stands for the disk: the write fails half way."""
    program = (
        "import resource, signal, sys; from pathlib import Path;"
        "from provision.privatefiles import write_private;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_private(Path(sys.argv[1]), b'x' * 5000)"
    )
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert "the secret cannot be written; nothing was changed" in done.stderr
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["secret"]


def test_keys_are_what_kubeadm_takes(full: SecretStore) -> None:
    assert full.read("kubernetes/ca.key").startswith(b"-----BEGIN EC PRIVATE KEY-----")
    assert full.read("kubernetes/sa.key").startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert pki.public_key(full.read("kubernetes/sa.key")) == full.read("kubernetes/sa.pub")
