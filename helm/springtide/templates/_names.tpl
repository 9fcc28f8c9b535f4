{{/* Names, labels and images; all that tells one release's objects from another's. */}}

{{- define "springtide.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{- define "springtide.fullname" -}}
{{- $name := include "springtide.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Of a role: (dict "root" $ "role" "learner"). */}}
{{- define "springtide.selector" -}}
app.kubernetes.io/name: {{ include "springtide.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "springtide.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "springtide.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: springtide
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "springtide.metadata" -}}
name: {{ include "springtide.fullname" .root }}-{{ .suffix | default .role }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "springtide.labels" . | nindent 2 }}
{{- end }}

{{/* (dict "root" $ "image" "learner"). */}}
{{- define "springtide.image" -}}
{{- $image := .root.Values.image }}
{{- $tag := get $image.tags .image | default $image.tag | default .root.Chart.AppVersion }}
{{- printf "%s-%s:%s" $image.repository .image $tag }}
{{- end }}

{{/* (dict "root" $ "role" "learner" "values" .Values.learner). */}}
{{- define "springtide.serviceAccountName" -}}
{{- $account := .values.serviceAccount }}
{{- if $account.create }}
{{- $account.name | default (printf "%s-%s" (include "springtide.fullname" .root) .role) }}
{{- else }}
{{- $account.name | default "default" }}
{{- end }}
{{- end }}
