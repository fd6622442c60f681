"""``init --platform``: the files of a site's Git repository besides the site file."""

from __future__ import annotations

from collections.abc import Mapping

SITE_PARTS = """
load_balancer:
  pools:
    public:
      addresses: [{first}-{last}]   # free addresses of the machines' network; edit them

dns:
  zone: {name}.example.org    # edit: the zone that the machines are to serve

argocd:
  address: {first}        # one of the pool
  # repositories:             # where reading the repository takes a password:
  #   site: {{url: {repository}, password: {{store: git-token}}}}

platform:
  repository: {repository}   # edit: where the cluster reads this folder from
  # revision: main            # branch, tag or commit; the applications' is the one in values
  value_files: [values-{name}.yaml]
  values: {{repository: {repository}}}   # the same, and so with revision
"""

FILES: Mapping[str, str] = {
    "platform/Chart.yaml": """\
# The applications of the site, each an Application of Argo CD.
apiVersion: v2
name: platform
version: 1.0.0
""",
    "platform/values.yaml": """\
# For every site. `repository` is given by the site file.
project: platform
revision: HEAD    # of the applications; the same as platform.revision of the site file
site: ""          # names the values-SITE.yaml of each application
applications: {}  # folders below applications/, each with the namespace it goes to
""",
    "platform/values-@SITE@.yaml": """\
# For this site alone.
site: "@SITE@"
applications:
  web: {namespace: web}
""",
    "platform/templates/applications.yaml": """\
{{- range $name, $application := .Values.applications }}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {{ $name }}
  namespace: argocd
spec:
  project: {{ $.Values.project }}
  source:
    repoURL: {{ $.Values.repository }}
    path: applications/{{ $name }}
    targetRevision: {{ $.Values.revision }}
    helm:
      valueFiles: [values-{{ $.Values.site }}.yaml]
  destination:
    server: https://kubernetes.default.svc
    namespace: {{ $application.namespace }}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    syncOptions: [CreateNamespace=true]
{{- end }}
""",
    "applications/web/Chart.yaml": """\
# A page that says which site this is.
apiVersion: v2
name: web
version: 1.0.0
""",
    "applications/web/values.yaml": """\
# For every site.
image: @IMAGE@   # of the bundle
replicas: 2
text: Welcome
""",
    "applications/web/values-@SITE@.yaml": """\
# For this site alone.
text: Welcome to @SITE@
""",
    "applications/web/templates/web.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  index.html: {{ .Values.text | quote }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {checksum/text: {{ .Values.text | sha256sum }}}
    spec:
      securityContext:
        runAsNonRoot: true
        runAsUser: 65534
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: web
          image: {{ .Values.image }}
          command: [httpd, -f, -p, "8080", -h, /www]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: http}}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
          volumeMounts: [{name: text, mountPath: /www, readOnly: true}]
      volumes: [{name: text, configMap: {name: web}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
""",
}
"""What each file holds, by its path; ``@SITE@`` and ``@IMAGE@`` stand for the site's own."""


def repository_files(name: str, kubernetes: str) -> dict[str, str]:
    """The files besides the site file, by their paths in the repository.

    Parameters
    ----------
    name
        The site's name.
    kubernetes
        The version whose bundle has the image of the page.
    """
    image = _image(kubernetes)

    def own(text: str) -> str:
        return text.replace("@SITE@", name).replace("@IMAGE@", image)

    return {own(path): own(text) for path, text in FILES.items()}


def _image(kubernetes: str) -> str:
    from provision.bundle.catalog import catalog

    versions = catalog().select(kubernetes, "amd64").versions
    return f"docker.io/library/busybox:{versions['busybox']}"
