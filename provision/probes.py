"""Pods and Services that proofs try things out with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.conditions import pods_not_ready
from provision.proof import NotProvenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.phase import Context
    from provision.proof import Ground

IMAGE = "docker.io/library/busybox:"
PORT = 8080
START_SECONDS = 120
PAGES = "/tmp/www"  # noqa: S108 - a folder in a throw-away pod
SERVE = f'mkdir {PAGES}; echo "$NODE" > {PAGES}/index.html; exec httpd -f -p {PORT} -h {PAGES}'
"""A web server whose only page is its machine's name."""

ASK = (
    "set -o pipefail; printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w {seconds} {address} {port}"
    " | tail -n 1"
)
LOOK_UP = "nslookup {name} | sed -n 's/^Address: //p' | head -n 1"
"""A static busybox knows names by its nslookup alone."""


def image(context: Context, beginning: str = IMAGE) -> str:
    """One of the bundle's images; the small one with a shell unless another is asked for."""
    return next(name for name in context.bundle.images if name.startswith(beginning))


def pod(
    ground: Ground,
    name: str,
    command: str = SERVE,
    *,
    node: str | None = None,
    group: str | None = None,
    volumes: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    image_of: str = IMAGE,
) -> dict[str, Any]:
    """A pod that runs a shell command.

    Parameters
    ----------
    node
        The machine that it must run on.
    group
        What a Service knows it by, which other pods may share; its name unless said.
    volumes
        Names of claims by the path at which each is mounted.
    secrets
        Names of Secrets by the path at which each is mounted.
    image_of
        How the name of its image begins.
    """
    mounts = [
        (path, {"persistentVolumeClaim": {"claimName": name}})
        for path, name in (volumes or {}).items()
    ]
    mounts += [(path, {"secret": {"secretName": name}}) for path, name in (secrets or {}).items()]
    numbered = {f"mount-{number}": mount for number, mount in enumerate(mounts)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"probe": group or name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
            "containers": [
                {
                    "name": "probe",
                    "image": image(ground.site_context, image_of),
                    "command": ["sh", "-c", command],
                    "env": [
                        {
                            "name": "NODE",
                            "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                        }
                    ],
                    "volumeMounts": [
                        {"name": mount, "mountPath": path} for mount, (path, _) in numbered.items()
                    ],
                }
            ],
            "volumes": [{"name": mount, **source} for mount, (_, source) in numbered.items()],
        },
    }


def service(name: str, target: str, **spec: Any) -> dict[str, Any]:
    """A Service whose endpoint is the pod ``target``, or the pods of that group."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"probe": target},
            "ports": [{"port": 80, "targetPort": PORT}],
            **spec,
        },
    }


def start(ground: Ground, *pods: Mapping[str, Any]) -> None:
    """Make pods and wait until they are ready.

    Raises
    ------
    NotProvenError
        They are not in time.
    """
    ground.apply(*pods)

    def look() -> str:
        return "; ".join(pods_not_ready(ground.get(item) or item for item in pods))

    names = ", ".join(item["metadata"]["name"] for item in pods)
    ground.until(f"the pods {names} to start", look, START_SECONDS)


def ask(ground: Ground, client: str, name: str, *, seconds: int = 5) -> str:
    """What a Service says to a pod that looks it up by name.

    Raises
    ------
    NotProvenError
        There is no such name, or nobody answers.
    """
    request = ASK.format(seconds=seconds, address="$address", port=80)
    return ground.run(client, f"address=$({LOOK_UP.format(name=name)}); {request}").strip()


def machines(context: Context) -> Sequence[str]:
    """Names of the machines that pods may run on."""
    return tuple(context.site.hosts)


CLAIM = "kept"
FOLDER = "/data"
WAIT = "sleep 3600"


def claim(storage_class: str, mode: str) -> dict[str, Any]:
    """A small volume of a class, asked for under the name ``CLAIM``."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": [mode],
            "resources": {"requests": {"storage": "16Mi"}},
        },
    }


def write(ground: Ground, name: str) -> str:
    """Write something that nobody else has into the volume of a pod; what was written."""
    return ground.run(name, f"echo by-$(hostname)-$$ > {FOLDER}/file && sync && cat {FOLDER}/file")


def read_same(ground: Ground, name: str, written: str) -> None:
    """Read it in another pod.

    Raises
    ------
    NotProvenError
        It is not what was written.
    """
    found = ground.run(name, f"cat {FOLDER}/file")
    if found != written:
        raise NotProvenError("a volume lost its data", found=repr(found), wanted=repr(written))


def let_go(ground: Ground, storage_claim: Mapping[str, Any]) -> None:
    """Have the volume behind a claim deleted with it, whatever its class says."""
    volume = ground.get(storage_claim)["spec"]["volumeName"]
    ground.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {"persistentVolumeReclaimPolicy": "Delete"},
        }
    )
