{{- /* Objects in the release's namespace. The Lease has this name too, so a namespace has one operator. */ -}}
{{- define "kv-operator.name" -}}
kv-operator
{{- end }}

{{- /* Objects without a namespace, of which each installation has its own. */ -}}
{{- define "kv-operator.clusterName" -}}
kv-operator-{{ .Release.Namespace }}
{{- end }}

{{- define "kv-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}{{ include "kv-operator.name" . }}
{{- else }}default
{{- end }}
{{- end }}

{{- define "kv-operator.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "kv-operator.nodeImage" -}}
{{ .Values.nodeImage | default (printf "kvcluster/kv-node:%s" .Chart.AppVersion) }}
{{- end }}

{{- /* The network policies of clusters let the pods with these two labels in. */ -}}
{{- define "kv-operator.selectorLabels" -}}
app.kubernetes.io/name: kv-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kv-operator.labels" -}}
{{ include "kv-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- /* Somebody's labels with ours, which win. */ -}}
{{- define "kv-operator.labelsWith" -}}
{{ toYaml (mergeOverwrite (deepCopy .extra) (include "kv-operator.labels" .root | fromYaml)) }}
{{- end }}

{{- define "kv-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "kv-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* What the operator does in a namespace with clusters. */ -}}
{{- define "kv-operator.rules" -}}
- apiGroups: [kvcluster.io]
  resources: [kvclusters]
  # patch: the annotation by which a person asks for ZooKeeper's recovery is removed when it is done.
  verbs: [get, list, watch, patch]
- apiGroups: [kvcluster.io]
  resources: [kvclusters/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, secrets, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, create, patch, delete]
{{- end }}

{{- define "kv-operator.storageClassRules" -}}
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list]
{{- end }}
