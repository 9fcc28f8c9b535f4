{{/* What all pods share: metadata, security, placement, mounts, probes. Each takes (dict "root" $ "role" ... "values" ...). */}}

{{- define "springtide.podMetadata" -}}
annotations:
  checksum/config: {{ include (print .root.Template.BasePath "/" (.config | default "configmap.yaml")) .root | sha256sum }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "springtide.labels" . | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "springtide.podSpec" -}}
serviceAccountName: {{ include "springtide.serviceAccountName" . }}
automountServiceAccountToken: {{ not (empty .values.serviceAccount.annotations) }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "springtide.securityContext" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Of a container with a program of Springtide's; "port" where it answers. */}}
{{- define "springtide.container" -}}
image: {{ include "springtide.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{ include "springtide.securityContext" . }}
# The cause of an exit stands in the pod's status.
terminationMessagePolicy: FallbackToLogsOnError
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  # Nothing else may be written to.
  - name: HOME
    value: /tmp
  {{- with .root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- if .port }}
ports:
  - name: http
    containerPort: {{ .port }}
  {{- if .grpc }}
  - name: grpc
    containerPort: {{ .grpc }}
  {{- end }}
{{- include "springtide.probes" . }}
{{- end }}
volumeMounts:
  - name: config
    mountPath: /etc/springtide/config
    readOnly: true
  {{- range $folder, $secret := .root.Values.secrets }}
  - name: secret-{{ $folder }}
    mountPath: /etc/springtide/secrets/{{ $folder }}
    readOnly: true
  {{- end }}
  - name: tmp
    mountPath: /tmp
{{- end }}

{{- define "springtide.probes" }}
# TensorFlow and Flink take their time to be imported; what counts begins after that.
startupProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 90
livenessProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "springtide.volumes" -}}
- name: config
  configMap:
    name: {{ include "springtide.fullname" .root }}-pipeline
{{- range $folder, $secret := .root.Values.secrets }}
- name: secret-{{ $folder }}
  secret:
    secretName: {{ $secret }}
    # Of the group alone, which is the pod's.
    defaultMode: 0440
{{- end }}
- name: tmp
  emptyDir: {}
{{- end }}
