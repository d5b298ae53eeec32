{{- define "heka.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "heka.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "heka.labels" -}}
{{ include "heka.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* The flags as a list: --NAME=VALUE, --NAME for true, repeated for a list. */ -}}
{{- define "heka.args" -}}
{{- range $name, $value := .Values.flags }}
{{- if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%v" $name . | quote }}
{{- end }}
{{- else if kindIs "bool" $value }}
{{- if $value }}
- {{ printf "--%s" $name | quote }}
{{- end }}
{{- else if kindIs "float64" $value }}
- {{ printf "--%s=%s" $name ($value | toString) | quote }}
{{- else if not (empty $value) }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- end }}
- "--resource-attribute=k8s.node.name=$(NODE_NAME)"
{{- if .Values.headersSecret }}
- "--headers-file=/etc/heka-insights-agent/headers.txt"
{{- end }}
{{- end }}
