{{/* What Flink is told, however its pods come to be. */}}

{{/* Settings that do not depend on who starts the pods, the user's own over them; as JSON, for fromJson. */}}
{{- define "springtide.flinkSettings" -}}
{{- $store := (.Values.pipeline | default dict).store | default dict }}
{{- $settings := dict
      "taskmanager.numberOfTaskSlots" .Values.flink.taskManager.slots
      "io.tmp.dirs" "/tmp"
      "state.backend.type" "hashmap"
      "execution.checkpointing.storage" "filesystem"
      "execution.checkpointing.num-retained" 5
      "heartbeat.interval" "2 s"
      "heartbeat.timeout" "10 s"
      "restart-strategy.type" "fixed-delay"
      "restart-strategy.fixed-delay.attempts" 2147483647
      "restart-strategy.fixed-delay.delay" "1 s"
      "execution.checkpointing.tolerable-failed-checkpoints" 2147483647
      "s3.region" ($store.region | default "us-east-1")
      "s3.path-style-access" (ternary $store.path_style true (hasKey $store "path_style")) }}
{{- with $store.endpoint }}
{{- /* Amazon's newer upload framings, which other servers refuse. */}}
{{- $_ := set $settings "s3.endpoint" . }}
{{- $_ := set $settings "s3.chunked-encoding.enabled" false }}
{{- $_ := set $settings "s3.checksum-validation.enabled" false }}
{{- end }}
{{- with ((.Values.pipeline | default dict).flink | default dict).checkpoints }}
{{- $_ := set $settings "execution.checkpointing.dir" (printf "%s/checkpoints" .) }}
{{- $_ := set $settings "execution.checkpointing.savepoint-dir" (printf "%s/savepoints" .) }}
{{- end }}
{{- merge (deepCopy .Values.flink.settings) $settings | toJson }}
{{- end }}

{{/* Any settings, JSON, as lines `key: "text"`. */}}
{{- define "springtide.flinkLines" -}}
{{- range $key, $value := fromJson . }}
{{ $key }}: {{ if kindIs "float64" $value }}{{ if eq $value (floor $value) }}{{ $value | int64 | toString | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end }}

{{- define "springtide.flinkLogging" -}}
status = error
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
logger.pekko.name = org.apache.pekko
logger.pekko.level = warn
logger.kafka.name = org.apache.kafka
logger.kafka.level = warn
logger.amazon.name = software.amazon.awssdk
logger.amazon.level = warn
{{- end }}
