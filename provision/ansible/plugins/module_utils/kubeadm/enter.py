"""Initialise a cluster, or join it; or complete what a killed run began.

What is begun is completed, never thrown away: kubeadm's steps are run again
over what is there. Only files that kubeadm can make again from the cluster's
authorities are dropped first, since a killed kubeadm leaves torn ones. Data of
etcd is dropped only when etcd's other members say that it is nobody's.
"""

from __future__ import annotations

import contextlib
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from . import kubelet, stamp
from .commands import Commands
from .etcd import Etcd, Member, peer_url
from .failure import WorkError
from .files import write_private
from .order import Order
from .paths import ETCD_DATA, INIT, JOIN, MANIFESTS, OBJECTS, PKI, STAMP, made_files
from .waiting import until

DISCOVERY = Path("/run/provision/kubernetes/join.conf")
WAITING_PHASES = "kubelet-start,kubelet-wait-bootstrap"
PORTS = (6443, 10259, 10257, 10250, 2379, 2380)
OCCUPIED = ",".join(
    (
        *(f"Port-{port}" for port in PORTS),
        "DirAvailable--etc-kubernetes-manifests",
        "DirAvailable--var-lib-etcd",
        *(
            f"FileAvailable--etc-kubernetes-manifests-{name}.yaml"
            for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        ),
        "FileAvailable--etc-kubernetes-kubelet.conf",
        "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
    )
)
"""kubeadm's checks that fail where it was interrupted before."""
PLACED = "FileAvailable--etc-kubernetes-pki-ca.crt"
"""kubeadm's check that a worker lacks the CA certificate, which is placed beforehand."""


def initialise(order: Order, commands: Commands) -> bool:
    """Make the cluster here; returns whether there was anything to do."""
    if stamp.is_complete(order):
        return False
    resumed = _is_resumed(order)
    if not resumed:
        _refuse_second_cluster(order)
    stamp.note_begun()
    _drop_remakable(order)
    ignored = [f"--ignore-preflight-errors={OCCUPIED}"] if resumed else []
    commands.run("kubeadm", "init", f"--config={INIT}", *ignored)
    apply_objects(commands)
    _finish(order, commands)
    return True


def join(order: Order, commands: Commands) -> bool:
    """Become a member of the cluster that stands; returns whether there was anything to do."""
    if stamp.is_complete(order):
        return False
    try:
        _join(order, commands)
    except WorkError:
        # kubeadm asks etcd only once whether the new member is there, and gives up while the
        # others are busy with it. Once the member runs, the rest of the join is not in doubt.
        if not _is_announced(order):
            raise
        until("the new member of etcd to run", lambda: _is_started(order), seconds=240)
        _join(order, commands)
    _finish(order, commands)
    return True


def _join(order: Order, commands: Commands) -> None:
    resumed = _is_resumed(order)
    if order.control_plane:
        _settle_etcd(order, commands)
    stamp.note_begun()
    bootstrapped = resumed and kubelet.is_bootstrapped(commands)
    _drop_remakable(order, keep_kubelet=bootstrapped)
    checks = [PLACED, *([OCCUPIED] if resumed else [])]
    arguments = [f"--ignore-preflight-errors={','.join(checks)}"]
    if bootstrapped:
        arguments.append(f"--skip-phases={WAITING_PHASES}")
        commands.run("systemctl", "start", "kubelet.service")
    with _discovery(order):
        commands.run("kubeadm", "join", f"--config={JOIN}", *arguments)


def rejoin(order: Order, commands: Commands) -> bool:
    """Begin this member anew, whose data of etcd is gone; the others have theirs."""
    stamp.note_begun()
    Path(STAMP).unlink(missing_ok=True)
    _stop_control_plane(order)
    return join(order, commands)


def apply_objects(commands: Commands) -> None:
    """Put the objects into the API that joining and renewing certificates need."""
    commands.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=provision",
        f"--filename={OBJECTS}",
    )


