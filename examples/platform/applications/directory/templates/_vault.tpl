{{/*
Secrets of pods, from the site's Vault, and what else pods have in common. The same file in every chart.

.Values.vault has `address`, `role` and `secrets`: for each kind of pod a list of files below
/secrets, each {path, key, file}, or {file, template} where the template is a file of the chart:
what is for Vault's agent stands there between << and >>, what is for helm as always. Each part takes (dict "context" $ "name" KIND-OF-POD).
*/}}

{{/* What the agent is told, and the site's authority, by which it knows Vault. */}}
{{- define "vault.configmap" }}
{{- $context := .context }}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .name }}-vault}
data:
  ca.crt: {{ required "authority is empty: the site's own, which signed Vault's certificate" $context.Values.authority | quote }}
  agent.hcl: |
    vault {
      address = {{ required "vault.address is empty" $context.Values.vault.address | quote }}
      ca_cert = "/vault/ca.crt"
    }
    auto_auth {
      method "kubernetes" {
        mount_path = "auth/kubernetes"
        max_backoff = "15s"
        config = { role = {{ $context.Values.vault.role | quote }}, token_path = "/vault-token/token" }
      }
    }
    template_config {
      exit_on_retry_failure = true
    }
    {{- range index $context.Values.vault.secrets .name }}
    template {
      destination = "/secrets/{{ .file }}"
      perms = "0440"
      error_on_missing_key = true
      {{- if .template }}
      source = "/vault/{{ base .template }}"
      {{- else }}
      {{- if not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" .key) }}
      {{- fail (printf "the field %q of %s: the agent takes letters, digits and _, and no digit first" .key .path) }}
      {{- end }}
      contents = {{ printf "{{ with secret %q }}{{ .Data.data.%s }}{{ end }}" .path .key | quote }}
      {{- end }}
    }
    {{- end }}
  {{- range index $context.Values.vault.secrets .name }}
  {{- if .template }}
  {{ base .template }}: |
    {{- tpl ($context.Files.Get .template) $context | replace "<<" "{{" | replace ">>" "}}" | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Reads them once, before anything else of the pod runs; it alone has the pod's token. */}}
{{- define "vault.init" }}
name: vault
image: {{ .context.Values.vault.image }}
command: [/bin/vault, agent, -exit-after-auth, -config=/vault/agent.hcl]
env: [{name: HOME, value: /secrets}]
securityContext: {{- include "vault.confined" . | nindent 2 }}
resources: {requests: {cpu: 20m, memory: 64Mi}, limits: {memory: 256Mi}}
volumeMounts:
  - {name: secrets, mountPath: /secrets}
  - {name: vault, mountPath: /vault, readOnly: true}
  - {name: vault-token, mountPath: /vault-token, readOnly: true}
{{- end }}

{{- define "vault.volumes" }}
- {name: secrets, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
- {name: vault, configMap: {name: {{ .name }}-vault}}
- name: vault-token
  projected:
    sources: [{serviceAccountToken: {path: token, expirationSeconds: 3600}}]
{{- end }}

{{/* A new pod when what the agent is told changes. */}}
{{- define "vault.checksum" }}
checksum/vault: {{ include "vault.configmap" . | sha256sum }}
{{- end }}

{{/* What Pod Security's profile `restricted` wants of a container, and a root that is not written to. */}}
{{- define "vault.confined" }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* And of a pod; `user` is the numeric id of its image's user. */}}
{{- define "vault.pod" }}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/*
What every pod of these charts may reach: names, and Vault. It stands outside the cluster, maybe on
machines of it, which network policies cannot name everywhere; so the port is all that is said.
*/}}
{{- define "vault.egress" }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
- ports: [{port: {{ .Values.vault.port }}, protocol: TCP}]
{{- end }}

{{/* The site's pages, by their public name: the balancer's address, which ends at the ingress. */}}
{{- define "site.egress" }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Values.ingress.namespace }}}}
- to: [{ipBlock: {cidr: {{ .Values.address }}/32}}]
  ports: [{port: 443, protocol: TCP}]
{{- end }}

{{/* No more than one pod less at a time, and not all on one machine. */}}
{{- define "site.spread" }}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector: {matchLabels: {app: {{ . }}}}
{{- end }}

{{/* Off a machine that is lost after seconds, not after the usual five minutes. */}}
{{- define "site.moves" }}
- {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 10}
- {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 10}
{{- end }}

{{/*
The volume with the authority by which pods know the pages: `pages_authority`, in a ConfigMap of its
own, or else the one that cert-manager puts beside the certificate.
*/}}
{{- define "site.authority" }}
name: pages
{{- if .Values.pages_authority }}
configMap: {name: pages}
{{- else }}
secret: {secretName: pages, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}

{{- define "site.authority.configmap" }}
{{- with .Values.pages_authority }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: pages}
data:
  ca.crt: {{ toJson . }}
{{- end }}
{{- end }}

{{/* For the site's name, which the ingress shows. */}}
{{- define "site.certificate" }}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: pages}
spec:
  secretName: pages
  dnsNames: [{{ required "host is empty" .Values.host | quote }}]
  issuerRef: {kind: ClusterIssuer, name: {{ required "issuer is empty" .Values.issuer }}}
{{- end }}

{{- define "site.ingress" }}
{{- $values := .context.Values }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .service }}
  annotations: {{- toYaml $values.ingress.annotations | nindent 4 }}
spec:
  ingressClassName: {{ required "ingress.class is empty" $values.ingress.class }}
  tls: [{hosts: [{{ $values.host | quote }}], secretName: pages}]
  rules:
    - host: {{ $values.host | quote }}
      http:
        paths:
          {{- $service := .service }}
          {{- range .paths }}
          - path: {{ . }}
            pathType: Prefix
            backend: {service: {name: {{ $service }}, port: {name: http}}}
          {{- end }}
{{- end }}
