{{/* What the schema cannot say; every finding at once, each with its cure. */}}

{{- define "springtide.checks" -}}
{{- $found := list }}
{{- if not .Values.image.repository }}
{{- $found = append $found "image.repository is empty. Cure: build and push the images (docs/helm.md), then --set image.repository=registry.example/springtide" }}
{{- end }}
{{- if not .Values.pipeline }}
{{- $found = append $found "pipeline is missing. Cure: put your pipeline.yaml below `pipeline:` in a values file, and pass it with -f" }}
{{- else }}
{{- $pipeline := .Values.pipeline }}
{{- $flink := $pipeline.flink | default dict }}
{{- $store := $pipeline.store | default dict }}
{{- if not (hasPrefix "s3://" ($store.url | default "")) }}
{{- $found = append $found (printf "pipeline.store.url is `%s`, which pods cannot share. Cure: an object store, as in s3://bucket/prefix" ($store.url | default "")) }}
{{- end }}
{{- if eq ($flink.mode | default "session") "application" }}
{{- $found = append $found "pipeline.flink.mode is application, which this chart does not run. Cure: leave it out" }}
{{- end }}
{{- if ne .Values.flink.mode "existing" }}
{{- if $flink.rest }}
{{- $found = append $found (printf "pipeline.flink.rest names a cluster, and flink.mode is %s. Cure: leave one of them out; --set flink.mode=existing takes the cluster that is named" .Values.flink.mode) }}
{{- end }}
{{- if not $flink.checkpoints }}
{{- $found = append $found "pipeline.flink.checkpoints is missing: without it a lost pod loses the open impressions. Cure: add a folder of its own, as in s3://bucket/flink/my-model" }}
{{- end }}
{{- $slots := mul .Values.flink.taskManager.replicas .Values.flink.taskManager.slots }}
{{- if gt (int ($flink.parallelism | default 1)) (int $slots) }}
{{- $found = append $found (printf "pipeline.flink.parallelism is %d, and there are %d slots. Cure: raise flink.taskManager.replicas or .slots" (int $flink.parallelism) (int $slots)) }}
{{- end }}
{{- else if not $flink.rest }}
{{- $found = append $found "flink.mode is existing, and pipeline.flink.rest is missing. Cure: name the cluster's REST address there" }}
{{- end }}
{{- range regexFindAll "/etc/springtide/secrets/[^/\"]+" (toJson $pipeline) -1 | uniq }}
{{- $folder := trimPrefix "/etc/springtide/secrets/" . }}
{{- if not (get $.Values.secrets $folder) }}
{{- $found = append $found (printf "the pipeline reads %s/, and no secret is mounted there. Cure: --set secrets.%s=NAME, of a Secret in this namespace" . $folder) }}
{{- end }}
{{- end }}
{{- if and .Values.tests.probe (not (get ($pipeline.probe | default dict) "enabled")) }}
{{- $found = append $found "tests.probe is true, and pipeline.probe.enabled is not. Cure: set both or neither" }}
{{- end }}
{{- if and .Values.canary.enabled (not (get ($pipeline.probe | default dict) "enabled")) }}
{{- $found = append $found "canary.enabled is true, and pipeline.probe.enabled is not: a canary writes into your topics. Cure: set both or neither" }}
{{- end }}
{{- end }}
{{- range list "replicas" "page" }}
{{- $ingress := (get $.Values .).ingress }}
{{- if and $ingress.enabled (not $ingress.hosts) }}
{{- $found = append $found (printf "%s.ingress is enabled without hosts. Cure: --set %s.ingress.hosts[0].host=NAME" . .) }}
{{- end }}
{{- end }}
{{- range list "replicas" "page" }}
{{- $route := (get $.Values .).httpRoute }}
{{- if and $route.enabled (not $route.parentRefs) }}
{{- $found = append $found (printf "%s.httpRoute is enabled without parentRefs. Cure: --set %s.httpRoute.parentRefs[0].name=GATEWAY" . .) }}
{{- end }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- $found = append $found "podMonitor and serviceMonitor are both enabled, and each figure would count twice. Cure: leave one of them out" }}
{{- end }}
{{- if and .Values.development.enabled .Values.pipeline }}
{{- $here := printf "%s-kafka:9092" (include "springtide.fullname" .) }}
{{- if ne ((.Values.pipeline.kafka | default dict).bootstrap | default "") $here }}
{{- $found = append $found (printf "development.enabled brings a Kafka at %s, and pipeline.kafka.bootstrap names another. Cure: begin with examples/quickstart.yaml, or --set development.enabled=false" $here) }}
{{- end }}
{{- end }}
{{- if and .Values.replicas.autoscaling.enabled (gt (int .Values.replicas.autoscaling.minReplicas) (int .Values.replicas.autoscaling.maxReplicas)) }}
{{- $found = append $found "replicas.autoscaling.minReplicas is above maxReplicas. Cure: correct one" }}
{{- end }}
{{- if $found }}
{{- fail (printf "\n  %s\n" (join "\n  " $found)) }}
{{- end }}
{{- end }}