def _is_resumed(order: Order) -> bool:
    made = (*made_files(order.control_plane), ETCD_DATA)
    return stamp.is_begun() and any(Path(path).exists() for path in made)


def _refuse_second_cluster(order: Order) -> None:
    """Refuse when an API of this site's authority answers already."""
    context = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
    try:
        with urllib.request.urlopen(f"https://{order.endpoint}/readyz", timeout=3, context=context):
            answers = True
    except urllib.error.HTTPError:
        answers = True
    except OSError:
        answers = False
    if answers:
        raise WorkError(
            f"a cluster of this site answers at {order.endpoint} already, so no other is made;"
            " run again: provision up"
        )


def _drop_remakable(order: Order, *, keep_kubelet: bool = False) -> None:
    for name in made_files(order.control_plane):
        path = Path(name)
        if not (keep_kubelet and path == kubelet.KUBECONFIG) and path.parent != Path(MANIFESTS):
            path.unlink(missing_ok=True)
    kubelet.BOOTSTRAP.unlink(missing_ok=True)


def _settle_etcd(order: Order, commands: Commands) -> None:
    """Make etcd's list of members and the data here agree, before kubeadm adds a member."""
    for kind in ("crt", "key"):
        # A killed kubeadm may have torn it; it is made anew from the authority.
        Path(PKI, "etcd", f"healthcheck-client.{kind}").unlink(missing_ok=True)
    commands.run("kubeadm", "init", "phase", "certs", "etcd-healthcheck-client", f"--config={INIT}")
    etcd = Etcd(order.peers)
    url = peer_url(order.address)
    mine = [member for member in etcd.members() if member.peer_url == url]
    has_data = Path(ETCD_DATA).exists()
    if has_data and not mine:
        if not stamp.is_begun():
            raise WorkError(
                f"{ETCD_DATA} holds data, and etcd's members know of no member at {url};"
                " it may be another cluster's. Move it away if nobody needs it, then:"
                " provision up"
            )
        _stop_control_plane(order)
        shutil.rmtree(ETCD_DATA)
    if not has_data:
        for member in mine:
            etcd.remove(member)


def _is_announced(order: Order) -> bool:
    if not order.control_plane or not Path(MANIFESTS, "etcd.yaml").exists():
        return False
    try:
        return any(member.peer_url == peer_url(order.address) for member in _members(order))
    except WorkError:
        return False


def _is_started(order: Order) -> bool:
    try:
        members = _members(order)
    except WorkError:
        return False
    return any(member.peer_url == peer_url(order.address) and member.name for member in members)


def _members(order: Order) -> list[Member]:
    return Etcd(order.peers).members()


def _stop_control_plane(order: Order) -> None:
    """Take the static pods away and wait until their ports are free."""
    for path in Path(MANIFESTS).glob("*.yaml"):
        path.unlink()
    until(
        "etcd and the API server to stop",
        lambda: not any(kubelet.listens(order.address, port) for port in (2379, 6443)),
        seconds=120,
    )


@contextlib.contextmanager
def _discovery(order: Order) -> Iterator[None]:
    write_private(DISCOVERY, order.credential)
    try:
        yield
    finally:
        DISCOVERY.unlink(missing_ok=True)
        kubelet.BOOTSTRAP.unlink(missing_ok=True)


def _finish(order: Order, commands: Commands) -> None:
    kubelet.drop_unused()
    # A credential that no rule can bind, for emergencies; the site's own secrets can make another.
    Path("/etc/kubernetes/super-admin.conf").unlink(missing_ok=True)
    if order.control_plane:
        mark(order, commands)
    stamp.write_stamp(order, commands)


def mark(order: Order, commands: Commands) -> None:
    """Let load balancers use a control-plane machine that is a worker too."""
    if order.worker:
        commands.kubectl(
            "label",
            "node",
            order.node,
            "node.kubernetes.io/exclude-from-external-load-balancers-",
        )
