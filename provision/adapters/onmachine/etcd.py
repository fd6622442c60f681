"""Asks a machine's member of etcd for all members and their health; standard library only.

Through the JSON gateway that every member has beside gRPC
(https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/), with the client certificate
that kubeadm makes for health checks.
"""

from __future__ import annotations

import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    # Not urllib.request, which takes longer to import than the question to answer.
    parts = urlsplit(url)
    connection = HTTPSConnection(parts.netloc, timeout=SECONDS, context=context)
    try:
        connection.request("GET" if body is None else "POST", parts.path, body)
        # A member that is ill says so with a status of its own, and why in the same form.
        return dict(json.loads(connection.getresponse().read()))
    except HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
