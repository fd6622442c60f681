"""What a user brings to a cluster: a web server behind a fixed address."""

from __future__ import annotations

NAMESPACE = "lab-services"
IMAGE = "docker.io/library/busybox:1.35"


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
