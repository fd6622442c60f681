"""Objects of the site's repository, compared with the schemas of their kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.checkout.builtin import built_in
from provision.checkout.judge import Checkout
from provision.checkout.schemas import MOST, Fault, Schemas
from provision.checks import Finding, Severity
from provision.phase import Context
from provision.phases.platform import PlatformSettings
from provision.plan import phases_of
from provision.verbs.check import definitions_of
from tests.support.cases import EveryBundle, EverySecret, make_site

TEXT = "text (in quotes where it looks like anything else)"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, creationTimestamp: null}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector:
      containers:
        - name: web
          image: registry.test/web:1
          ports: [{containerPort: 8080}]
          resources: {limits: {cpu: 0.5, memory: 1Gi}}
          livenessProbe: {httpGet: {port: http}}
      volumes: [{name: a, secret: {secretName: a, defaultMode: 0440}}]
status: {anything: goes}
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusters.db.test}
spec:
  group: db.test
  names: {kind: Cluster, plural: clusters}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          required: [spec, status]
          properties:
            spec:
              type: object
              required: [size, owner]
              properties:
                size: {type: integer, minimum: 1, exclusiveMinimum: true}
                owner: {type: string, nullable: true}
                port: {x-kubernetes-int-or-string: true}
                name: {type: string, pattern: "^[a-z]+$"}
                odd: {type: string, pattern: "\\\\p{Greek}"}
                labels: {type: object, additionalProperties: {type: string}}
                extra: {type: object, x-kubernetes-preserve-unknown-fields: true}
                none: {type: object}
                pod:
                  type: object
                  x-kubernetes-embedded-resource: true
                  properties: {spec: {type: object}}
                backup:
                  type: object
                  properties: {to: {type: string}, by: {type: string}}
                  oneOf: [{required: [to]}, {required: [by]}]
            status: {type: object}
    - {name: v2, served: false, storage: false, schema: {openAPIV3Schema: {type: object}}}
"""
CLUSTER = """
apiVersion: db.test/v1
kind: Cluster
metadata: {name: db}
spec:
  size: 3
  owner: null
  port: http
  name: db
  odd: latin
  labels: {any: text}
  extra: {any: {thing: 1}}
  pod: {apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {}}
  backup: {to: there}
"""


def changed(text: str, *path: object, value: object) -> Mapping[str, Any]:
    """The object of ``text`` with something else at ``path``."""
    made = yaml.safe_load(text)
    part = made
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return made  # type: ignore[no-any-return]


def own() -> Schemas:
    return Schemas(built_in("1.36.3"))


def custom() -> Schemas:
    return Schemas(built_in("1.36.3"), [yaml.safe_load(DEFINITION)])


def only(faults: list[Fault] | None) -> Fault:
    assert faults is not None
    (fault,) = faults
    return fault


def test_what_the_api_server_takes_is_taken() -> None:
    assert own().faults(yaml.safe_load(DEPLOYMENT)) == []
    assert own().faults(yaml.safe_load(DEFINITION)) == []
    assert custom().faults(yaml.safe_load(CLUSTER)) == []


POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)


@pytest.mark.parametrize(
    ("path", "value", "found", "wanted"),
    [
        (
            (*CONTAINER, "imagePullPolice"),
            "Always",
            "spec.template.spec.containers[0].imagePullPolice, which is no field there",
            "imagePullPolicy",
        ),
        (("spec", "replicas"), "2", 'spec.replicas is "2", text', "an integer"),
        (("spec", "replicas"), True, "spec.replicas is true, a truth value", "an integer"),
        (("spec", "replicas"), 3e9, "spec.replicas is 3000000000", 'format "int32"'),
        (("spec", "selector"), None, "no spec.selector", "a value for it"),
        (
            ("metadata", "labels"),
            {"example.org/a": 1},
            'metadata.labels["example.org/a"] is 1, an integer',
            TEXT,
        ),
        (
            (*CONTAINER, "resources", "limits", "memory"),
            "1 Gi",
            'spec.template.spec.containers[0].resources.limits.memory is "1 Gi"',
            'pattern "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"',
        ),
        (("spec", "strategy", "rollingUpdate", "maxSurge"), 0.5, "maxSurge is 0.5", "an integer"),
        ((*POD, "containers"), {}, "containers is {}, an object", "a list"),
        (("spec", "paused"), "x" * 500, f'spec.paused is "{"x" * 199}…, text', "true or false"),
    ],
)
def test_what_the_api_server_refuses_is_named(
    path: Sequence[object], value: object, found: str, wanted: str
) -> None:
    fault = only(own().faults(changed(DEPLOYMENT, *path, value=value)))
    assert found in fault.found
    assert wanted in fault.wanted


