"""What a user of certificates brings: the wish for one, and a server that shows it."""

from __future__ import annotations

NAMESPACE = "lab-certificates"
QUESTION = "dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"
"""A path that the server answers: DNS over HTTPS for www.example.com."""


def certificate(name: str, dns_name: str, issuer: str, renew_before: str) -> str:
    """A certificate for ``dns_name`` that is renewed that long before its end."""
    return f"""
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  secretName: {name}
  dnsNames: [{dns_name}]
  duration: 1h
  renewBefore: {renew_before}
  privateKey: {{rotationPolicy: Always}}
  issuerRef: {{kind: ClusterIssuer, name: {issuer}}}
"""


def server(image: str, secret: str, address: str) -> str:
    """CoreDNS as a web server with the certificate in ``secret``, at a fixed address."""
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: server, namespace: {NAMESPACE}}}
data:
  Corefile: |
    https://.:8443 {{
      tls /tls/tls.crt /tls/tls.key
      whoami
    }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: server, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: server}}}}
  template:
    metadata: {{labels: {{app: server}}}}
    spec:
      containers:
        - name: server
          image: {image}
          args: [-conf, /etc/coredns/Corefile]
          volumeMounts:
            - {{name: configuration, mountPath: /etc/coredns}}
            - {{name: certificate, mountPath: /tls}}
      volumes:
        - {{name: configuration, configMap: {{name: server}}}}
        - {{name: certificate, secret: {{secretName: {secret}}}}}
---
{_exposed("server", address, "app: server", 443, 8443)}
"""


def solvers(address: str) -> str:
    """An address at which cert-manager's solvers answer, in the place of an ingress."""
    return _exposed("solvers", address, 'acme.cert-manager.io/http01-solver: "true"', 80, 8089)


def _exposed(name: str, address: str, selector: str, port: int, target: int) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  type: LoadBalancer
  loadBalancerIP: {address}
  selector: {{{selector}}}
  ports: [{{port: {port}, targetPort: {target}}}]
"""
