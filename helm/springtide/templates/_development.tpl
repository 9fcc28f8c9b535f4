{{/* What the development servers and the stream of events share with nobody else. */}}

{{/* The pod's part that all have, without an account of their own: (dict "root" $ "role" "kafka"). */}}
{{- define "springtide.developmentPod" -}}
metadata:
  annotations:
    checksum/config: {{ include (print .root.Template.BasePath "/development-config.yaml") .root | sha256sum }}
  labels:
    {{- include "springtide.labels" . | nindent 4 }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 10
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile:
      type: RuntimeDefault
{{- end }}

{{- define "springtide.developmentProbes" -}}
startupProbe:
  tcpSocket:
    port: {{ . }}
  periodSeconds: 2
  failureThreshold: 90
livenessProbe:
  tcpSocket:
    port: {{ . }}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  tcpSocket:
    port: {{ . }}
  periodSeconds: 2
{{- end }}