def test_what_a_secret_holds_is_not_shown() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    faults = own().faults({**secret, "data": {"a": 123456, "b": "no base", "c": "YQ==\n"}})
    assert faults == [
        Fault("data.a is an integer", TEXT),
        Fault("data.b is text", 'format "byte"'),
    ]


@pytest.mark.parametrize(
    ("path", "value", "found", "wanted"),
    [
        (("spec", "sice"), 1, "spec.sice, which is no field there", "size"),
        (("spec", "size"), 1, "spec.size is 1", "minimum 1"),
        (("spec", "name"), "A", 'spec.name is "A"', 'pattern "^[a-z]+$"'),
        (("spec", "port"), [], "spec.port is [], a list", "an integer or text"),
        (("spec", "none"), {"a": 1}, "spec.none.a, which is no field there", ""),
        (("spec", "pod", "metadata", "nam"), "a", "spec.pod.metadata.nam, which", "name"),
        (("spec", "labels", "a"), 1, "spec.labels.a is 1", "text"),
        (("spec", "backup"), {}, "spec.backup is {}", "oneOf"),
        (("spec", "backup"), {"of": 1, "to": "a"}, "spec.backup.of, which is no", "by, to"),
        (("metadata", "label"), {}, "metadata.label, which is no field there", "labels"),
        (("apiVersion",), "db.test/v2", "Cluster of db.test/v2", "apiVersion db.test/v1"),
    ],
)
def test_a_definition_says_what_its_kind_is_like(
    path: Sequence[object], value: object, found: str, wanted: str
) -> None:
    fault = only(custom().faults(changed(CLUSTER, *path, value=value)))
    assert found in fault.found
    assert wanted in fault.wanted


@pytest.mark.parametrize(
    ("api_version", "kind", "wanted"),
    [
        ("apps/v1beta1", "Deployment", "apiVersion apps/v1"),
        ("apps/v1", "Deploymet", "Deployment"),
        ("v1", "Servce", "Service"),
        ("apps/v0", "Other", "an apiVersion of Kubernetes"),
    ],
)
def test_kinds_that_kubernetes_does_not_have(api_version: str, kind: str, wanted: str) -> None:
    item = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
    fault = only(own().faults(item))
    assert fault.found == f"{kind} of {api_version}, which the cluster does not have"
    assert fault.wanted.startswith(wanted)


def test_a_kind_of_an_unknown_group_may_be_anything() -> None:
    assert own().faults(yaml.safe_load(CLUSTER)) is None


def test_what_cannot_be_handed_on_is_a_fault() -> None:
    item = yaml.safe_load(DEPLOYMENT)
    item["spec"]["itself"] = item
    fault = only(own().faults(item))
    assert fault.found.startswith("it holds itself")


def test_a_definition_of_the_repository_is_believed_where_it_is_one() -> None:
    schemas = own()
    schemas.define([changed(DEFINITION, "spec", "scop", value="x")])
    assert schemas.faults(yaml.safe_load(CLUSTER)) is None
    schemas.define([yaml.safe_load(DEFINITION)])
    assert schemas.faults(yaml.safe_load(CLUSTER)) == []
    assert schemas.faults(changed(CLUSTER, "spec", "size", value="x"))
    # Whoever wrote it may have written a pattern of which Python never comes to an end.
    assert schemas.faults(changed(CLUSTER, "spec", "name", value="A")) == []


@pytest.mark.parametrize(
    ("version", "chosen"), [("1.36.9", "1.36"), ("1.99.0", "1.37"), ("1.2.0", "1.25")]
)
def test_the_nearest_version_stands_in(version: str, chosen: str) -> None:
    assert built_in(version).version == chosen


URL = "https://git.site.test/site.git"


def judged(root: Path, files: Mapping[str, str]) -> list[Finding]:
    """Findings about a repository whose applications are these manifests."""
    (root / "platform").mkdir()
    for name, text in files.items():
        (root / "platform" / name).write_text(text)
    settings = PlatformSettings(repository=URL)
    return Checkout(root, settings, None, None, schemas=own()).judge()


