"""A small Kubernetes API: it keeps objects, serves discovery, and applies, also as a dry run."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KINDS = {
    ("", "v1"): {
        "Namespace": ("namespaces", False),
        "Node": ("nodes", False),
        "ConfigMap": ("configmaps", True),
        "Secret": ("secrets", True),
    },
    ("apps", "v1"): {"DaemonSet": ("daemonsets", True)},
}


@dataclass
class FakeCluster:
    """Objects by path, such as ``/api/v1/nodes/n1``."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Paths of objects that the server does not let anyone apply."""
    busy: set[str] = field(default_factory=set)
    """Paths of objects at which the server gives up."""
    later: Counter[str] = field(default_factory=Counter)
    """How many times the server still asks to come again for a path."""
    url: str = ""

    def add_node(self, name: str, version: str = "v1.36.3", ready: bool = True) -> None:
        self.objects[f"/api/v1/nodes/{name}"] = {
            "metadata": {
                "name": name,
                "labels": {"node-role.kubernetes.io/control-plane": ""},
            },
            "spec": {"taints": [{"key": "alone", "effect": "NoSchedule"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "nodeInfo": {"kubeletVersion": version},
            },
        }

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        path = parts.path
        if self.later[path] > 0:
            self.later[path] -= 1
            return 429, {"message": "storage is (re)initializing"}
        if path == "/version":
            return 200, {"gitVersion": "v1.36.3"}
        if path in ("/api", "/apis"):
            return 200, {"items": list(_groups(core=path == "/api"))}
        if method == "PATCH":
            return self._apply(path, json.loads(body), parse_qs(parts.query))
        if method == "DELETE":
            gone = [name for name in self.objects if f"{name}/".startswith(f"{path}/")]
            for name in gone:
                del self.objects[name]
            return (200, {}) if gone else (404, {"message": f"{path} not found"})
        if path in self.objects:
            return 200, self.objects[path]
        below = [item for name, item in self.objects.items() if name.rpartition("/")[0] == path]
        if below:
            return 200, {"items": below}
        return 404, {"message": f"{path} not found"}

    def _apply(
        self, path: str, wanted: dict[str, Any], query: Mapping[str, list[str]]
    ) -> tuple[int, Any]:
        if path in self.busy:
            return 503, {"message": "etcdserver: request timed out"}
        if path in self.refused:
            return 422, {"message": "spec.x: Required value"}
        merged = _merged(self.objects.get(path, {}), wanted)
        if "dryRun" not in query:
            self.objects[path] = merged
        return 200, merged


def _merged(live: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(live)
    for key, value in wanted.items():
        both = isinstance(value, Mapping) and isinstance(live.get(key), dict)
        merged[key] = _merged(live[key], value) if both else value
    return merged


def _groups(*, core: bool) -> Iterator[dict[str, Any]]:
    for (group, version), kinds in KINDS.items():
        if (group == "") == core:
            resources = [
                {
                    "resource": plural,
                    "responseKind": {"kind": kind},
                    "scope": "Namespaced" if namespaced else "Cluster",
                }
                for kind, (plural, namespaced) in kinds.items()
            ]
            yield {
                "metadata": {"name": group},
                "versions": [{"version": version, "resources": resources}],
            }


@contextmanager
def serving(cluster: FakeCluster) -> Iterator[FakeCluster]:
    """Serve ``cluster`` on the loopback address for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, answer = cluster.answer(self.command, self.path, self.rfile.read(length))
            if "as=PartialObjectMetadataList" in self.headers["Accept"]:
                told = [{"metadata": one["metadata"]} for one in answer.get("items", ())]
                # As a real one does where a kind has no objects.
                status, answer = 200, {"items": told or None}
            text = json.dumps(answer).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_DELETE = _handle  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as inherited
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        cluster.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield cluster
        finally:
            server.shutdown()
            thread.join()


def write_kubeconfig(folder: Path, server: str) -> None:
    """A secret store's kubeconfig for ``server``."""
    clusters = [{"name": "unit", "cluster": {"server": server}}]
    (folder / "kubeconfig").write_text(json.dumps({"clusters": clusters}), "utf-8")
