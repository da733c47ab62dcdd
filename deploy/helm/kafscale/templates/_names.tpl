{{/* What all objects of a release are called. */}}
{{- define "kafscale.name" -}}
{{- if contains "kafscale" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-kafscale" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The service that gives each broker a name of its own. */}}
{{- define "kafscale.brokers" -}}
{{- printf "%s-brokers" (include "kafscale.name" .) -}}
{{- end -}}

{{- define "kafscale.selector" -}}
app.kubernetes.io/name: kafscale
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kafscale.labels" -}}
{{ include "kafscale.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "kafscale.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kafscale.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}
