{{/* Names. Kubernetes has 63 characters; what we append to this takes up to 37 of them. */}}
{{- define "keyweave.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 26 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 26 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 26 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A node's name as far as Kubernetes takes it: at most 30 characters, and no dash at the end. */}}
{{- define "keyweave.slug" -}}
{{- if or (gt (len .) 30) (hasSuffix "-" .) -}}
{{- printf "%s-%s" (. | trunc 21 | trimSuffix "-") (sha256sum . | trunc 8) -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- define "keyweave.selector" -}}
app.kubernetes.io/name: keyweave
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "keyweave.labels" -}}
{{ include "keyweave.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "keyweave.image" -}}
{{- $repository := required "image.repository: name the image that you built (docs/deploy.md)" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Ports, the same in containers and Services. */}}
{{- define "keyweave.port.controller" -}}21001{{- end -}}
{{- define "keyweave.port.metrics" -}}21002{{- end -}}
{{- define "keyweave.port.emulator" -}}21003{{- end -}}
{{- define "keyweave.port.health" -}}21004{{- end -}}
{{- define "keyweave.port.keyPlane" -}}21010{{- end -}}
{{- define "keyweave.port.kme" -}}21011{{- end -}}

{{- define "keyweave.controllerAddress" -}}
{{- if .Values.agents.controllerAddress -}}
{{- .Values.agents.controllerAddress -}}
{{- else -}}
{{- if not .Values.controller.enabled -}}
{{- fail "agents.controllerAddress: is needed where controller.enabled is false" -}}
{{- end -}}
{{- printf "%s-controller:%s" (include "keyweave.fullname" .) (include "keyweave.port.controller" .) -}}
{{- end -}}
{{- end -}}

{{/* Where one of several controllers (.pod) is reached. */}}
{{- define "keyweave.controllerPeer" -}}
{{- $name := printf "%s-controller" (include "keyweave.fullname" .root) -}}
{{- printf "%s.%s-peers.%s.svc.%s:%s" .pod $name .root.Release.Namespace .root.Values.clusterDomain (include "keyweave.port.controller" .root) -}}
{{- end -}}

{{/* What agents dial: one controller, or each of several. */}}
{{- define "keyweave.controllers" -}}
{{- if and (not .Values.agents.controllerAddress) .Values.controller.enabled (gt (int .Values.controller.replicas) 1) -}}
addresses:
{{- range $index := until (int .Values.controller.replicas) }}
  - {{ include "keyweave.controllerPeer" (dict "root" $ "pod" (printf "%s-controller-%d" (include "keyweave.fullname" $) $index)) }}
{{- end }}
{{- else -}}
address: {{ include "keyweave.controllerAddress" . }}
{{- end -}}
{{- end -}}

{{/* One credential in a configuration file: directory and, where there are any, its plane's revocation list. */}}
{{- define "keyweave.tls" -}}
certificate: /etc/keyweave/pki/{{ .directory }}/tls.crt
private_key: /etc/keyweave/pki/{{ .directory }}/tls.key
trust_anchor: /etc/keyweave/pki/{{ .directory }}/ca.crt
{{- if .root.Values.credentials.revocation.configMap }}
revocation_list: /etc/keyweave/crl/{{ .list }}-crl.pem
{{- end }}
{{- end -}}

{{/* The Secret of a credential: cert-manager's, or the one that values name. */}}
{{- define "keyweave.secret" -}}
{{- if eq .root.Values.credentials.source "certManager" -}}
{{- printf "%s-%s" (include "keyweave.fullname" .root) .suffix -}}
{{- else -}}
{{- required (printf "%s: name the Secret, or set credentials.source to certManager" .field) .given -}}
{{- end -}}
{{- end -}}

{{/* What every pod of ours is: nobody, who may nothing. */}}
{{- define "keyweave.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "keyweave.fullname" . }}
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "keyweave.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Alive from the first second on; ready once all ports are bound. A hung event loop answers neither. */}}
{{- define "keyweave.probes" -}}
startupProbe:
  grpc: {port: {{ include "keyweave.port.health" . }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  grpc: {port: {{ include "keyweave.port.health" . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  grpc: {port: {{ include "keyweave.port.health" . }}, service: ready}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end -}}

{{/* Where pods may go. */}}
{{- define "keyweave.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Spread constraints of values, over the pods of one component. */}}
{{- define "keyweave.spread" -}}
{{- range .constraints }}
- {{ toYaml . | nindent 2 | trim }}
  {{- if not .labelSelector }}
  labelSelector:
    matchLabels: {{ include "keyweave.selector" $ | nindent 6 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "keyweave.dnsEgress" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  to: {{ toYaml .dns | nindent 4 }}
{{- end -}}