def test_a_finding_names_who_makes_it_the_object_the_file_and_the_field(tmp_path: Path) -> None:
    text = DEPLOYMENT.replace("replicas", "replcas").replace(
        "{name: web,", "{name: w, namespace: s,"
    )
    (finding,) = judged(tmp_path, {"web.yaml": text})
    assert finding.severity is Severity.ERROR
    assert finding.what == "platform platform: Deployment s/w is not as Kubernetes 1.36 takes it"
    assert finding.found == "spec.replcas, which is no field there (platform/web.yaml)"
    assert finding.wanted == "replicas"


def test_kinds_that_nobody_describes_are_one_warning(tmp_path: Path) -> None:
    (finding,) = judged(tmp_path, {"a.yaml": CLUSTER, "b.yaml": CLUSTER})
    assert (finding.severity, finding.found) == (
        Severity.WARNING,
        "Cluster (db.test/v1) of platform platform",
    )


def test_a_kind_that_is_misspelt_is_named_with_the_one_there_is(tmp_path: Path) -> None:
    misspelt = CLUSTER.replace("kind: Cluster", "kind: Clustr")
    (finding,) = judged(tmp_path, {"a.yaml": misspelt, "b.yaml": DEFINITION})
    assert finding.severity is Severity.WARNING
    assert finding.found == "Clustr (db.test/v1; there is Cluster) of platform platform"


def test_what_takes_too_long_is_not_looked_at(tmp_path: Path) -> None:
    limits = {"memory": "1" * 1_000_000 + "x", "cpu": "1x"}
    item = changed(DEPLOYMENT, *CONTAINER, "resources", value={"limits": limits})
    fault = only(own().faults(item))
    assert fault.found.endswith('limits.cpu is "1x"')
    item = {**yaml.safe_load(DEPLOYMENT), "x" * 1_000_000: 1, **{f"a{n}": 1 for n in range(500)}}
    assert len(own().faults(item) or []) == MOST


def test_a_definition_among_the_objects_describes_them_in_any_order(tmp_path: Path) -> None:
    wrong = CLUSTER.replace("size: 3", "size: three")
    (finding,) = judged(tmp_path, {"a.yaml": wrong, "b.yaml": DEFINITION})
    assert finding.found == 'spec.size is "three", text (platform/a.yaml)'


def test_the_template_of_a_chart_is_named(tmp_path: Path) -> None:
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform/Chart.yaml").touch()

    def template(folder: Path, **_: Any) -> str:
        wrong = "metadata: {generateName: web-}\nspec: {replcas: 1}"
        head = "# Source: apps/templates/web.yaml\napiVersion: apps/v1\nkind: ReplicaSet\n"
        return head + wrong

    settings = PlatformSettings(repository=URL)
    found = Checkout(tmp_path, settings, template, None, schemas=own()).judge()
    assert {one.what for one in found} == {
        "platform platform: ReplicaSet web-… is not as Kubernetes 1.36 takes it"
    }
    assert all(one.found.endswith("(platform/templates/web.yaml)") for one in found)


class Helm(EveryBundle):
    """A bundle whose helm is a shell script."""

    def __init__(self, folder: Path, script: str) -> None:
        super().__init__(folder)
        (folder / "script").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "script").chmod(0o755)

    def path(self, name: str, architecture: str) -> Path:
        if name == "helm" and self.folder is not None:
            return self.folder / "script"
        return super().path(name, architecture)


def brought(
    folder: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[set[str], list[Finding]]:
    """What the site's components bring whose charts ``script`` renders."""
    monkeypatch.setenv("PROVISION_CACHE", str(folder / "cache"))
    site = make_site({}, "cert_manager")
    context = Context(site, Helm(folder, script), EverySecret())
    definitions, findings = definitions_of(phases_of(site), context)
    return {one["metadata"]["name"] for one in definitions}, findings


def test_definitions_are_those_of_the_sites_components(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rendered").write_text(DEFINITION)
    names, findings = brought(tmp_path, f"cat {tmp_path}/rendered", monkeypatch)
    assert (names, findings) == ({"clusters.db.test"}, [])


def test_a_component_whose_chart_refuses_its_values_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, findings = brought(tmp_path, "echo no such value >&2; exit 1", monkeypatch)
    assert names == set()
    assert {(one.severity, one.found) for one in findings} >= {
        (Severity.ERROR, "cert-manager.values: no such value")
    }
