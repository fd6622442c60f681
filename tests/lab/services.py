"""What a user brings to a cluster: a claim with a pod, a certificate, a web server."""

from __future__ import annotations

import urllib.request

NAMESPACE = "lab-services"
IMAGE = "docker.io/library/busybox:1.35"

CLAIM = f"""
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: kept, namespace: {NAMESPACE}}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 10Mi}}}}
"""


CERTIFICATE = f"""
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  secretName: web-tls
  dnsNames: [web.example.test]
  issuerRef: {{kind: ClusterIssuer, name: site-ca}}
"""


def with_claim(name: str, command: str) -> str:
    """A pod that runs ``command`` once with the claim at ``/kept``."""
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  restartPolicy: Never
  containers:
    - name: {name}
      image: {IMAGE}
      command: [sh, -c, '{command}']
      volumeMounts: [{{name: kept, mountPath: /kept}}]
  volumes: [{{name: kept, persistentVolumeClaim: {{claimName: kept}}}}]
"""


def web(address: str, text: str, *, kind: str = "Deployment") -> str:
    """A web server that says ``text``, behind a Service with a fixed address.

    At ``/cgi-bin/client`` it says who asks. Service and server are called as the server's
    ``kind`` is, in lower case.
    """
    name = kind.lower()
    return f"""
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {IMAGE}
          command:
            - sh
            - -c
            - |
              mkdir -p /www/cgi-bin
              echo {text} > /www/index.html
              cat > /www/cgi-bin/client <<'SCRIPT'
              #!/bin/sh
              echo 'Content-Type: text/plain'
              echo
              echo "$REMOTE_ADDR" | tr -d '[]' | sed 's/^::ffff://'
              SCRIPT
              chmod +x /www/cgi-bin/client
              exec httpd -f -p 8080 -h /www
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 2}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  type: LoadBalancer
  loadBalancerIP: {address}
  externalTrafficPolicy: Local
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
"""


def ask(address: str, path: str = "/") -> str:
    """What the web server behind ``address`` says to someone outside of the cluster."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=2) as answer:
            return str(answer.read().decode()).strip()
    except OSError as error:
        raise AssertionError(str(error)) from error
