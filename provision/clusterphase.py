"""A phase whose component is objects in the cluster, applied from one control-plane machine."""

from __future__ import annotations

import platform
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from provision import manifests
from provision.charts import ChartRenderer
from provision.errors import BundleError
from provision.facts import Facts, ObjectState
from provision.paths import cache_path
from provision.phase import (
    AnsiblePhase,
    Context,
    Decision,
    GateSpec,
    Manifest,
    Run,
    Skip,
    Unknown,
)
from provision.published import published
from provision.site import Architecture

WORKLOADS = ("DaemonSet", "Deployment", "StatefulSet")
ROLLOUT_SECONDS = 600
API_SECONDS = 120
MISSING = ObjectState(exists=False)


class ClusterPhase(AnsiblePhase):
    """Objects that are applied where they are missing or differ.

    The role gets them as ``<name>_objects`` and applies them by the module
    ``cluster_objects``. What the component needs on machines themselves is its
    role's ``state.yml``, as of any :class:`~provision.phase.AnsiblePhase`.
    """

    namespace: ClassVar[str]
    """Where the component's objects are that name no namespace themselves."""

    @abstractmethod
    def objects(self, context: Context) -> Sequence[Manifest]:
        """All of the component's objects."""

    def chart(self, context: Context, chart: str, values: Mapping[str, Any]) -> list[Manifest]:
        """The objects of one of the bundle's charts, released under the component's name.

        Raises
        ------
        ConfigError
            The chart refuses the values.
        BundleError
            The bundle lacks an image that the rendering names.
        """
        renderer = ChartRenderer(context.bundle, controller_architecture(), cache_path())
        rendered = renderer.render(
            chart,
            release=self.name.replace("_", "-"),
            namespace=self.namespace,
            values=values,
            kubernetes=context.bundle.versions["kubernetes"],
        )
        return list(rendered)

    def published(self, context: Context, name: str) -> Sequence[Manifest]:
        """The objects in one of the bundle's files of manifests; not to be changed."""
        return published(context.bundle, name, controller_architecture(), cache_path())

    def version(self, context: Context, component: str) -> str:
        """Version of one of the bundle's components.

        Raises
        ------
        BundleError
            The bundle has it not.
        """
        try:
            return context.bundle.versions[component]
        except KeyError as error:
            raise BundleError(
                f"the bundle has no {component}, which {self.name} is made of",
                why="where the bundle comes from, not everything that is optional can be had",
                fix=f"provision bundle build --source source; or take {self.name} out of the"
                " site file",
            ) from error

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run on machines that differ, and on one control-plane machine for the objects."""
        leader = next(
            (name for name in context.site.control_plane if name in facts.reachable), None
        )
        if leader is None or not facts.cluster.reachable:
            api = GateSpec("API answers at its endpoint", API_SECONDS)
            return Unknown("kubernetes", facts.cluster.error, api if leader else None)
        reasons = self.state_reasons(context, facts)
        found = {
            manifests.key(item): (item, why)
            for item in self.objects(context)
            if (why := _difference(item, facts))
        }
        leftovers = self.leftovers(context, facts)
        if found or leftovers:
            told = [why for _, why in found.values()]
            told += [f"object {manifests.key(item)} is wanted no more" for item in leftovers]
            reasons.setdefault(leader, []).extend(told)
        if not reasons:
            return Skip("every object is as wanted")
        work = {f"{self.name}_objects": [item for item, _ in found.values()]}
        if self.whole_kinds(context):
            work[f"{self.name}_leftovers"] = leftovers
        return Run(
            {name: reasons[name] for name in facts.reachable if name in reasons},
            variables={
                name: {key: part if name == leader else [] for key, part in work.items()}
                for name in reasons
            },
            lead=leader if found or leftovers else "",
        )

    def leftovers(self, context: Context, facts: Facts) -> list[Manifest]:
        """Names of objects that we applied once, of the kinds that we keep whole."""
        wanted = {manifests.key(item) for item in self.objects(context)}
        stubs = [
            kind.stub(name)
            for kind in self.whole_kinds(context)
            for name in facts.cluster.applied.get(kind, ())
        ]
        return [stub for stub in stubs if manifests.key(stub) not in wanted]

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """All objects for the first control-plane machine, none for the others."""
        first = context.site.control_plane[0]
        return {f"{self.name}_objects": list(self.objects(context)) if host == first else []}

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """Every workload is rolled out."""
        workloads = [
            {
                "kind": item["kind"],
                "namespace": item["metadata"].get("namespace", self.namespace),
                "name": item["metadata"]["name"],
            }
            for item in self.objects(context)
            if item["kind"] in WORKLOADS
        ]
        return (GateSpec("workloads rolled out", ROLLOUT_SECONDS, {"workloads": workloads}),)


def _difference(manifest: Manifest, facts: Facts) -> str:
    """What is wrong with one object, or nothing."""
    name = manifests.key(manifest)
    state = facts.cluster.objects.get(name, MISSING)
    if not state.exists:
        return f"object {name} is missing"
    return f"object {name} differs in {', '.join(state.differences)}" if state.differences else ""


def controller_architecture() -> str:
    """The controller's own architecture, in Debian's words."""
    names = {"x86_64": Architecture.AMD64, "aarch64": Architecture.ARM64}
    return names.get(platform.machine(), Architecture.AMD64).value
