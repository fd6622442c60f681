"""What a user brings to a cluster: a claim with a pod, a certificate, a web server."""

from __future__ import annotations

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


def web(address: str, text: str) -> str:
    """A web server that says ``text``, behind a Service with a fixed address."""
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {IMAGE}
          command: [sh, -c, 'mkdir /www; echo {text} > /www/index.html; httpd -f -p 8080 -h /www']
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 2}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  type: LoadBalancer
  loadBalancerIP: {address}
  externalTrafficPolicy: Local
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
"""
