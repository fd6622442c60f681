"""A ground for proofs without a cluster: pods run at once, a Service answers by one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provision.phase import Context, Manifest
from provision.proof import Login, NotProvenError, Object
from provision.vault.api import VaultApi

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


@dataclass
class FakeGround:
    """What stands on it, and what the world around it says."""

    site_context: Context
    others: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    """What the cluster has besides, by kind."""
    zone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Addresses that every name server has, by name with its point."""
    commands: Callable[[str], str] = lambda script: script
    """What a script prints in a pod; raises where it fails."""
    stuck: bool = False
    """Whether an address stays with the machine that had it first."""
    namespace: str = "proving"
    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    holder: str = ""

    def apply(self, *objects: Manifest) -> None:
        for item in objects:
            self.objects[item["kind"], item["metadata"]["name"]] = item

    def delete(self, manifest: Manifest) -> None:
        del self.objects[manifest["kind"], manifest["metadata"]["name"]]

    def get(self, manifest: Manifest) -> Object:
        found = self.objects.get((manifest["kind"], manifest["metadata"]["name"]))
        if found is None:
            return {}
        if found["kind"] == "Pod":
            return {**found, "status": READY}
        ingress = [{"ip": found["spec"].get("loadBalancerIP")}]
        return {**found, "status": {"loadBalancer": {"ingress": ingress}}}

    def all(self, api_version: str, kind: str) -> Sequence[Object]:
        del api_version
        return self.others.get(kind, ())

    def fetch(self, url: str, trust: str = "") -> str:
        """The machine of a pod behind the one Service with the address in ``url``."""
        del trust
        [wanted] = [
            item["spec"]["selector"]["probe"]
            for item in self.objects.values()
            if item["kind"] == "Service" and f"http://{item['spec']['loadBalancerIP']}/" == url
        ]
        serving = [
            item["spec"]["nodeSelector"]["kubernetes.io/hostname"]
            for item in self.objects.values()
            if item["kind"] == "Pod" and item["metadata"]["labels"]["probe"] == wanted
        ]
        if not (self.stuck and self.holder) and self.holder not in serving:
            self.holder = serving[0]
        if self.holder not in serving:
            raise NotProvenError(f"{url} does not answer")
        return f"{self.holder}\n"

    def addresses(self, server: str, name: str) -> Sequence[str]:
        del server
        return self.zone.get(name, ())

    def until(self, what: str, look: Callable[[], str], seconds: float) -> None:
        """Look once: nothing changes by itself here."""
        try:
            seen = look()
        except NotProvenError as error:
            seen = error.found or error.what
        if seen:
            raise NotProvenError(f"waited {seconds:.0f} s in vain for {what}", found=seen)

    def run(self, pod: str, script: str) -> str:
        assert ("Pod", pod) in self.objects
        return self.commands(script)

    def ask(self, pod: str, port: int, login: Login, statement: str) -> Sequence[Sequence[Any]]:
        raise NotImplementedError

    def vault(self, urls: Iterable[str]) -> VaultApi:
        raise NotImplementedError

    def authority(self) -> str:
        raise NotImplementedError


def pool(name: str, *addresses: str) -> dict[str, Any]:
    """A pool of a load balancer as the cluster tells it."""
    return {"metadata": {"name": name}, "spec": {"addresses": list(addresses)}}
