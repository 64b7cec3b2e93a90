"""kubectl scripts that look at things: output forms, selectors, sorting, events, descriptions, discovery.

Each script starts in an empty namespace of its own. See `lab_judge.lines_of` for the form.
"""

from __future__ import annotations

from peers.lab_scripts_objects import SERVED, SHAPE

# A pod with everything that `describe`, `-o wide` and the printers look at, and two more to sort.
PODS = """
file pods.yml
  apiVersion: v1
  kind: Pod
  metadata:
    name: big
    labels: {app: big, tier: front, release: stable}
    annotations: {note: "two\\nlines", kubernetes.io/description: "a long text that goes on and on"}
  spec:
    nodeSelector: {disk: ssd}
    priority: 0
    containers:
    - {name: one, image: nginx:1.25, args: [a, b c], ports: [{containerPort: 80, name: http}, {containerPort: 53, \
protocol: UDP}], resources: {limits: {memory: 1Gi, cpu: "2"}, requests: {memory: 512Mi, cpu: 1500m}}}
    - {name: two, image: busybox, command: [sleep, "10"], env: [{name: A, value: b}, {name: B, valueFrom: \
{configMapKeyRef: {name: cm, key: k, optional: true}}}, {name: C, valueFrom: {secretKeyRef: {name: s, key: k}}}, \
{name: D, valueFrom: {resourceFieldRef: {resource: limits.cpu, containerName: one}}}]}
  ---
  apiVersion: v1
  kind: Pod
  metadata: {name: small, labels: {app: small, tier: back}}
  spec: {hostNetwork: true, restartPolicy: Never, containers: [{name: one, image: httpd}]}
  ---
  apiVersion: v1
  kind: Pod
  metadata: {name: mid, labels: {app: mid, tier: back, release: canary}}
  spec: {restartPolicy: OnFailure, containers: [{name: one, image: "httpd:2"}]}
create -f pods.yml
"""

