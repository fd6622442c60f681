"""Asks a machine's member of etcd for all members and their health; standard library only.

Through the JSON gateway that every member has beside gRPC
(https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/), with the client certificate
that kubeadm makes for health checks.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PKI = Path("/etc/kubernetes/pki/etcd")
LOCAL = "https://127.0.0.1:2379"
SECONDS = 4.0
"""How long one member may take to answer."""


def members(pki: Path = PKI, local: str = LOCAL) -> dict[str, Any]:
    """``members`` with name, learner, healthy and detail each; or ``error``, why there are none."""
    try:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        client = pki / "healthcheck-client.crt"
        context.load_cert_chain(client, client.with_suffix(".key"))
        # Not from what this member remembers: from what most of them agree on.
        asked = json.dumps({"linearizable": True}).encode()
        told = _ask(f"{local}/v3/cluster/member/list", context, asked)
    except (OSError, ValueError) as error:
        return {"error": _reason(error)}
    listed = told.get("members")
    if not listed:
        return {"error": told.get("message") or "it lists no members"}
    with ThreadPoolExecutor(max_workers=len(listed)) as pool:
        details = list(pool.map(lambda item: _illness(item, context), listed))
    return {
        "members": [
            {
                "name": item.get("name", ""),
                "learner": bool(item.get("isLearner")),
                "healthy": not detail,
                "detail": detail,
            }
            for item, detail in zip(listed, details)
        ]
    }


def _illness(member: dict[str, Any], context: ssl.SSLContext) -> str:
    """Why a member is not healthy; empty where it is."""
    urls = member.get("clientURLs")
    if not urls:
        return "it never started"
    try:
        told = _ask(f"{urls[0]}/health", context)
    except (OSError, ValueError) as error:
        return _reason(error)
    return "" if told.get("health") == "true" else told.get("reason") or "it says so itself"


def _ask(url: str, context: ssl.SSLContext, body: bytes | None = None) -> dict[str, Any]:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, body, timeout=SECONDS) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as refused:
        # A member that is ill says so with a status of its own, and why in the same form.
        with refused:
            return dict(json.load(refused))


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason).lower()
