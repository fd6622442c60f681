"""Secrets like those that the components ask for, and a clock that can be set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from provision.secretspec import Authority, Certificate, KeyPair, Random, SecretSpec, Text

SPECS: tuple[SecretSpec, ...] = (
    Text("kubeconfig", "ca: {base64:kubernetes/ca.crt}\nkey: {base64:kubernetes/admin.key}\n"),
    Text("kubernetes/encryption.yaml", "keys: [{{secret: {secret:kubernetes/encryption-key}}}]\n"),
    Certificate(
        "kubernetes/admin",
        "kubernetes/ca",
        "kubernetes-admin",
        organizations=("kubeadm:cluster-admins",),
        usages=("client",),
    ),
    Certificate("depot/n1", "site-ca", "n1", names=("n1", "10.0.0.11", "fd00::11")),
    Authority("site-ca", "lab site CA"),
    Authority("kubernetes/ca", "kubernetes"),
    KeyPair("kubernetes/sa"),
    Random("kubernetes/encryption-key"),
)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_days(self, days: float) -> None:
        self.time += timedelta(days=days)
