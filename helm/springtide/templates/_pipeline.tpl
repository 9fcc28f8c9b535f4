{{/* The pipeline as the pods get it: the one of the values, and what of addresses in the cluster it does not say. */}}

{{/* Ports, as numbers: (dict "root" $ "part" "learner"). */}}
{{- define "springtide.port" -}}
{{- $defaults := dict "control" 8700 "learner" 8600 "serving" 8500 "dashboard" 8080 }}
{{- $part := get (.root.Values.pipeline | default dict) .part | default dict }}
{{- get $part "port" | default (get $defaults .part) | int }}
{{- end }}

{{/* As JSON, for fromJson. */}}
{{- define "springtide.pipeline" -}}
{{- $name := include "springtide.fullname" . }}
{{- $url := "http://%s-%s.%s.svc:%s" }}
{{- $space := .Release.Namespace }}
{{- $everywhere := dict "host" "0.0.0.0" }}
{{- $targets := dict
      "join" (printf $url $name "join" $space (include "springtide.port" (dict "root" . "part" "control")))
      "learner" (printf $url $name "learner" $space (include "springtide.port" (dict "root" . "part" "learner")))
      "replicas" (list (printf $url $name "replicas-each" $space (include "springtide.port" (dict "root" . "part" "serving")))) }}
{{- $own := dict
      "control" (deepCopy $everywhere)
      "learner" (deepCopy $everywhere)
      "serving" (deepCopy $everywhere)
      "dashboard" (dict "host" "0.0.0.0" "history" "/var/lib/springtide/history.sqlite" "targets" $targets) }}
{{- if ne .Values.flink.mode "existing" }}
{{- $_ := set $own "flink" (dict "rest" (printf $url $name (ternary "flink" "flink-rest" (eq .Values.flink.mode "standalone")) $space (toString .Values.flink.jobManager.ports.rest))) }}
{{- end }}
{{- mergeOverwrite $own (deepCopy (.Values.pipeline | default dict)) | toJson }}
{{- end }}

{{/* A duration as the pipeline writes it, in seconds. */}}
{{- define "springtide.seconds" -}}
{{- $unit := regexFind "[a-z]+$" . }}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0) $unit) }}
{{- end }}

{{/* Environment variables by which Flink's S3 file system finds the keys that the pipeline's store names. */}}
{{- define "springtide.storeEnv" -}}
{{- $store := (.Values.pipeline | default dict).store | default dict }}
{{- range $variable, $key := dict "AWS_ACCESS_KEY_ID" "access_key" "AWS_SECRET_ACCESS_KEY" "secret_key" }}
{{- $secret := get $store $key | default dict }}
{{- $file := get $secret "file" | default "" }}
{{- if hasPrefix "/etc/springtide/secrets/" $file }}
{{- $place := splitList "/" (trimPrefix "/etc/springtide/secrets/" $file) }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ get $.Values.secrets (first $place) }}
      key: {{ last $place }}
{{- end }}
{{- range $.Values.extraEnv }}
{{- if and (get $secret "env") (eq .name (get $secret "env")) }}
- name: {{ $variable }}
  {{- toYaml (omit . "name") | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
