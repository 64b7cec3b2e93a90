"""kubectl scripts about Deployments, ReplicaSets, Pods and Nodes. No workload controller is there: nothing races."""

from __future__ import annotations

SCRIPTS = {
    "deployment": """
create deployment web --image=nginx --replicas=3 --port=80
get deployment web
get deploy -o wide
get deploy web -o yaml
create deployment web --image=nginx
create deployment two --image=nginx --image=busybox
create deployment cmd --image=busybox -- sleep 3600
get deploy cmd -o jsonpath={.spec.template.spec.containers[0].command}
create deployment Bad --image=nginx
create deployment noimage
create deployment neg --image=nginx --replicas=-1
create deployment dry --image=nginx --dry-run=client -o yaml
create deployment dry --image=nginx --dry-run=server -o yaml
create deployment dry --image=nginx --dry-run=server
describe deployment web
scale deployment web --replicas=5
get deploy web -o jsonpath={.spec.replicas}/{.metadata.generation}
scale deployment web --replicas=2 --current-replicas=4
scale deployment web --replicas=2 --current-replicas=5
scale deployment nowhere --replicas=2
scale deploy --all --replicas=0
scale --replicas=1 deploy/web deploy/two
scale deployment web --replicas=-2
set image deployment/web nginx=nginx:1.25
set image deployment/web nosuch=nginx:1.25
set image deployment/web nginx=nginx:1.25
get deploy web -o jsonpath={.spec.template.spec.containers[*].image}
set env deployment/web COLOR=red
set resources deployment web --limits=cpu=200m,memory=512Mi --requests=cpu=100m
get deploy web -o yaml
rollout restart deployment web
rollout pause deployment web
rollout pause deployment web
rollout resume deployment web
rollout status deployment web --timeout=1s
rollout history deployment web
rollout undo deployment web
patch deployment web -p '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}'
patch deployment web -p '{"spec":{"template":{"metadata":{"labels":{"app":"other"}}}}}'
patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox"}]}}}}'
get deploy web -o jsonpath={.spec.template.spec.containers[*].name}
patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}'
get deploy web -o jsonpath={.spec.template.spec.containers[*].name}
patch deployment web -p '{"spec":{"strategy":{"type":"Recreate"}}}'
patch deployment web --type=merge -p '{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}'
patch deployment web -p '{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}'
get deploy web -o jsonpath={.spec.strategy}
get deploy web --subresource=scale
get deploy web --subresource=scale -o yaml
patch deploy web --subresource=scale --type=merge -p '{"spec":{"replicas":7}}'
get deploy web -o jsonpath={.spec.replicas}
get deploy web --subresource=status -o jsonpath={.status}
get deployments.apps
get deployments.v1.apps web -o name
get deployments.v2.apps web
delete deployment web
delete deployment web
delete deployment web --ignore-not-found
delete deploy --all
get deploy
""",
    "deployment-apply": """
file web.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: web
  spec:
    replicas: 0
    selector:
      matchLabels: {app: web}
    template:
      metadata:
        labels: {app: web}
      spec:
        containers:
        - name: web
          image: nginx:1.24
          ports:
          - containerPort: 80
          env:
          - {name: A, value: "1"}
          - {name: B, value: "2"}
        - name: side
          image: busybox
apply -f web.yml
apply -f web.yml
apply view-last-applied -f web.yml
file web.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: web
    labels: {app: web}
  spec:
    replicas: 0
    selector:
      matchLabels: {app: web}
    template:
      metadata:
        labels: {app: web}
      spec:
        containers:
        - name: web
          image: nginx:1.25
          ports:
          - containerPort: 8080
            name: http
          env:
          - {name: B, value: "3"}
          - {name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
diff -f web.yml
apply -f web.yml -o yaml
rollout status deployment/web --timeout=1s
file noselector.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: noselector}
  spec:
    template:
      metadata: {labels: {app: web}}
      spec: {containers: [{name: web, image: nginx}]}
apply -f noselector.yml
file mismatch.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: mismatch}
  spec:
    selector: {matchLabels: {app: other}}
    template:
      metadata: {labels: {app: web}}
      spec: {containers: [{name: web, image: nginx}]}
apply -f mismatch.yml
file nocontainers.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: nocontainers}
  spec:
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}}
      spec: {containers: []}
apply -f nocontainers.yml
file old.yml
  apiVersion: extensions/v1beta1
  kind: Deployment
  metadata: {name: old}
apply -f old.yml
file typo.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: typo}
  spec:
    replica: 3
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}}
      spec:
        containers:
        - name: web
          image: nginx
          port: 80
          ports: [{containerport: 80}]
apply -f typo.yml
file string.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: string}
  spec:
    replicas: "3"
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}}
      spec: {containers: [{name: web, image: nginx, env: [{name: A, value: 1}]}]}
apply -f string.yml
apply -f string.yml --validate=false
apply edit-last-applied -f nowhere.yml
apply set-last-applied -f web.yml
file both.yml
  apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec: {selector: {app: web}, ports: [{port: 80}]}
  ---
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: web}
  data: {a: "1"}
apply -f both.yml
get -f both.yml -o name
get deploy,svc,cm web -o name
delete -f both.yml --wait=false
apply -f web.yml --prune -l app=web
replace --force -f web.yml
""",
    "replicaset": """
file rs.yml
  apiVersion: apps/v1
  kind: ReplicaSet
  metadata: {name: rs}
  spec:
    replicas: 2
    selector: {matchLabels: {app: rs}}
    template:
      metadata: {labels: {app: rs}}
      spec: {containers: [{name: web, image: nginx}]}
create -f rs.yml
get rs
get rs -o wide
get rs rs -o yaml
describe rs rs
scale rs rs --replicas=4
scale --replicas=1 -f rs.yml
expose rs rs --port=80 --target-port=8080
get svc rs -o wide
expose rs nowhere --port=80
patch rs rs -p '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}'
label rs rs a=b c=d
get rs -l a=b -o name
get rs -l 'a in (x,y)' -o name
get rs -l 'a!=b,c' -o name
get rs -l '!a' -o name
get rs -l 'a in b' -o name
get rs --field-selector metadata.name=rs -o name
get rs --field-selector status.replicas=0 -o name
get rs --field-selector status.replicas!=0 -o name
get rs --field-selector spec.replicas=1 -o name
delete rs rs --cascade=orphan
get rs
""",
    "pod": """
run web --image=nginx --port=80 --env=A=b --labels=app=web,tier=front
get pod web
get po web -o wide
get pod web -o yaml
describe pod web
run web --image=nginx
run dry --image=nginx --dry-run=client -o yaml
run dry --image=nginx --dry-run=server
run dry --image=nginx --dry-run=server -o yaml
run sh --image=busybox --restart=Never --command -- sh -c 'sleep 5'
get pod sh -o jsonpath={.spec.restartPolicy}{.spec.containers[0].command}
run Bad_Name --image=nginx
run noimage
run exposed --image=nginx --port=80 --expose
get svc exposed -o wide
run limits --image=nginx --restart=Sometimes
get pods
get pods --show-labels
get pods -l app=web
get pods -l run=sh -o name
get pods -o wide
get pods --no-headers
get pods -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image
get pods -o jsonpath='{range .items[*]}{.metadata.name}{"\\n"}{end}'
get pods -o go-template='{{range .items}}{{.metadata.name}}{{"\\n"}}{{end}}'
get pods --field-selector status.phase=Pending -o name
get pods --field-selector status.phase!=Pending
get pods --field-selector spec.nodeName= -o name
get pods --field-selector spec.restartPolicy=Never -o name
get pods --field-selector spec.image=nginx
get pods --field-selector metadata.name=web,status.phase=Running
get pods --sort-by=.metadata.name
get pods --sort-by=.nowhere
get pods --chunk-size=1 -o name
get pod/web svc/exposed
get pods,svc
get all
label pod web app=other
label pod web app=other --overwrite
label pod web app-
label pod web nothere-
label pod web 'bad key=x'
label pod web a=b=c
label pod web key='not valid!'
label pods --all all=yes
label pod nowhere a=b
annotate pod web note='hello world'
annotate pod web note=changed
annotate pod web note=changed --overwrite
annotate pod web note-
get pod web -o jsonpath={.metadata.labels}{.metadata.annotations}
patch pod web -p '{"spec":{"containers":[{"name":"web","image":"nginx:2"}]}}'
patch pod web -p '{"spec":{"containers":[{"name":"web","ports":[{"containerPort":81}]}]}}'
patch pod web -p '{"spec":{"nodeName":"elsewhere"}}'
patch pod web -p '{"spec":{"activeDeadlineSeconds":100}}'
patch pod web --subresource=status -p '{"status":{"phase":"Running","podIP":"10.244.1.3","podIPs":[{"ip":"10.2\
44.1.3"}],"conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"web","image":"nginx:2"\
,"imageID":"x","ready":true,"restartCount":2,"state":{"running":{}}}]}}'
get pod web -o wide
get pod web
describe pod web
wait pod web --for=condition=Ready --timeout=2s
wait pod sh --for=condition=Ready --timeout=1s
wait pod web --for=jsonpath={.status.phase}=Running --timeout=2s
wait pod nowhere --for=condition=Ready --timeout=1s
wait pod web --for=delete --timeout=1s
wait pods --all --for=condition=PodScheduled --timeout=1s
delete pod web
wait pod web --for=delete --timeout=2s
delete pod sh --grace-period=0 --force
delete pod exposed --now
delete pods -l run=limits
delete pod nowhere
delete pod --all
delete pod
get pods
""",
    "pod-file": """
file pod.yml
  apiVersion: v1
  kind: Pod
  metadata:
    name: full
    labels: {app: full}
  spec:
    terminationGracePeriodSeconds: 2
    dnsPolicy: None
    dnsConfig: {nameservers: [10.96.0.10], searches: [a.b], options: [{name: ndots, value: "5"}]}
    hostAliases: [{ip: 10.0.0.1, hostnames: [a]}]
    tolerations: [{key: k, operator: Exists}]
    initContainers: [{name: init, image: busybox}]
    containers:
    - name: a
      image: nginx:1.25
      ports: [{containerPort: 80, name: http}]
      readinessProbe: {httpGet: {path: /, port: http}}
      livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 3}
      startupProbe: {exec: {command: ["true"]}}
      resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: "1"}}
      env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
      envFrom: [{configMapRef: {name: cm}}]
      volumeMounts: [{name: data, mountPath: /data}]
      lifecycle: {preStop: {exec: {command: [sleep, "1"]}}}
    - name: b
      image: busybox@sha256:0000000000000000000000000000000000000000000000000000000000000000
    volumes:
    - {name: data, emptyDir: {}}
    - {name: conf, configMap: {name: cm}}
    - {name: sec, secret: {secretName: s}}
create -f pod.yml
get pod full -o yaml
describe pod full
apply -f pod.yml
delete -f pod.yml
file bad.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: bad}
  spec:
    restartPolicy: Sometimes
    dnsPolicy: Any
    nodeSelector: {"bad key": x}
    containers:
    - {name: a, image: nginx, ports: [{containerPort: 70000}, {containerPort: 80, name: TOO_LONG_A_PORT_NAME}]}
    - {name: a, image: nginx, resources: {limits: {cpu: abc}}}
apply -f bad.yml
file bad.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: bad}
  spec:
    restartPolicy: Sometimes
    dnsPolicy: Any
    nodeSelector: {"bad key": x}
    containers:
    - {name: a, image: nginx, ports: [{containerPort: 70000}, {containerPort: 80, name: TOO_LONG_A_PORT_NAME}]}
    - {name: a, image: nginx, resources: {requests: {cpu: 2}, limits: {cpu: 1}}}
    - {name: B_, image: "", imagePullPolicy: Often}
    - {name: c, image: x, env: [{name: "1 2", value: x}], volumeMounts: [{name: nope, mountPath: /a}]}
    - {name: d, image: x, readinessProbe: {periodSeconds: -1}, livenessProbe: {httpGet: {port: 0},\
 successThreshold: 2}}
apply -f bad.yml
file generate.yml
  apiVersion: v1
  kind: Pod
  metadata: {generateName: gen-}
  spec: {containers: [{name: a, image: x}]}
create -f generate.yml
apply -f generate.yml
get pods
file sa.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: sa}
  spec: {serviceAccountName: nobody, containers: [{name: a, image: x}]}
create -f sa.yml
create sa robot
file sa.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: sa}
  spec: {serviceAccountName: robot, automountServiceAccountToken: false, containers: [{name: a, image: x}]}
create -f sa.yml
get pod sa -o yaml
delete pods --all
""",
    "node": """
file node.yml
  apiVersion: v1
  kind: Node
  metadata:
    name: judged
    labels: {kubernetes.io/hostname: judged}
  spec: {podCIDR: 10.244.9.0/24}
create -f node.yml
get node judged
get node judged -o wide
get node judged -o yaml
describe node judged
label node judged node-role.kubernetes.io/worker=
get node judged
cordon judged
cordon judged
get node judged
uncordon judged
taint node judged key=value:NoSchedule
taint node judged key=value:NoSchedule
taint node judged key=value:Wrong
taint node judged key-
patch node judged --subresource=status -p '{"status":{"addresses":[{"type":"InternalIP","address":"192.168.56.\
11"}],"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady"}],"nodeInfo":{"kubeletVersion":"v1\
.36.3"}}}'
get node judged -o wide
patch node judged --subresource=status -p '{"status":{"conditions":[{"type":"Ready","status":"False"}]}}'
get node judged
patch node judged -p '{"spec":{"podCIDR":"10.244.10.0/24"}}'
patch node judged -p '{"spec":{"unschedulable":true}}'
drain judged
get node judged -o jsonpath={.spec}
get nodes --field-selector spec.unschedulable=true -o name
get node nowhere
wait node judged --for=condition=Ready --timeout=1s
delete node judged
""",
}
