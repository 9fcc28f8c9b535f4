{{/* A Deployment of one pod with one program: a role's dict, with "args" behind `springtide`. */}}
{{- define "springtide.alone" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "springtide.metadata" . | nindent 2 }}
spec:
  replicas: 1
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "springtide.selector" . | nindent 6 }}
  template:
    metadata:
      {{- include "springtide.podMetadata" . | nindent 6 }}
    spec:
      {{- include "springtide.podSpec" . | nindent 6 }}
      containers:
        - name: {{ .role }}
          command: [springtide]
          args:
            {{- toYaml .args | nindent 12 }}
          {{- include "springtide.container" . | nindent 10 }}
      volumes:
        {{- include "springtide.volumes" . | nindent 8 }}
{{- end }}
