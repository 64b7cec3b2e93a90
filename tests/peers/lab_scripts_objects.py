"""kubectl scripts about everything else: namespaces, configuration, accounts, discovery, output forms, errors."""

from __future__ import annotations

# What our server serves, as `kubectl api-resources` prints it; a real one has more.
SERVED = "^NAME |^(configmaps|endpoints|events|namespaces|nodes|pods|secrets|serviceaccounts|services|deployments|r\
eplicasets|leases|endpointslices|networkpolicies) "

# What `kubectl explain` says without its prose: ours has no descriptions.
SHAPE = "^(GROUP|KIND|VERSION|FIELD)|^ *enum|\t<"

SCRIPTS = {
    "configmap-secret": """
create configmap web --from-literal=a=1 --from-literal=b=2
get cm web
get cm web -o yaml
get configmap web -o jsonpath={.data.a}
describe cm web
create configmap web --from-literal=a=1
file app.properties
  color=red
  size=2
create cm file --from-file=app.properties
get cm file -o yaml
create cm env --from-env-file=app.properties
get cm env -o json
create cm bad --from-literal='a b=1'
create cm Bad
create secret generic pass --from-literal=password=s3cret
get secret pass
get secret pass -o yaml
describe secret pass
create secret generic typed --from-literal=a=b --type=example.com/kind
create secret tls t --cert=nowhere --key=nowhere
create secret docker-registry reg --docker-server=r.example --docker-username=u --docker-password=p
get secrets
get secret reg -o jsonpath={.type}
patch cm web --type=merge -p '{"data":{"c":"3","a":null}}'
get cm web -o jsonpath={.data}
patch cm web --type=merge -p '{"immutable":true}'
patch cm web --type=merge -p '{"data":{"c":"4"}}'
patch cm web --type=merge -p '{"immutable":false}'
patch cm web --type=merge -p '{"data":{"n":4}}'
patch cm web -p 'c: 5'
patch secret pass -p '{"data":{"password":"not base64!"}}'
patch secret pass -p '{"stringData":{"password":"plain"}}'
get secret pass -o jsonpath={.data.password}
patch secret pass -p '{"type":"other"}'
file bad.yml
  apiVersion: v1
  kind: Secret
  metadata: {name: tls}
  type: kubernetes.io/tls
  data: {}
apply -f bad.yml
file cm.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: applied, labels: {a: "1"}, annotations: {b: "2"}}
  data: {one: "1", two: "2"}
apply -f cm.yml
file cm.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: applied, labels: {c: "3"}}
  data: {two: "2", three: "3"}
apply -f cm.yml
get cm applied -o yaml
annotate cm applied kubectl.kubernetes.io/last-applied-configuration-
apply -f cm.yml
create -f cm.yml --save-config
replace -f cm.yml
file cm.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: applied, resourceVersion: "1"}
  data: {two: "2"}
replace -f cm.yml
apply -f cm.yml
file cm.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: applied, uid: 11111111-1111-4111-8111-111111111111}
replace -f cm.yml
file cm.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: absent}
replace -f cm.yml
file list.yml
  apiVersion: v1
  kind: List
  items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: l1}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: l2}}
apply -f list.yml
get cm -o name
get cm l1 l2 nowhere
get cm --sort-by=.metadata.name --no-headers
delete cm l1 l2 nowhere
delete cm --all
delete secrets --field-selector type=Opaque
get secrets -o name
""",
    "namespace": """
create namespace judged-extra
get ns judged-extra
get namespace judged-extra -o yaml
describe ns judged-extra
create namespace judged-extra
create ns Bad_Name
create ns aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
create cm one --from-literal=a=b -n judged-extra
create cm one --from-literal=a=b -n nowhere
get cm -n nowhere
get pods -n judged-extra
label ns judged-extra team=a
get ns -l team=a
get cm -A --field-selector metadata.name=one
delete ns judged-extra
get ns judged-extra
get cm -n judged-extra
delete ns nowhere
delete ns default
delete ns kube-system
get ns default kube-system kube-public kube-node-lease -o name
get svc -n default kubernetes -o yaml
get svc -A -l component=apiserver
get endpoints -n default kubernetes
get endpointslices -n default kubernetes
describe svc kubernetes -n default
""",
    "service-account": """
wait sa default --for=jsonpath={.metadata.name}=default --timeout=10s
get sa
get sa default -o yaml
create sa robot
create serviceaccount robot
get sa robot -o yaml
describe sa robot
create token robot
create token nobody
create token robot --duration=1s
create token robot --duration=1h
delete sa robot
""",
    "discovery": f"""
api-resources --no-headers | lines {SERVED}
api-resources --api-group=apps -o name | lines ^(deployments|replicasets)
api-resources --namespaced=false -o name | lines ^(nodes|namespaces)$
api-resources -o wide --no-headers | lines {SERVED}
api-versions | lines ^(v1|apps/v1|discovery.k8s.io/v1|coordination.k8s.io/v1|networking.k8s.io/v1)$
cluster-info
auth whoami
auth can-i create pods
auth can-i '*' '*'
get --raw /healthz
get --raw /readyz
get --raw /livez
get --raw /nowhere
get --raw /api
get --raw /apis/apps
get --raw /apis/nowhere
get --raw /api/v1/nowhere
get nowhere
get nowhere.apps
get deploymen
get po,nowhere
get pods pod1 svc1/x
explain service --depth=0
explain nowhere
explain service.nowhere
version --client
completion nowhere
get pod -o nowhere
get
create
apply
nowhere
get pods --nowhere
""",
    "output": """
create cm one --from-literal=a=1
create cm two --from-literal=a=2
label cm one app=x tier=front
label cm two app=y tier=front
get cm one two
get cm -l tier=front -o name
get cm -l app=x,tier=front -o name
get cm -l 'app in (x,y)' -o name
get cm -l 'app notin (x)' -l tier -o name
get cm -l app,tier -L app -L tier
get cm -l 'app=x y'
get cm -l 'app>3'
get cm -l '=x'
get cm --field-selector metadata.name=one -o name
get cm --field-selector metadata.name!=one -l tier -o name
get cm --field-selector metadata.namespace=default -o name
get cm --field-selector data.a=1
get cm --field-selector metadata.name
get cm one -o yaml --show-managed-fields=false
get cm one -o json
get cm one -o jsonpath='{.data}'
get cm one -o jsonpath='{.data.nowhere}'
get cm one -o jsonpath='{.data.'
get cm one -o go-template='{{.data.a}}'
get cm one -o custom-columns=A:.data.a,B:.data.b
get cm one -o name
get cm one -o wide
get cm one --output-watch-events --watch --request-timeout=1s
get cm one --ignore-not-found
get cm nowhere --ignore-not-found
get cm nowhere
get cm/one secret/nowhere
get configmaps.v1. one -o name
get cm -l nothing=here
get cm -l nothing=here -o yaml
get cm -l nothing=here -o json
get cm -l tier -o yaml
get events
get all
get pods -A -l nothing=here
get lease
get netpol
get limits
events
label cm one app=z
label cm one app=z --overwrite --dry-run=client
label cm one app=z --overwrite --dry-run=server
label cm one --list | sorted
label cm -l tier=front more=labels
label cm one app=w --resource-version=1 --overwrite
delete cm one --dry-run=client
delete cm one --dry-run=server
get cm one -o name
delete cm -l tier=front --wait=false
delete all --all
delete pods --all
delete cm nowhere --ignore-not-found
delete cm one/two
delete cm one -l a=b
""",
    "explain": f"""
explain service.spec.ports | lines {SHAPE}
explain pod.spec.containers.image | lines {SHAPE}
explain deployment.spec.replicas | lines {SHAPE}
explain configmap | lines {SHAPE}
explain endpointslice.endpoints.conditions | lines {SHAPE}
""",
    "names": """
create cm aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
create cm -a
create cm a..b
create cm a.b
create cm a_b
create cm 'a b'
create cm ümlaut
create service clusterip aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --tcp=80
create service clusterip a.b --tcp=80
create sa A
create deployment aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --image=x\
 --replicas=0
run a.b --image=x
run '' --image=x
file labels.yml
  apiVersion: v1
  kind: ConfigMap
  metadata:
    name: labels
    labels: {"bad key": x, a/b/c: x, "": x, -a: x, UPPER.example.com/x: y, a: "bad value", b:\
 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
    annotations: {"bad key": x}
    finalizers: [bad, a/b]
apply -f labels.yml
file owners.yml
  apiVersion: v1
  kind: ConfigMap
  metadata:
    name: owners
    ownerReferences: [{apiVersion: v1, kind: "", name: "", uid: ""}]
apply -f owners.yml
file numbers.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: 1, labels: {a: 1, b: true}}
apply -f numbers.yml
file final.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: final, finalizers: [example.com/hold]}
apply -f final.yml
delete cm final --wait=false
get cm final -o yaml
delete cm final --timeout=1s
patch cm final --type=merge -p '{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}'
patch cm final --type=merge -p '{"metadata":{"finalizers":null}}'
get cm final
""",
    "others": """
file lease.yml
  apiVersion: coordination.k8s.io/v1
  kind: Lease
  metadata: {name: l}
  spec: {holderIdentity: me, leaseDurationSeconds: 10}
apply -f lease.yml
get lease
get lease l -o yaml
describe lease l
file bad.yml
  apiVersion: coordination.k8s.io/v1
  kind: Lease
  metadata: {name: b}
  spec: {leaseDurationSeconds: -1, leaseTransitions: -1}
apply -f bad.yml
file policy.yml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny}
  spec: {podSelector: {}, policyTypes: [Ingress]}
apply -f policy.yml
get netpol
get netpol deny -o yaml
describe netpol deny
file event.yml
  apiVersion: v1
  kind: Event
  metadata: {name: e}
  involvedObject: {kind: Pod, name: web, namespace: judged-others}
  reason: Started
  message: It runs
  type: Normal
create -f event.yml
get events
get events -o wide
get event e -o yaml
get events --field-selector involvedObject.name=web
get events --field-selector type=Warning
get events --field-selector involvedObject.kind=Pod,reason=Started -o name
events
events --for pod/web
file event.yml
  apiVersion: v1
  kind: Event
  metadata: {name: f}
  involvedObject: {kind: Pod, name: web, namespace: elsewhere}
create -f event.yml
delete events --all
apply -f lease.yml --server-side
""",
}
