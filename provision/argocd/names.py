"""Names that the parts of ``argocd`` share."""

from __future__ import annotations

NAMESPACE = "argocd"
"""Where Argo CD runs and keeps its applications; its manifests name it too."""
ADMIN_PASSWORD = "argocd/admin-password"  # noqa: S105 - the name of a secret
"""The site's secret that is the password of the user ``admin``."""
ADMIN_HASH = f"{ADMIN_PASSWORD}-hash"
"""What Argo CD keeps of it."""
TLS = "argocd-server-tls"
"""The cluster's Secret with the server's certificate."""
SERVER = "argocd/server"
"""The site's certificate for the server, where no issuer signs one."""
VAULT_PATH = "secret/argocd/admin"
"""Where the site's Vault keeps the password."""
DEX = "argocd-dex-server"
"""Speaks OpenID for other kinds of sign-on."""
