"""kubectl scripts of people who run things: label, scale, roll out, wait, drain, patch, delete. No controllers here.

Each script starts in an empty namespace of its own. See `lab_judge.lines_of` for the form.
"""

from __future__ import annotations

DEPLOYMENT = """
create deployment web --image=nginx --replicas=2 --port=80
"""

SCRIPTS = {
    "operate-labels": """
create cm one --from-literal=a=1
create cm two --from-literal=a=2
label cm --all a=1
label cm --all a=1
label cm --all a=2
label cm one two a=2 --overwrite
label cm one a-
label cm one a- b-
label cm one b=1 b-
label cm one b=1 c=2 d=
label cm one b=1 b=2
label cm one
label cm a=b
label cm one =b
label cm one a=
label cm one example.com/x=y
label cm one example.com/=y
label cm one 'a=b c'
label cm one aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1
label cm -l a=2 x=y
label cm -l a=2 --list | sorted
label cm --all --list | sorted
label cm one x=y --dry-run=server -o name
label cm one x=z --dry-run=server
label cm one x=z --dry-run=client -o yaml
label cm one x=y -o jsonpath={.metadata.labels}
label cm one resourceVersion=1
label cm one r=1 --resource-version=99999999
label cm one two r=1 --resource-version=1
label cm one x=w --overwrite --field-manager=me
label -f nowhere.yml a=b
label cm nowhere a=b
label nowhere one a=b
label cm/one cm/two z=1
label cm,secret --all t=u
label cm --field-selector metadata.name=one only=one
label --local -f nowhere.yml a=b
label ns default nothing-
annotate cm one a=b c='d e f'
annotate cm one a=b
annotate cm one a=z
annotate cm one a=z --overwrite
annotate cm one a-
annotate cm one a- c-
annotate cm one 'bad key=x'
annotate cm one kubectl.kubernetes.io/last-applied-configuration=nonsense
file cm.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: one}
  data: {a: "3"}
apply -f cm.yml
annotate cm one --list
annotate cm --all --list | sorted
annotate cm one x=1 --resource-version=1
annotate -f cm.yml from=file
annotate cm nowhere a=b
annotate cm --all all=true --dry-run=server
get cm --show-labels
get cm one -o jsonpath={.metadata.annotations}
""",
    "operate-deployment": f"""{DEPLOYMENT}
scale deploy web
scale deploy web --replicas=abc
scale deploy/web --replicas=3 --current-replicas=2
scale deploy web --replicas=4 --dry-run=server
scale deploy web --replicas=4 --dry-run=client
scale deploy web --replicas=4 -o name
scale deploy web nowhere --replicas=4
scale svc web --replicas=2
scale deploy -l app=web --replicas=1
scale deploy -l app=nothing --replicas=1
scale --replicas=2 deployment.apps/web -o jsonpath={{.spec.replicas}}
get deploy web --subresource=scale -o jsonpath={{.status}}
get deploy web --subresource=nowhere
autoscale deployment nowhere --max=3 --cpu=50%
rollout status deploy/web --watch=false
rollout status deploy nowhere
rollout status rs/web
rollout status svc/web
rollout history deploy/web --revision=3
rollout history deploy nowhere
rollout history deploy
rollout undo deploy/web --to-revision=5
rollout undo deploy/web --dry-run=server
rollout restart deploy
rollout restart deploy nowhere
rollout restart svc/web
rollout pause deploy/web
rollout restart deploy/web
rollout undo deploy/web
rollout status deploy/web --timeout=1s
rollout resume deploy/web
rollout resume deploy/web
rollout nowhere deploy/web
set image deploy/web nginx=nginx:1.26 --record
get deploy web -o jsonpath={{.metadata.annotations}}
set image deploy/web *=busybox
set image deploy web nginx=
set image deploy web nginx
set image deploy/web nginx=nginx:1.27 --dry-run=server -o jsonpath={{.spec.template.spec.containers[0].image}}
set image deploy/web nginx=nginx:1.27 --local -o yaml
set image deploy --all nginx=nginx:1.28
set image deploy nowhere nginx=x
set image -f nowhere.yml nginx=x
set image svc/web nginx=x
set env deploy/web A=1 B=2
set env deploy/web A-
set env deploy/web --list
set env deploy/web A=1 --containers=nowhere
set env deploy/web 'A B=1'
set env deploy/web 1A=1
set env deploy --all C=3
set env deploy/nowhere A=1
create cm conf --from-literal=other-key=x
set env deploy/web --from=cm/conf
set env deploy/web --from=cm/conf --prefix=P_
set env deploy/web --from=secret/nowhere
set env deploy/web --list --resolve
set resources deploy web --limits=cpu=1
set resources deploy web --requests=cpu=2
set resources deploy web --limits=cpu=0,memory=0
set resources deploy web
set resources deploy web --limits=cpu=abc
set resources deploy web --limits=apples=1
set resources deploy nowhere --limits=cpu=1
set serviceaccount deploy web robot
set sa deploy web
set selector deploy web app=x
set nowhere
get deploy web -o yaml
patch deploy web -p '{{"spec":{{"template":{{"spec":{{"containers":[{{"image":"x"}}]}}}}}}}}'
patch deploy web -p '{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"nginx","image":null}}]}}}}}}}}'
patch deploy web -p '{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"nginx","env":[{{"name":"A",\
"value":"9"}},{{"name":"B","$patch":"delete"}}]}}]}}}}}}}}'
patch deploy web -p '{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"nginx","env":null,"envFrom":null,\
"ports":[{{"containerPort":81}}]}}]}}}}}}}}'
patch deploy web -p '{{"spec":{{"template":{{"spec":{{"tolerations":[{{"key":"a","operator":"Exists"}}],\
"initContainers":[{{"name":"i","image":"b"}}],"volumes":[{{"name":"v","emptyDir":{{}}}}]}}}}}}}}'
patch deploy web -p '{{"spec":{{"template":{{"spec":{{"volumes":[{{"name":"v","configMap":{{"name":"c"}}}}]}}}}}}}}'
patch deploy web -p '{{"spec":{{"template":{{"spec":{{"volumes":[{{"name":"v","$retainKeys":["name","configMap"],\
"configMap":{{"name":"c"}}}}]}}}}}}}}'
patch deploy web -p '{{"spec":{{"strategy":{{"rollingUpdate":{{"maxSurge":"0%","maxUnavailable":0}}}}}}}}'
patch deploy web -p '{{"spec":{{"strategy":{{"rollingUpdate":{{"maxSurge":"30%","maxUnavailable":"x"}}}}}}}}'
patch deploy web -p '{{"spec":{{"strategy":{{"rollingUpdate":{{"maxSurge":2}}}},"minReadySeconds":5}}}}'
patch deploy web -p '{{"spec":{{"replicas":null}}}}'
patch deploy web -p '{{"spec":{{"selector":null}}}}'
patch deploy web -p '{{"spec":{{"template":null}}}}'
patch deploy web -p '{{"status":{{"replicas":5}}}}'
patch deploy web --subresource=status -p '{{"status":{{"replicas":5,"readyReplicas":9}}}}'
patch deploy web --subresource=status -p '{{"status":{{"replicas":5,"readyReplicas":4,"updatedReplicas":5,"available\
Replicas":3,"unavailableReplicas":2,"observedGeneration":99}}}}'
patch deploy web --subresource=status -p '{{"spec":{{"replicas":8}}}}'
patch deploy web --subresource=scale --type=merge -p '{{"spec":{{"replicas":-1}}}}'
patch deploy web --subresource=scale -p '{{"spec":{{"replicas":2}}}}'
patch deploy web --subresource=scale --type=json -p '[{{"op":"replace","path":"/spec/replicas","value":3}}]'
get deploy
get deploy web -o wide
describe deploy web
get deploy web -o yaml
delete deploy web --cascade=orphan --wait=false
create deployment web --image=nginx --replicas=0 --dry-run=server -o name
get deploy
""",
    "operate-nodes": """
file nodes.yml
  apiVersion: v1
  kind: Node
  metadata: {name: operated-a, labels: {disk: ssd}}
  spec: {podCIDR: 10.99.1.0/24, providerID: a://b}
  ---
  apiVersion: v1
  kind: Node
  metadata: {name: operated-b}
apply -f nodes.yml
get nodes -l disk=ssd
get nodes operated-a operated-b --show-labels
get no -o wide -l disk
get nodes --sort-by=.metadata.name -o name -l disk
get nodes -l disk=ssd -o jsonpath={.items[*].spec.taints[*].key}
describe nodes operated-a
cordon operated-a operated-b
cordon operated-a --dry-run=server
cordon nowhere
cordon -l disk=ssd
uncordon operated-b --dry-run=client
uncordon operated-a operated-b
uncordon -l disk=nothing
taint nodes operated-a a=b:NoSchedule c=d:NoExecute e:PreferNoSchedule
taint nodes operated-a a=z:NoSchedule
taint nodes operated-a a=z:NoSchedule --overwrite
taint nodes operated-a a:NoSchedule-
taint nodes operated-a a:NoSchedule-
taint nodes operated-a c=d:NoExecute-
taint nodes operated-a e-
taint nodes operated-a nothing-
taint nodes operated-a bad
taint nodes operated-a a=b:Bad
taint nodes operated-a 'a b=c:NoSchedule'
taint nodes operated-a a=b:NoSchedule a-
taint nodes -l disk=ssd l=m:NoSchedule
taint nodes --all all=x:NoSchedule --dry-run=server
taint pods operated-a a=b:NoSchedule
get node operated-a -o jsonpath={.spec}
file pod.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: bare}
  spec: {nodeName: operated-a, terminationGracePeriodSeconds: 0, containers: [{name: a, image: x}]}
create -f pod.yml
file owned.yml
  apiVersion: v1
  kind: Pod
  metadata:
    name: owned
    ownerReferences:
    - {apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: 11111111-1111-4111-8111-111111111111, controller: true}
  spec:
    nodeName: operated-a
    terminationGracePeriodSeconds: 0
    volumes: [{name: v, emptyDir: {}}]
    containers: [{name: a, image: x}]
create -f owned.yml
get pods -o wide
get pods --field-selector spec.nodeName=operated-a -o name
describe node operated-a
drain operated-a --dry-run=client
drain operated-a --dry-run=server
drain operated-a
drain operated-a --force
drain operated-a --force --ignore-daemonsets --delete-emptydir-data --timeout=10s
get pods
drain operated-a --ignore-daemonsets --pod-selector=a=b
drain nowhere --force
drain
drain operated-a operated-b --force --ignore-daemonsets --disable-eviction
uncordon operated-a
label node operated-a node-role.kubernetes.io/control-plane= node-role.kubernetes.io/worker=
get node operated-a
label node operated-a kubernetes.io/role=old
get node operated-a
patch node operated-a --subresource=status -p '{"status":{"capacity":{"cpu":"4","memory":"8Gi","pods":"110"},\
"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"Unknown","reason":\
"NodeStatusUnknown","message":"gone"}],"addresses":[{"type":"InternalIP","address":"192.168.56.12"},{"type":\
"ExternalIP","address":"1.2.3.4"},{"type":"Hostname","address":"operated-a"}],"nodeInfo":{"kubeletVersion":"v1.36.3",\
"osImage":"Debian","kernelVersion":"6.1","containerRuntimeVersion":"containerd://1.7","architecture":"amd64",\
"operatingSystem":"linux"}}}'
get nodes operated-a -o wide
describe node operated-a
get nodes -o jsonpath='{.items[?(@.metadata.name=="operated-a")].status.addresses[?(@.type=="InternalIP")].address}'
get nodes operated-a -o custom-columns=N:.metadata.name,CPU:.status.capacity.cpu,T:.spec.taints[*].key
get nodes --field-selector metadata.name=operated-a,spec.unschedulable=false -o name
get nodes --field-selector spec.podCIDR=x
wait node operated-a --for=condition=Ready=Unknown --timeout=2s
wait node/operated-a --for=jsonpath='{.status.nodeInfo.kubeletVersion}'=v1.36.3 --timeout=2s
patch node operated-a --type=json -p '[{"op":"remove","path":"/spec/taints"}]'
patch node operated-a -p '{"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}}'
patch node operated-a -p '{"spec":{"podCIDR":null}}'
patch node operated-a -p '{"spec":{"podCIDRs":["10.99.1.0/24","10.99.2.0/24"]}}'
patch node operated-a -p '{"spec":{"providerID":"c://d"}}'
patch node operated-b -p '{"spec":{"podCIDR":"10.99.5.0/24"}}'
get node operated-b -o jsonpath={.spec.podCIDRs}
replace -f nodes.yml
apply -f nodes.yml
get lease -n kube-node-lease operated-a
top node operated-a
delete node operated-a operated-b nowhere
get pods --field-selector spec.nodeName=operated-a
""",
    "operate-wait-delete": """
create cm one --from-literal=a=1
create cm two --from-literal=a=2
create cm three --from-literal=a=3
create deployment web --image=nginx --replicas=0
run pod --image=nginx --labels=app=pod
run other --image=nginx --labels=app=pod
wait cm one --for=create --timeout=1s
wait cm nowhere --for=create --timeout=1s
wait cm one --for=jsonpath={.data.a}=1 --timeout=1s
wait cm one --for=jsonpath={.data.a}=2 --timeout=1s
wait cm one --for=jsonpath={.data.nowhere}=2 --timeout=1s
wait cm one --for='jsonpath={.data.a}' --timeout=1s
wait cm one --for=jsonpath='{.data[*]}'=1 --timeout=1s
wait cm one --for=jsonpath={.data --timeout=1s
wait cm one --for=condition=Ready --timeout=1s
wait cm one --for=delete --timeout=2s
wait cm nowhere --for=delete --timeout=1s
wait cm -l a=b --for=delete --timeout=1s
wait cm -l a=b --for=condition=x --timeout=1s
wait cm --all --for=jsonpath={.kind}=ConfigMap --timeout=1s
wait cm one two --for=jsonpath={.kind}=ConfigMap --timeout=1s -o name
wait cm one
wait cm one --for=nonsense
wait cm one --for=condition=
wait deploy web --for=condition=available --timeout=1s
wait deploy/web --for=jsonpath={.spec.replicas}=0 --timeout=1s
wait pod -l app=pod --for=condition=Ready --timeout=0
wait pod/pod --for=jsonpath={.status.phase}=pending --timeout=1s
wait pod/pod --for=jsonpath={.status.phase}=Pending --timeout=1s
wait ns judged-operate-wait-delete --for=jsonpath={.status.phase}=Active --timeout=1s
wait nowhere --for=delete
wait cm/one cm/two --for=delete --timeout=2s
delete cm
delete cm --all --dry-run=client
delete cm --all --dry-run=server -o name
delete cm one --wait=true --timeout=5s
delete cm one two
delete cm/three cm/three
delete cm three --ignore-not-found -o name
delete pod pod --grace-period=-1
delete pod pod --grace-period=0
delete pod other --now --wait=false
delete pod other --force --now
run again --image=nginx --labels=app=again
delete pod again --grace-period=5 --force
run again --image=nginx --labels=app=again
delete pod again --grace-period=1 --now
delete pod -l app=again --force
delete po,svc -l app=again
delete po,svc --all
delete deploy web --cascade=sometimes
delete deploy web --cascade=true
delete deploy/web svc/nowhere
delete all
delete all --all
delete all -l app=x
delete --all
delete cm -l a=b --all
delete cm -l 'a in ('
delete cm --field-selector metadata.name=nothing
delete nowhere --all
delete -f nowhere.yml
delete pod/x pod y
delete secret x -n nowhere
delete cm kube-root-ca.crt --ignore-not-found
delete ns kube-public
delete ns nowhere --ignore-not-found
delete sa default
create deployment web --image=nginx --replicas=0
create service clusterip web --tcp=80
delete deploy,svc web
create service clusterip web --tcp=80
delete svc -l app=web
delete svc --all -A --dry-run=server -l app=web
delete --raw /api/v1/namespaces/judged-operate-wait-delete/configmaps/nowhere
file many.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: m1, labels: {g: m}, finalizers: [example.com/x]}
  ---
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: m2, labels: {g: m}}
create -f many.yml
delete -f many.yml --timeout=2s
get cm m1 -o jsonpath={.metadata.finalizers}
annotate cm m1 x=y
label cm m1 finalized=yes
get cm -l g=m
delete cm m1 --wait=false
apply -f many.yml
create -f many.yml
replace --force -f many.yml --timeout=2s
patch cm m1 --type=json -p '[{"op":"remove","path":"/metadata/finalizers"}]'
get cm -l g=m -o name
wait cm m1 --for=delete --timeout=2s
file owned.yml
  apiVersion: v1
  kind: ConfigMap
  metadata:
    name: owned
    ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: nobody, uid: ""}]
create -f owned.yml
file owned.yml
  apiVersion: v1
  kind: ConfigMap
  metadata:
    name: owned
    ownerReferences:
    - {apiVersion: v1, kind: ConfigMap, name: a, uid: "1", controller: true}
    - {apiVersion: v1, kind: ConfigMap, name: b, uid: "2", controller: true}
    - {apiVersion: v1, kind: Event, name: c, uid: "3"}
    - {apiVersion: v1/x/y, kind: Event, name: c, uid: "3", blockOwnerDeletion: "x"}
create -f owned.yml
file owned.yml
  apiVersion: v1
  kind: ConfigMap
  metadata:
    name: owned
    ownerReferences:
    - {apiVersion: v1, kind: ConfigMap, name: a, uid: "1", controller: true}
    - {apiVersion: v1, kind: ConfigMap, name: b, uid: "2", controller: true}
    - {apiVersion: v1, kind: Event, name: c, uid: "3"}
    - {apiVersion: v1/x/y, kind: Event, name: c, uid: "3"}
create -f owned.yml
file gen.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {generateName: gen-, labels: {g: gen}}
create -f gen.yml
create -f gen.yml -o name
get cm -l g=gen
apply -f gen.yml
replace -f gen.yml
delete -f gen.yml
file gen.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {generateName: Bad_Gen-}
create -f gen.yml
file gen.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: both, generateName: gen-}
create -f gen.yml
get cm both -o yaml
""",
    "operate-edit": """
create service nodeport web --tcp=80:8080 --node-port=30161
KUBE_EDITOR='sed -i s/NodePort/LoadBalancer/' edit svc web
KUBE_EDITOR='sed -i s/30161/30162/' edit svc/web
KUBE_EDITOR='sed -i s/30162/80/' edit svc/web
KUBE_EDITOR='sed -i s/protocol:.TCP/protocol:\\ tcp/' edit svc/web
KUBE_EDITOR='sed -i s/selector/selektor/' edit svc web
KUBE_EDITOR='sed -i s/name:.web/name:\\ new/' edit svc web
KUBE_EDITOR='sed -i s/kind:.Service/kind:\\ Pod/' edit svc web
KUBE_EDITOR='sed -i /spec:/d' edit svc web
KUBE_EDITOR='sed -i d' edit svc web
KUBE_EDITOR='sed -i s/uid:.*/uid:\\ x/' edit svc web
KUBE_EDITOR='sed -i s/resourceVersion:.*/resourceVersion:\\ "1"/' edit svc web
KUBE_EDITOR='sed -i s/port:.80/port:\\ x/' edit svc web
KUBE_EDITOR='sed -i s/8080/9090/' edit svc web --output-patch
KUBE_EDITOR='sed -i s/9090/9091/' edit svc web -o name
KUBE_EDITOR='sed -i s/9091/9092/' edit svc web --windows-line-endings
KUBE_EDITOR='sed -i s/9092/9093/' edit svc web --save-config
KUBE_EDITOR='sed -i s/9093/9094/' edit svc web --validate=false
get svc web -o yaml
create service clusterip two --tcp=80
KUBE_EDITOR='sed -i s/app:/app2:/' edit svc
KUBE_EDITOR='sed -i s/app2:/app3:/' edit svc web two
get svc --show-labels
KUBE_EDITOR=cat edit svc -l nothing=here
KUBE_EDITOR=nowhere-to-be-found edit svc web
KUBE_EDITOR='sed -i s/loadBalancer:/loadBalancer2:/' edit svc web --subresource=status
create deployment web --image=nginx --replicas=0
KUBE_EDITOR='sed -i s/image:.nginx/image:\\ nginx:1.27/' edit deploy web
KUBE_EDITOR='sed -i s/replicas:.0/replicas:\\ -1/' edit deploy web
KUBE_EDITOR='sed -i s/RollingUpdate/Recreate/' edit deploy web
KUBE_EDITOR='sed -i s/app:.web/app:\\ x/' edit deploy web
KUBE_EDITOR='sed -i s/Always/Never/' edit deploy web
KUBE_EDITOR='sed -i s/replicas:.0/replicas:\\ 3/' edit deploy web -o json
get deploy web -o jsonpath={.spec.template.spec.containers[0].image}/{.spec.replicas}/{.metadata.generation}
KUBE_EDITOR='sed -i s/{}/{x:\\ y}/' create -f nowhere.yml --edit
file cm.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: made}
  data: {a: before}
KUBE_EDITOR='sed -i s/before/after/' create -f cm.yml --edit
get cm made -o jsonpath={.data}
KUBE_EDITOR='sed -i s/after/later/' apply edit-last-applied cm made
apply -f cm.yml
KUBE_EDITOR='sed -i s/before/later/' apply edit-last-applied cm/made
KUBE_EDITOR='sed -i s/before/before/' apply edit-last-applied cm/made
get cm made -o yaml
create secret generic s --from-literal=a=b
KUBE_EDITOR='sed -i s/Yg==/!!!/' edit secret s
KUBE_EDITOR='sed -i s/Yg==/YQ==/' edit secret s
KUBE_EDITOR='sed -i s/Opaque/other/' edit secret s
get secret s -o jsonpath={.data.a}
KUBE_EDITOR='sed -i s/active/x/' edit ns judged-operate-edit
""",
}
