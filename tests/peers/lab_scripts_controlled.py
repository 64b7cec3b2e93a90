"""kubectl scripts where controllers, a scheduler and `Kubelets` are at work: each line waits for what it shows."""

from __future__ import annotations

SCRIPTS = {
    "rollout": """
create deployment web --image=nginx --replicas=3 --port=80
rollout status deployment/web --timeout=20s | lines successfully
wait deploy web --for=jsonpath={.status.readyReplicas}=3 --timeout=10s
wait deploy web --for=condition=Available --timeout=10s
get deploy web
get deploy web -o yaml
get rs -o wide
get rs -o yaml
get pods
get pods -o wide
get pods --show-labels
get all
describe deployment web
describe rs web
scale deployment web --replicas=2
wait deploy web --for=jsonpath={.status.replicas}=2 --timeout=10s
get deploy web
set image deployment/web nginx=nginx:2
rollout status deployment/web --timeout=20s | lines successfully
wait rs -l app=web --for=jsonpath={.spec.template.spec.containers[0].image} --timeout=10s | sorted
rollout history deployment web
rollout history deployment web --revision=2
get events --field-selector involvedObject.kind=Deployment -o custom-columns=R:.reason,T:.type,M:.message | sorted
rollout undo deployment web
rollout status deployment/web --timeout=20s | lines successfully
rollout history deployment web
rollout undo deployment web --to-revision=9
rollout undo deployment web --to-revision=3
annotate deployment web kubernetes.io/change-cause=tried
rollout restart deployment web
rollout status deployment/web --timeout=20s | lines successfully
rollout pause deployment web
set image deployment/web nginx=nginx:3
wait deploy web --for=jsonpath={.status.observedGeneration}=8 --timeout=2s | lines ^$
get deploy web -o jsonpath={.status.conditions[*].reason}
rollout undo deployment web
rollout resume deployment web
rollout status deployment/web --timeout=20s | lines successfully
get deploy web -o jsonpath={.status.availableReplicas}/{.status.updatedReplicas}
get rs -l app=web -o custom-columns=D:.spec.replicas,R:.metadata.annotations --no-headers | sorted
delete deployment web --timeout=20s
wait pods -l app=web --for=delete --timeout=20s | lines ^$
get rs
""",
    "orphans": """
create deployment web --image=nginx --replicas=2
rollout status deployment/web --timeout=20s | lines successfully
wait deploy web --for=jsonpath={.status.readyReplicas}=2 --timeout=10s
delete deployment web --cascade=orphan --timeout=20s
get rs
get pods
get rs -o jsonpath={.items[0].metadata.ownerReferences}
create deployment web --image=nginx --replicas=2
rollout status deployment/web --timeout=20s | lines successfully
wait deploy web --for=jsonpath={.status.readyReplicas}=2 --timeout=10s
get rs
get rs -o jsonpath={.items[0].metadata.ownerReferences[0].kind}
delete deployment web --cascade=foreground --timeout=20s
get deploy,rs,pods
""",
    "selection": """
create deployment web --image=nginx --replicas=2 --port=8080
rollout status deployment/web --timeout=20s | lines successfully
expose deployment web --port=80 --target-port=8080
wait endpoints web --for=jsonpath={.subsets[0].addresses[1].ip} --timeout=10s | lines condition
get svc web
describe svc web
describe endpoints web
get endpoints web
get endpointslices -l kubernetes.io/service-name=web -o custom-columns=A:.addressType,P:.ports,L:.metadata.labels
create service clusterip none --tcp=80
describe svc none
get endpoints none
run other --image=nginx --labels=app=none --port=80
wait pod other --for=condition=Ready --timeout=10s
wait endpoints none --for=jsonpath={.subsets[0].addresses[0].ip} --timeout=10s | lines condition
describe svc none
label pod other app=some --overwrite
wait endpoints none --for=jsonpath={.subsets}= --timeout=1s | lines ^$
get endpoints none
delete pod other --timeout=10s
describe svc none
delete svc,deploy --all --timeout=20s
wait endpoints web --for=delete --timeout=10s | lines ^$
get endpoints,endpointslices
""",
    "pending": """
run pinned --image=nginx --overrides='{"spec":{"nodeSelector":{"disk":"ssd"}}}'
wait pod pinned --for=condition=PodScheduled=false --timeout=10s
describe pod pinned
delete pod pinned
""",
    "namespace": """
create namespace controlled-more
wait sa default -n controlled-more --for=jsonpath={.metadata.name}=default --timeout=10s
create deployment web --image=nginx --replicas=2 -n controlled-more
rollout status deployment/web --timeout=20s -n controlled-more | lines successfully
get all,cm,sa -n controlled-more
delete namespace controlled-more --timeout=20s
get all -n controlled-more
get ns controlled-more
""",
    "operating": """
create deployment web --image=nginx --replicas=3 --port=80
rollout status deployment/web --timeout=20s | lines successfully
wait deploy web --for=jsonpath={.status.readyReplicas}=3 --timeout=10s
expose deployment web --port=80 --type=NodePort
wait endpoints web --for=jsonpath={.subsets[0].addresses[2].ip} --timeout=10s | lines condition
get all --show-labels
get deploy,rs,po,svc,ep -o name | sorted
get pods -l app=web -o custom-columns=O:.metadata.ownerReferences[0].kind,P:.status.phase
get rs -l app=web -o jsonpath={.items[0].status}
describe pods -l app=web
describe endpointslices -l kubernetes.io/service-name=web
scale rs -l app=web --replicas=5
wait deploy web --for=jsonpath={.status.replicas}=3 --timeout=10s
label pods --all app=other --overwrite
wait deploy web --for=jsonpath={.status.readyReplicas}=3 --timeout=10s
wait endpoints web --for=jsonpath={.subsets[0].addresses[2].ip} --timeout=10s | lines condition
get pods -L app --no-headers -l app=other
get pods -l app=other -o jsonpath={.items[*].metadata.ownerReferences}
get endpoints web
delete pods -l app=other --timeout=10s
delete pods -l app=web --wait=false
wait deploy web --for=jsonpath={.status.availableReplicas}=3 --timeout=15s
get deploy web
set env deployment/web COLOR=red
rollout status deployment/web --timeout=20s | lines successfully
set resources deployment/web --requests=cpu=10m
rollout status deployment/web --timeout=20s | lines successfully
rollout history deployment/web
rollout history deployment/web --revision=2
rollout history deployment/web --revision=1 -o yaml
rollout undo deployment/web --to-revision=1 --dry-run=server
rollout undo deployment/web --to-revision=1
rollout status deployment/web --timeout=20s | lines successfully
rollout history deployment/web
patch deployment web -p '{"spec":{"revisionHistoryLimit":0}}'
patch deployment web -p '{"spec":{"strategy":{"rollingUpdate":null,"type":"Recreate"}}}'
set image deployment/web nginx=nginx:9
rollout status deployment/web --timeout=20s | lines successfully
wait deploy web --for=jsonpath={.status.readyReplicas}=3 --timeout=10s
describe deployment web | lines ^(Replicas|StrategyType)
scale deployment web --replicas=0
wait deploy web --for=jsonpath={.metadata.generation}={.status.observedGeneration} --timeout=1s | lines ^$
wait pods -l app=web --for=delete --timeout=20s | lines ^$
get endpoints web
get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints}
describe svc web
get deploy
scale deployment web --replicas=1 --current-replicas=0
rollout status deployment/web --timeout=20s | lines successfully
get deploy,pods
patch svc web -p '{"spec":{"selector":{"app":"nothing"}}}'
wait endpoints web --for=jsonpath={.subsets}= --timeout=1s | lines ^$
get endpoints web
delete deploy web --cascade=background --timeout=10s
wait pods -l app=web --for=delete --timeout=20s | lines ^$
get deploy,rs,pods
""",
    "hand-made": """
file svc.yml
  apiVersion: v1
  kind: Service
  metadata: {name: db}
  spec: {ports: [{name: sql, port: 5432}]}
  ---
  apiVersion: v1
  kind: Endpoints
  metadata: {name: db, labels: {a: b}}
  subsets: [{addresses: [{ip: 192.168.1.9}], ports: [{name: sql, port: 5432}]}]
apply -f svc.yml
wait endpointslices -l kubernetes.io/service-name=db --for=jsonpath={.addressType}=IPv4 --timeout=10s
get endpointslices -l kubernetes.io/service-name=db -o jsonpath={.items[0].endpoints}{.items[0].ports}
get endpointslices -l kubernetes.io/service-name=db -o jsonpath={.items[0].metadata.labels}
describe svc db
delete endpoints db
wait endpointslices -l kubernetes.io/service-name=db --for=delete --timeout=10s | lines ^$
get endpointslices
describe svc db
file pod.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: named, labels: {app: named}}
  spec: {hostname: one, subdomain: named, containers: [{name: a, image: x, ports: [{containerPort: 80, name: web}]}]}
  ---
  apiVersion: v1
  kind: Service
  metadata: {name: named}
  spec: {clusterIP: None, selector: {app: named}, ports: [{port: 80}, {name: b, port: 81}]}
apply -f pod.yml
file pod.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: named, labels: {app: named}}
  spec: {hostname: one, subdomain: named, containers: [{name: a, image: x, ports: [{containerPort: 80, name: web}]}]}
  ---
  apiVersion: v1
  kind: Service
  metadata: {name: named}
  spec: {clusterIP: None, selector: {app: named}, ports: [{name: a, port: 80, targetPort: web}]}
apply -f pod.yml
wait pod named --for=condition=Ready --timeout=10s
wait endpoints named --for=jsonpath={.subsets[0].addresses[0].ip} --timeout=10s | lines condition
get endpoints named -o jsonpath={.subsets[0].ports}{.subsets[0].addresses[0].hostname}
get endpointslices -l kubernetes.io/service-name=named -o jsonpath={.items[0].endpoints[0].hostname}{.items[0].ports}
describe svc named
get pod named -o jsonpath={.status.phase}/{.status.qosClass}/{.spec.hostname}
describe pod named | lines ^(Name|Labels|Status|IP|  a:|    (State|Ready|Port)|  (Init|Ready|Pod|Cont))
delete -f pod.yml --timeout=10s
get pods
create sa robot
run robot --image=nginx --overrides='{"spec":{"serviceAccountName":"robot"}}'
wait pod robot --for=condition=Ready --timeout=10s
get pod robot -o jsonpath={.spec.serviceAccountName}
delete sa default
wait sa default --for=create --timeout=10s
get sa -o name
delete pod robot --timeout=10s
""",
}
