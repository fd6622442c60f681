"""A workload that shows whether a cluster works: a web server and a client on every machine."""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.machines import CommandError, Lab

NAMESPACE = "lab-workload"
IMAGE = "docker.io/library/busybox:1.35"

MANIFESTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{{operator: Exists}}]
      containers:
        - name: web
          image: {IMAGE}
          command: [sh, -c, 'mkdir /www; echo "$NODE" > /www/index.html; httpd -f -p 8080 -h /www']
          env: [{{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 2}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: client, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: client}}}}
  template:
    metadata: {{labels: {{app: client}}}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{{operator: Exists}}]
      containers:
        - name: client
          image: {IMAGE}
          command: [sleep, infinity]
"""

POLICY = f"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: closed, namespace: {NAMESPACE}}}
spec:
  podSelector: {{matchLabels: {{app: web}}}}
  policyTypes: [Ingress]
"""


def service(node: str, pod: str) -> str:
    """A Service whose only endpoint is the web server on ``node``."""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: web-{node}, namespace: {NAMESPACE}}}
spec:
  selector: {{app: web, lab/pod: {pod}}}
  ports: [{{port: 80, targetPort: 8080}}]
"""


@dataclass
class Workload:
    """The workload as it runs in a lab's cluster."""

    lab: Lab

    def start(self) -> None:
        """Bring it up; returns when every pod is ready and every machine has its Service."""
        self.lab.kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=120s")
        self.lab.kubectl("apply", "-f", "-", stdin=MANIFESTS)
        for name in ("web", "client"):
            self.lab.kubectl(
                "-n", NAMESPACE, "rollout", "status", f"daemonset/{name}", "--timeout=180s"
            )
        for node, pod in self.pods("web").items():
            self.lab.kubectl("-n", NAMESPACE, "label", "pod", pod, f"lab/pod={pod}", "--overwrite")
            self.lab.kubectl("apply", "-f", "-", stdin=service(node, pod))

    def pods(self, app: str) -> dict[str, str]:
        """Names of the pods of ``app`` by machine."""
        columns = "custom-columns=NODE:.spec.nodeName,NAME:.metadata.name"
        printed = self.lab.kubectl(
            "-n", NAMESPACE, "get", "pods", "-l", f"app={app}", "-o", columns, "--no-headers"
        )
        return dict(line.split() for line in printed.splitlines())

    def ask(self, client_node: str, server_node: str, *, seconds: int = 5) -> str:
        """What the client on one machine gets from the Service of another, by its name.

        By nslookup and nc, which do without glibc's modules for names: a static busybox has none
        of them, and its wget wants them even for an address.
        """
        name = f"web-{server_node}.{NAMESPACE}.svc.cluster.local"
        script = (
            f"address=$(nslookup {name} | sed -n 's/^Address: //p');"
            f" printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w {seconds} $address 80 | tail -n 1"
        )
        return self.lab.kubectl(
            "-n",
            NAMESPACE,
            "exec",
            self.pods("client")[client_node],
            "--",
            "sh",
            "-eco",
            "pipefail",
            script,
        ).strip()

    def refuses(self, client_node: str, server_node: str) -> bool:
        """Whether the client on one machine gets nothing from the Service of another."""
        try:
            self.ask(client_node, server_node, seconds=3)
        except CommandError:
            return True
        return False

    def close(self) -> None:
        """Deny all traffic to the web servers."""
        self.lab.kubectl("apply", "-f", "-", stdin=POLICY)

    def open(self) -> None:
        """Take the denial back."""
        self.lab.kubectl("-n", NAMESPACE, "delete", "networkpolicy", "closed")

    def stop(self) -> None:
        """Remove it all; the cluster ends that by itself."""
        self.lab.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
