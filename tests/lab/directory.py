"""An LDAP server in the lab's cluster that speaks TLS, with two people and a group of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from provision.pki import new_authority, new_certificate, new_key
from provision.secretspec import Authority, Certificate
from tests.lab.machines import ROOT, Lab

NAMESPACE = "people"
HOST = f"ldap.{NAMESPACE}.svc.cluster.local"
PORT = 1636
READER = "cn=reader,dc=people"
# What Dex would take for variables of its environment.
READER_PASSWORD = "$HOME is what it reads, and $$"
GROUP = "operators"
# Argo CD has an administrator of that name, who is somebody else.
MEMBER, OTHER = "grace", "admin"
PASSWORD = "of both of them"
SLAPD = f"""\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile /configuration/tls.crt
TLSCertificateKeyFile /configuration/tls.key
database mdb
suffix "dc=people"
directory /database
maxsize 16777216
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{READER}" read by * none
"""
BEGIN = f"""\
ulimit -n 4096 && slapadd -q -f /configuration/slapd.conf -l /configuration/people.ldif &&
exec slapd -d 0 -f /configuration/slapd.conf -h ldaps://:{PORT}/
"""


def _person(name: str) -> str:
    return (
        f"dn: uid={name},ou=people,dc=people\nobjectClass: inetOrgPerson\nuid: {name}\n"
        f"sn: {name}\ncn: {name}\nmail: {name}@people.test\nuserPassword: {PASSWORD}\n\n"
    )


def _entries() -> str:
    return (
        "dn: dc=people\nobjectClass: dcObject\nobjectClass: organization\no: people\ndc: people\n\n"
        "dn: ou=people,dc=people\nobjectClass: organizationalUnit\nou: people\n\n"
        f"dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"cn: reader\nuserPassword: {READER_PASSWORD}\n\n"
        f"{_person(MEMBER)}{_person(OTHER)}"
        f"dn: cn={GROUP},dc=people\nobjectClass: groupOfNames\ncn: {GROUP}\n"
        f"member: uid={MEMBER},ou=people,dc=people\n"
    )


def _image() -> str:
    """The bundle's image of slapd, as the example's directory has it."""
    values = ROOT / "examples/platform/applications/directory/values.yaml"
    return str(yaml.safe_load(values.read_text())["image"])


@contextmanager
def directory(lab: Lab, folder: Path) -> Iterator[dict[str, Any]]:
    """What ``argocd.ldap`` of a site file is for the server, which is there while the block runs.

    Parameters
    ----------
    folder : gets the files that are named in it.
    """
    now = datetime.now(UTC)
    authority_key, key = new_key(), new_key()
    authority = new_authority(Authority("people", "People of a test"), authority_key, now)
    spec = Certificate("ldap", "people", HOST, names=(HOST,))
    files = {
        "tls.key": key.decode(),
        "tls.crt": new_certificate(spec, key, authority, authority_key, now).decode(),
        "slapd.conf": SLAPD,
        "people.ldif": _entries(),
    }
    ca, password = folder / "people-ca.pem", folder / "people-reader"
    ca.write_bytes(authority)
    password.touch(0o600)
    password.write_text(READER_PASSWORD)
    objects = {"apiVersion": "v1", "kind": "List", "items": _objects(files)}
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(objects))
    try:
        lab.kubectl("-n", NAMESPACE, "wait", "deployment/ldap", "--for=condition=Available")
        yield {
            "server": f"{HOST}:{PORT}",
            "ca": str(ca),
            "bind_dn": READER,
            "bind_password": {"file": str(password)},
            "users": {"base": "ou=people,dc=people"},
            "groups": {"base": "dc=people"},
        }
    finally:
        lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _objects(files: dict[str, str]) -> list[dict[str, Any]]:
    metadata, labels = {"name": "ldap", "namespace": NAMESPACE}, {"app": "ldap"}
    container = {
        "name": "ldap",
        "image": _image(),
        "command": ["/bin/sh", "-c", BEGIN],
        "env": [{"name": "PATH", "value": "/usr/sbin:/usr/bin:/sbin:/bin"}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "configuration", "mountPath": "/configuration"},
            {"name": "database", "mountPath": "/database"},
        ],
    }
    volumes = [
        {"name": "configuration", "secret": {"secretName": "ldap"}},
        {"name": "database", "emptyDir": {}},
    ]
    pod = {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 101, "runAsGroup": 101, "fsGroup": 101},
        "containers": [container],
        "volumes": volumes,
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": files},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