SCRIPTS = {
    "read-pods": f"""{PODS}
get pods -l 'tier in (front,back),release'
get pods -l 'tier notin (front),release!=canary' -o name
get pods -l '!release' -o name
get pods -l 'release in ()'
get pods -l 'release exists'
get pods -l tier==back,app!=mid -o name
get pods -l 'app in (big,small),tier in (back)' --no-headers
get pods -l app=big -l tier=back
get pods -L tier,release
get pods --show-labels -l tier=back
get pods --label-columns=tier --sort-by=.metadata.labels.tier -o wide
get pods --sort-by='{{.metadata.name}}' -o name
get pods --sort-by=.spec.containers[0].image --no-headers
get pods --sort-by=.status.phase -o name
get pods --sort-by=.status.containerStatuses[0].restartCount
get pods --sort-by=.spec.priority -o custom-columns=N:.metadata.name
get pods --sort-by='{{.metadata'
get pods -o custom-columns=NAME:.metadata.name,PORTS:.spec.containers[*].ports[*].containerPort
get pods -o custom-columns=NAME:.metadata.name,NONE:.nowhere.at.all --no-headers
get pods -o custom-columns=NAME
get pods -o custom-columns=
get pods -o custom-columns='N:.metadata.labels.app,T:.metadata.annotations.kubernetes\\.io/description'
file columns.txt
  NAME           IMAGE                      HOST
  metadata.name  spec.containers[0].image   spec.hostNetwork
get pods -o custom-columns-file=columns.txt
get pods -o custom-columns-file=nowhere.txt
get pods -o jsonpath='{{.items[*].metadata.name}}'
get pods -o jsonpath='{{.items[-1:].metadata.name}}'
get pods -o jsonpath='{{.items[?(@.spec.restartPolicy=="Never")].metadata.name}}'
get pods -o jsonpath='{{range .items[*]}}{{.metadata.name}}{{"\\t"}}{{.spec.containers[*].image}}{{"\\n"}}{{end}}'
get pods -l app=nothing -o jsonpath='{{.items[9].metadata.name}}'
get pods -o jsonpath-as-json='{{.items[*].metadata.labels}}'
get pods -o jsonpath='{{..containerPort}}'
get pods -o jsonpath='{{.kind}} {{.apiVersion}}'
get pod big -o jsonpath='{{.metadata.annotations.kubernetes\\.io/description}}'
get pod big -o jsonpath='{{.spec.containers[0].resources}}'
get pod big -o template='{{{{.metadata.name}}}} {{{{len .spec.containers}}}}'
get pod big -o go-template='{{{{range .spec.containers}}}}{{{{.name}}}} {{{{.image}}}}{{{{"\\n"}}}}{{{{end}}}}'
get pod big -o go-template='{{{{.nowhere.at.all}}}}'
get pod big -o go-template='{{{{.nowhere'
get pod big -o go-template='{{{{index .metadata.labels "app"}}}}'
get pod big -o kyaml
get pod big small -o name
get pods big small -o wide
get pod/big pod/small --no-headers
get pod big pod/small
get pod,svc big
get po/big svc/nowhere -o name
get pods big big
get pod big -l app=big
get pods --field-selector=metadata.name=big -l tier=back
get pods --field-selector=spec.hostNetwork=true -o name
get pods --field-selector=spec.serviceAccountName=default -o name
get pods --field-selector=spec.schedulerName=default-scheduler,spec.restartPolicy!=Always -o name
get pods --field-selector=status.podIP= -o name
get pods --field-selector=status.nominatedNodeName= -o name
get pods --field-selector=metadata.labels.app=big
get pods --field-selector='status.phase in (Running)'
get pods --field-selector=status.phase==Pending --no-headers
get pods -A --field-selector=metadata.namespace=judged-read-pods,metadata.name=mid --no-headers
get pods --chunk-size=2 --no-headers
get pods --chunk-size=0 -o name
get pods --limit=1
get pods --watch-only --request-timeout=1s
get pods -w --request-timeout=1s
get pods big -w --request-timeout=1s -o name
get pods -o wide --watch --output-watch-events --request-timeout=1s
get pods -w --request-timeout=1s -o jsonpath='{{.metadata.name}}{{"\\n"}}'
get pods big small -w --request-timeout=1s
get pods --request-timeout=abc
get pods --server-print=false
get pods --server-print=false -o wide
get pods --raw /nowhere
get pods --output=json --no-headers -l app=nothing
get pods -o yaml -l app=small
get pods -o json -l app=small
get pods,cm,svc -l app=small
get pods,svc -o name
get pods svc
get all -l tier=front
get all -o name
get all --no-headers
get pods --show-kind
get pods --show-kind --no-headers -l app=mid
get po -n nowhere
get po -n nowhere -o name
get po -n nowhere -o json
get po -n nowhere big
get po -A -l app=big --no-headers
get pods -A big
get pods -f pods.yml
get -f pods.yml -o name
get -f pods.yml pods
get -f nowhere.yml
describe pod big
describe pods -l tier=back
describe pod/small pod/mid
describe pod nowhere
describe pod b
describe pod sma
describe -f pods.yml --show-events=false
describe pods -A -l app=mid
describe po,svc -l app=nothing
describe nowhere
describe
logs nowhere
delete -f pods.yml
delete -f pods.yml --ignore-not-found
""",
    "read-events": """
file events.yml
  apiVersion: v1
  kind: Event
  metadata: {name: first}
  involvedObject: {kind: Pod, name: web, namespace: judged-read-events, fieldPath: "spec.containers{web}"}
  reason: Pulling
  message: Pulling image
  type: Normal
  count: 3
  firstTimestamp: "2024-01-01T00:00:00Z"
  lastTimestamp: "2024-01-01T00:05:00Z"
  source: {component: kubelet, host: here}
  ---
  apiVersion: v1
  kind: Event
  metadata: {name: second}
  involvedObject: {kind: Service, name: web, namespace: judged-read-events, apiVersion: v1}
  reason: FailedToUpdate
  message: |
    two
    lines
  type: Warning
  firstTimestamp: "2024-01-01T00:01:00Z"
  lastTimestamp: "2024-01-01T00:01:00Z"
  source: {component: endpoint-slice-controller}
  ---
  apiVersion: events.k8s.io/v1
  kind: Event
  metadata: {name: third}
  regarding: {kind: Pod, name: other, namespace: judged-read-events}
  reason: Scheduled
  note: it was placed
  type: Normal
  action: Binding
  eventTime: "2024-01-01T00:02:00.000000Z"
  reportingController: default-scheduler
  reportingInstance: here
create -f events.yml
get events --sort-by=.metadata.name --no-headers | lines .
get events --sort-by=.lastTimestamp -o name
get events --sort-by=.metadata.creationTimestamp -o custom-columns=T:.type | sorted
get events -o wide | sorted
get ev first
get event second -o yaml
get events.events.k8s.io
get events.events.k8s.io third -o yaml
get events.events.k8s.io first -o yaml
get events.v1.events.k8s.io -o name
get events.v1. -o name
get events --field-selector reason=Pulling -o name
get events --field-selector type!=Normal -o name
get events --field-selector involvedObject.kind=Service,involvedObject.name=web -o name
get events --field-selector source=kubelet -o name
get events --field-selector reportingComponent=default-scheduler -o name
get events --field-selector involvedObject.fieldPath='spec.containers{web}' -o name
get events --field-selector involvedObject.apiVersion=v1 -o name
get events --field-selector message=x
get events.events.k8s.io --field-selector regarding.kind=Pod -o name
get events.events.k8s.io --field-selector involvedObject.kind=Pod -o name
get events -A --field-selector involvedObject.namespace=judged-read-events -o name
events --types=Warning
events --types=normal -o name
events --for=service/web
events --for=nowhere
events --for=svc/nowhere
events --types=Bad
events -o json | lines "(reason|kind|name)":
events --no-headers | sorted
events -A --for pod/web
describe event first
describe events.events.k8s.io third
delete event first --wait=false
delete events --field-selector type=Warning
get events -o name
create -f events.yml -n default
delete events third -n default
delete events --all
""",
    "read-discovery": f"""
api-resources --namespaced=true --verbs=list,get --no-headers | lines {SERVED}
api-resources --api-group= --no-headers -o name | lines ^(pods|services|nodes|events|secrets)$
api-resources --api-group=discovery.k8s.io
api-resources --api-group=coordination.k8s.io -o name | lines ^leases
api-resources --api-group=nowhere
api-resources --sort-by=name --no-headers | lines {SERVED}
api-resources --sort-by=kind --no-headers | lines {SERVED}
api-resources --sort-by=age
api-resources --categories=all -o name | lines ^(pods|services|deployments|replicasets)
api-resources -o yaml | lines ^nothing$
api-resources nowhere
api-resources --cached=true --api-group=apps --no-headers | lines {SERVED}
api-versions nowhere
cluster-info dump nowhere
cluster-info nowhere
version -o json | lines major|minor|platform
version -o nowhere
version --short
auth whoami -o yaml
auth whoami -o jsonpath={{.status.userInfo.username}}
auth can-i list pods -A
auth can-i get pods/log
auth can-i delete nodes
auth can-i nowhere pods
auth can-i get nowhere
auth can-i create deployments.apps -q
auth can-i get /healthz
auth can-i
auth can-i create pods --as=nobody --as-group=system:masters
config view --minify -o jsonpath={{.contexts[0].context.namespace}}
config set-context --current --namespace=elsewhere | lines ^$
get pods
config set-context --current --namespace=judged-read-discovery | lines ^$
config use-context nowhere
explain pods --depth=1
explain svc.spec.type | lines {SHAPE}
explain deploy.spec.strategy --recursive | lines {SHAPE}
explain deployments.apps | lines {SHAPE}
explain pod.spec.containers.livenessProbe.httpGet | lines {SHAPE}
explain pod.spec.nowhere
explain pod.spec.containers[0]
explain endpoints --recursive | lines {SHAPE}
explain endpointslices.endpoints | lines {SHAPE}
explain node.status.conditions | lines {SHAPE}
explain namespaces.status.phase | lines {SHAPE}
explain secret.data | lines {SHAPE}
explain lease.spec | lines {SHAPE}
explain event.involvedObject | lines {SHAPE}
explain events --api-version=events.k8s.io/v1 | lines {SHAPE}
explain events.events.k8s.io --api-version=events.k8s.io/v1 | lines {SHAPE}
explain rs.spec.selector.matchExpressions | lines {SHAPE}
explain sa | lines {SHAPE}
explain netpol.spec.ingress | lines {SHAPE}
explain pods --api-version=apps/v1
explain deploy --api-version=apps/v1 --output=plaintext-openapiv2
explain
get --raw /api/v1/namespaces/default/services/kubernetes | lines ^$
get --raw /api/v1/namespaces/judged-read-discovery/pods?limit=1
get --raw /api/v1/namespaces/judged-read-discovery/pods/nowhere
get --raw /apis/apps/v1/deployments?labelSelector=a=b
get --raw /version | lines ^.$|"(major|minor|platform)"
get --raw /openapi/v3 | lines ^$
get --raw /openapi/v3/apis/nowhere/v1
get --raw '/livez?pretty=1'
get --raw '/api/v1/namespaces/nowhere?pretty=1'
get --raw '/api/v1/namespaces/judged-read-discovery/pods?pretty=1' | lines ^.$|"(kind|items)"
get --raw '/apis/apps/v1?pretty=true' | lines ^.$|groupVersion
get --raw /livez/ping
get --raw /readyz/nowhere
get --raw /healthz/etcd
get --raw /livez?verbose=1 | lines livez.check.passed
get --raw /api/v2
get --raw /apis/apps/v1beta1
get --raw /apis/apps/v1/nowhere
get --raw nowhere
get --raw / | lines ^.$|"/(version|api)"
create --raw /api/v1/namespaces/nowhere/configmaps -f nowhere.yml
delete --raw /api/v1/namespaces/judged-read-discovery/configmaps/nowhere
top nodes
top pods
top pod nowhere
proxy --port=-1
options | lines --kubeconfig
plugin list
completion bash | lines ^$
alpha
get daemonsets,statefulsets
get pv
get po,deploy,rs,svc,ep,cm,secret,ev -o name --ignore-not-found -l a=b
get pods.v1
get pods.apps
get deployments.v1beta1.apps
get Deployment,Service,ConfigMap -l a=b
get POD -l a=b
get pod/
get /pod
get pod//x
get pod,
get svc/a,svc/b
""",
    "read-raw": """
file all.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web, labels: {z: a, b: c}, annotations: {n: "1", a: "2"}}
  spec:
    selector: {matchLabels: {app: web}}
    replicas: 0
    template:
      metadata: {labels: {b: x, app: web}}
      spec:
        volumes: [{emptyDir: {}, name: v}, {name: s, secret: {secretName: s}}]
        initContainers: [{image: b, name: i}]
        containers:
        - image: nginx
          name: web
          env: [{value: b, name: A}]
          ports: [{name: http, containerPort: 80}]
          readinessProbe: {periodSeconds: 2, httpGet: {port: http, path: /}}
          resources: {requests: {memory: 1Gi, cpu: 1}, limits: {memory: 1Gi}}
          volumeMounts: [{mountPath: /v, name: v}]
  ---
  apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec: {type: LoadBalancer, externalTrafficPolicy: Local, sessionAffinity: ClientIP, clusterIP: 10.96.0.61, ports: \
[{port: 80, name: b, nodePort: 30191}, {nodePort: 30192, targetPort: x, port: 81, name: a}], selector: {b: c, a: b}, \
healthCheckNodePort: 30193}
  ---
  apiVersion: v1
  kind: Pod
  metadata: {name: web}
  spec: {tolerations: [{operator: Exists, key: a}], restartPolicy: Never, containers: [{image: x, name: a}]}
  ---
  apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web}
  endpoints: [{conditions: {serving: true, ready: true}, addresses: [10.1.1.1], nodeName: a}]
  ports: [{port: 80, name: a}]
  addressType: IPv4
  ---
  apiVersion: v1
  kind: Endpoints
  metadata: {name: other}
  subsets: [{ports: [{port: 80}], addresses: [{nodeName: n, ip: 10.1.1.1}]}]
  ---
  apiVersion: v1
  kind: Secret
  metadata: {name: web}
  stringData: {b: c, a: b}
  type: Opaque
  ---
  apiVersion: coordination.k8s.io/v1
  kind: Lease
  metadata: {name: web}
  spec: {renewTime: "2024-01-01T00:00:00.000000Z", holderIdentity: me}
create -f all.yml --save-config
get --raw /apis/apps/v1/namespaces/judged-read-raw/deployments/web
get --raw /apis/apps/v1/namespaces/judged-read-raw/deployments/web/scale
get --raw /apis/apps/v1/namespaces/judged-read-raw/deployments/web/status
get --raw /api/v1/namespaces/judged-read-raw/services/web
get --raw /api/v1/namespaces/judged-read-raw/services?limit=500
get --raw /api/v1/namespaces/judged-read-raw/pods/web
get --raw /apis/discovery.k8s.io/v1/namespaces/judged-read-raw/endpointslices/web
get --raw /api/v1/namespaces/judged-read-raw/endpoints/other
get --raw /api/v1/namespaces/judged-read-raw/secrets/web
get --raw /apis/coordination.k8s.io/v1/namespaces/judged-read-raw/leases/web
get --raw /api/v1/namespaces/judged-read-raw/serviceaccounts
get --raw /api/v1/namespaces/judged-read-raw
get --raw /api/v1/namespaces/default/services/kubernetes
patch svc web --type=merge -p '{"spec":{"type":"ClusterIP"}}'
patch svc web -p '{"spec":{"trafficDistribution":"PreferSameNode","selector":{"0":"0"}}}'
get --raw /api/v1/namespaces/judged-read-raw/services/web
patch deploy web --type=json -p '[{"op":"add","path":"/spec/template/spec/containers/0/command","value":["x"]}]'
set resources deploy web --limits=cpu=1
get --raw /apis/apps/v1/namespaces/judged-read-raw/deployments/web
get --raw '/apis/apps/v1/namespaces/judged-read-raw/deployments/web?pretty=1' | lines ^.$|^ {2,4}"(kind|spec|name)"
patch pod web --subresource=status -p '{"status":{"podIP":"10.1.1.1","phase":"Running","conditions":[{"status":"True",\
"type":"Ready"}],"containerStatuses":[{"ready":true,"restartCount":0,"name":"a","imageID":"","image":"x","state":\
{"running":{}}}]}}'
get --raw /api/v1/namespaces/judged-read-raw/pods/web
delete pod web --now --wait=false
delete --raw /apis/apps/v1/namespaces/judged-read-raw/deployments/web
delete --raw /api/v1/namespaces/judged-read-raw/secrets/web
delete --raw /api/v1/namespaces/judged-read-raw/services/web
create --raw /api/v1/namespaces/judged-read-raw/configmaps -f -
replace --raw /api/v1/namespaces/judged-read-raw/configmaps/x -f all.yml
""",
}
