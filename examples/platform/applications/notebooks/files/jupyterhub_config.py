"""The hub: who comes in, and which pod each of them gets."""

import json
from pathlib import Path

from oauthenticator.generic import GenericOAuthenticator

GIVEN = json.loads(Path("/configuration/given.json").read_text())
HOST = GIVEN["host"]
NOTEBOOK = GIVEN["notebook"]
SECRETS = Path("/secrets")
CA = "/authority/ca.crt"
REALM = f"https://{HOST}/sso/realms/site/protocol/openid-connect"

c = get_config()  # noqa: F821 - jupyterhub defines it
c.JupyterHub.base_url = "/notebooks/"
c.JupyterHub.authenticator_class = GenericOAuthenticator
c.JupyterHub.cookie_secret_file = str(SECRETS / "cookie_secret")
c.GenericOAuthenticator.client_id = "notebooks"
c.GenericOAuthenticator.client_secret = (SECRETS / "notebooks_client_secret").read_text()
c.GenericOAuthenticator.oauth_callback_url = f"https://{HOST}/notebooks/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = f"{REALM}/auth"
c.GenericOAuthenticator.token_url = f"{REALM}/token"
c.GenericOAuthenticator.userdata_url = f"{REALM}/userinfo"
c.GenericOAuthenticator.logout_redirect_url = (
    f"{REALM}/logout?client_id=notebooks&post_logout_redirect_uri=https%3A%2F%2F{HOST}%2F"
)
c.GenericOAuthenticator.scope = ["openid", "profile"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.enable_pkce = True
c.GenericOAuthenticator.http_request_kwargs = {"ca_certs": CA}
c.GenericOAuthenticator.auto_login = True
c.GenericOAuthenticator.allow_all = True

c.JupyterHub.db_url = "sqlite:////database/jupyterhub.sqlite"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
# Pods go on while the hub is started anew.
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:8001"
c.ConfigurableHTTPProxy.auth_token = (SECRETS / "proxy_token").read_text()

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.image = NOTEBOOK["image"]
c.KubeSpawner.image_pull_policy = "IfNotPresent"
# A pod whose machine is lost is forgotten at once, or its person could begin no other.
c.KubeSpawner.delete_grace_period = 0
c.KubeSpawner.cmd = ["jupyterhub-singleuser"]
# Whatever program the image itself begins with, if any.
c.KubeSpawner.extra_container_config = {"command": ["/usr/bin/env"]}
c.KubeSpawner.args = [
    f"--MappingKernelManager.cull_idle_timeout={NOTEBOOK['idle_seconds']}",
    f"--ServerApp.shutdown_no_activity_timeout={NOTEBOOK['idle_seconds']}",
]
c.KubeSpawner.default_url = "/lab"
c.KubeSpawner.start_timeout = NOTEBOOK["start_seconds"]
c.KubeSpawner.http_timeout = NOTEBOOK["answer_seconds"]
c.KubeSpawner.cpu_guarantee = NOTEBOOK["cpu"]["request"]
c.KubeSpawner.cpu_limit = NOTEBOOK["cpu"]["limit"]
c.KubeSpawner.mem_guarantee = NOTEBOOK["memory"]["request"]
c.KubeSpawner.mem_limit = NOTEBOOK["memory"]["limit"]
c.KubeSpawner.automount_service_account_token = False
c.KubeSpawner.extra_pod_config = {"enableServiceLinks": False}
c.KubeSpawner.pod_security_context = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    # A home with many files is not gone through at every start.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
c.KubeSpawner.container_security_context = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
c.KubeSpawner.volumes = [
    {"name": "homes", "persistentVolumeClaim": {"claimName": "homes"}},
    {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
]
c.KubeSpawner.volume_mounts = [
    {"name": "homes", "mountPath": "/home/user", "subPath": "{username}"},
    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of a pod of its own
]
c.KubeSpawner.working_dir = "/home/user"
c.KubeSpawner.environment = {
    "HOME": "/home/user",
    # Sockets and locks of a server that runs belong on no file server.
    "JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime",  # noqa: S108 - the same
}
