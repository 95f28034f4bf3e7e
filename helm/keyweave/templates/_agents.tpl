{{/* The configuration file of one agent (.node of values, .root). */}}
{{- define "keyweave.agentConfig" -}}
{{- $root := .root -}}
{{- $node := .node -}}
{{- $control := include "keyweave.tls" (dict "root" $root "directory" "control" "list" "control") | fromYaml -}}
{{- $own := dict
  "node" $node.name
  "state_dir" "/var/lib/keyweave/agent"
  "controller" (include "keyweave.controllers" $root | fromYaml)
  "control_tls" $control
  "key_plane" (dict
    "listen" (printf "0.0.0.0:%s" (include "keyweave.port.keyPlane" $root))
    "tls" (include "keyweave.tls" (dict "root" $root "directory" "key" "list" "key") | fromYaml)
    "signing" (include "keyweave.tls" (dict "root" $root "directory" "signing" "list" "key-signing") | fromYaml))
  "kme" (dict
    "listen" (printf "0.0.0.0:%s" (include "keyweave.port.kme" $root))
    "tls" (include "keyweave.tls" (dict "root" $root "directory" "kme" "list" "sae") | fromYaml))
  "metrics_listen" (printf "0.0.0.0:%s" (include "keyweave.port.metrics" $root))
  "health_listen" (printf "0.0.0.0:%s" (include "keyweave.port.health" $root))
  "guard" (printf "/etc/keyweave/config/guard-%s.yaml" (include "keyweave.slug" $node.name)) -}}
{{- if $node.drivers -}}
{{- $_ := set $own "drivers" $node.drivers -}}
{{- else if $root.Values.emulator.enabled -}}
{{- $address := printf "%s-emulator:%s" (include "keyweave.fullname" $root) (include "keyweave.port.emulator" $root) -}}
{{- $settings := dict "address" $address "tls" (omit $control "revocation_list") -}}
{{- $_ := set $own "drivers" (list (dict "driver" "emulator" "settings" $settings)) -}}
{{- else -}}
{{- fail (printf "agents.nodes: %s has no drivers, and emulator.enabled is false" $node.name) -}}
{{- end -}}
{{- range $field, $value := merge (deepCopy (default dict $node.config)) $root.Values.agents.config -}}
{{- if and (has $field (list "key_plane" "kme")) (kindIs "map" $value) -}}
{{- $_ := set $own $field (merge (get $own $field) $value) -}}
{{- else if hasKey $own $field -}}
{{- fail (printf "agents.nodes: %s: config.%s is set by the chart itself" $node.name $field) -}}
{{- else -}}
{{- $_ := set $own $field $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $own -}}
{{- end -}}

{{/* What the owner of a node allows; its name comes from the node. */}}
{{- define "keyweave.agentGuard" -}}
{{- toYaml (merge (dict "node" .node.name) .node.guard) -}}
{{- end -}}

{{/* The agent's container, up to its volumes. */}}
{{- define "keyweave.agentContainer" -}}
image: {{ include "keyweave.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{ include "keyweave.probes" . }}
{{ include "keyweave.containerSecurity" . }}
resources: {{ toYaml .Values.agents.resources | nindent 2 }}
{{- end -}}

{{/* All of them; what changes when any does. */}}
{{- define "keyweave.agentFiles" -}}
{{- range .Values.agents.nodes -}}
{{ include "keyweave.agentConfig" (dict "root" $ "node" .) }}
{{ include "keyweave.agentGuard" (dict "node" .) }}
{{ end -}}
{{- end -}}
