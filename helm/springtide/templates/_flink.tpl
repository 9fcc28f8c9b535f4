{{/* What both kinds of Flink's pods share. */}}

{{- define "springtide.flinkContainer" -}}
image: {{ include "springtide.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{ include "springtide.securityContext" . }}
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_IP
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
  - name: FLINK_CONF_DIR
    value: /etc/flink
  - name: FLINK_PLUGINS_DIR
    value: /opt/flink/plugins
  - name: FLINK_LOG_DIR
    value: /tmp/log
  - name: FLINK_PID_DIR
    value: /tmp/pid
  {{- include "springtide.storeEnv" .root | nindent 2 }}
  {{- with .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  requests:
    cpu: {{ .values.cpu | quote }}
    memory: {{ .values.memoryMiB }}Mi
  limits:
    memory: {{ .values.memoryMiB }}Mi
volumeMounts:
  - name: config
    mountPath: /etc/flink
    readOnly: true
  - name: tmp
    mountPath: /tmp
{{- end }}

{{- define "springtide.flinkVolumes" -}}
- name: config
  configMap:
    name: {{ include "springtide.fullname" .root }}-flink
- name: tmp
  emptyDir: {}
{{- end }}

{{/* Of the operator: cores as a number, memory in Flink's words. */}}
{{- define "springtide.flinkResource" -}}
cpu: {{ if hasSuffix "m" .cpu }}{{ divf (trimSuffix "m" .cpu | float64) 1000 }}{{ else }}{{ float64 .cpu }}{{ end }}
memory: {{ printf "%dm" (int .memoryMiB) }}
{{- end }}

{{/* What the operator puts its own container and settings over. */}}
{{- define "springtide.flinkTemplate" -}}
apiVersion: v1
kind: Pod
metadata:
  labels:
    {{- include "springtide.labels" . | nindent 4 }}
    {{- with .values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- omit (include "springtide.podSpec" . | fromYaml) "serviceAccountName" "automountServiceAccountToken" | toYaml | nindent 2 }}
  containers:
    - name: flink-main-container
      {{- include "springtide.securityContext" . | nindent 6 }}
      env:
        - name: FLINK_LOG_DIR
          value: /tmp/log
        - name: FLINK_PID_DIR
          value: /tmp/pid
        {{- include "springtide.storeEnv" .root | nindent 8 }}
        {{- with .values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: tmp
      emptyDir: {}
{{- end }}
