"""kubectl scripts that make things by command line: create, run and expose with the options people try.

Each script starts in an empty namespace of its own. See `lab_judge.lines_of` for the form.
"""

from __future__ import annotations

SCRIPTS = {
    "make-services": """
create service clusterip a --tcp=80 --dry-run=client -o yaml
create service clusterip a --tcp=80 --dry-run=server -o yaml
create svc clusterip a --tcp=5678:8080 --tcp=5679
create service clusterip b --tcp=http:80
create service clusterip b --tcp=0
create service clusterip b --tcp=80:http
create service clusterip b --tcp=70000
create service clusterip b --tcp=80:80:80
create service clusterip b --tcp=80 --tcp=80
create service clusterip b --clusterip=10.96.255.255 --tcp=80
create service clusterip b --clusterip=10.96.0.0 --tcp=80
create service clusterip b --clusterip=10.96.255.254 --tcp=80
create service clusterip c --clusterip=::1 --tcp=80
create service clusterip c --clusterip= --tcp=80 -o name
create service nodeport n --tcp=80 --node-port=0 -o jsonpath={.spec.type}
create service nodeport n2 --tcp=80 --tcp=443 --node-port=30177
create service nodeport n3 --tcp=80 --node-port=-1
create service nodeport n3 --tcp=80 --node-port=80
create service nodeport n3
create service nodeport n3 --tcp=80 --clusterip=None
create service loadbalancer l --tcp=80:8080 --tcp=443:8443 -o yaml
create service loadbalancer l2
create service externalname e --external-name www.google.com --tcp=80
create service externalname e2
create service externalname e3 --external-name=
create service externalname e4 --external-name=a..b
create service externalname e5 --external-name=www.google.com.
create service externalname e6 --external-name=10.0.0.1
create service nowhere x
create service
create svc
get svc -o custom-columns=N:.metadata.name,T:.spec.type,P:.spec.ports[*].port,E:.spec.externalName
describe svc e
describe svc l
describe svc n2
get svc n2 -o yaml
get svc e -o yaml
get svc --field-selector spec.type=LoadBalancer -o name
get svc --field-selector spec.clusterIP=None
get svc --field-selector spec.clusterIP=10.96.255.254 -o name
get svc --field-selector spec.externalName=x
get svc --sort-by=.spec.type -o name
get svc -l app=n -o name
get svc a b -o wide
get svc a -o jsonpath='{.spec.ports[*].port}/{.spec.ports[?(@.port==5679)].targetPort}'
""",
    "make-configuration": """
file a.txt
  hello
file b.txt
  world
file env.txt
  # comment
  A=1
  B=two words
  C
  export=x
create cm files --from-file=a.txt --from-file=renamed=b.txt
get cm files -o yaml
create cm missing --from-file=nowhere.txt
create cm env --from-env-file=env.txt
create cm both --from-literal=a=b --from-env-file=env.txt
create cm twice --from-literal=a=b --from-literal=a=c
create cm badkey --from-file=a/b=a.txt
create cm noeq --from-literal=a
create cm empty
create cm quoted --from-literal='a="x y"' --from-literal=b= --from-literal=c=d=e
create cm hash --from-literal=a=b --append-hash
create cm dry --from-literal=a=b --dry-run=client -o yaml
create cm dry --from-literal=a=b --dry-run=server -o json
create cm dry --from-literal=a=b --dry-run=client -o name
create cm
create cm a b
create cm -n nowhere x --from-literal=a=b
get cm --no-headers -o custom-columns=N:.metadata.name,D:.data
get cm
describe cm quoted files
describe cm
create secret generic g --from-literal=user=admin --from-file=a.txt
create secret generic g2 --from-env-file=nowhere.txt
create secret generic typed --type=kubernetes.io/basic-auth --from-literal=a=b
create secret generic typed --type=kubernetes.io/basic-auth --from-literal=username=b
create secret generic typed2 --type=kubernetes.io/tls --from-literal=tls.crt=b
create secret generic typed3 --type=bootstrap.kubernetes.io/token
create secret generic empty
create secret generic dry --from-literal=a=b --dry-run=client -o yaml
create secret docker-registry r --docker-username=u --docker-password=p --docker-email=e@x
create secret docker-registry r2 --docker-username=u
create secret tls t --cert=a.txt --key=b.txt
create secret tls t
create secret
create secret nowhere x
get secret
get secret g -o jsonpath={.data}
get secret g -o go-template='{{.data.user | base64decode}}'
get secret r -o jsonpath='{.data.\\.dockerconfigjson}'
get secrets --field-selector type=kubernetes.io/basic-auth -o name
get secrets --field-selector type!=Opaque -o name
describe secret g r
create sa robot --dry-run=client -o yaml
create sa robot -o yaml
create sa Bad
create token robot --duration=10m --audience=a --audience=b
create token robot --duration=99999999h
create token robot --duration=-1h
create token robot --bound-object-kind=Pod --bound-object-name=nowhere
create token robot --bound-object-kind=ConfigMap --bound-object-name=files
create token robot -o yaml
create token nowhere -n nowhere
get sa robot default -o name
describe sa robot
get sa
create ns made-by-judge --dry-run=client -o yaml
create ns made-by-judge --dry-run=server
create ns made-by-judge --save-config
get ns made-by-judge -o yaml
label ns made-by-judge kubernetes.io/metadata.name=other --overwrite
label ns made-by-judge kubernetes.io/metadata.name-
get ns made-by-judge --show-labels
create job j --image=x
create role r --verb=get --resource=pods
create
create nowhere
delete ns made-by-judge
""",
    "make-deployments": """
create deploy a --image=nginx:1.25-alpine
create deploy b --image=registry.example.com:5000/team/app@sha256:\
0000000000000000000000000000000000000000000000000000000000000000
create deploy c --image=busybox --replicas=0 -- sh -c 'echo $A; sleep 1'
create deploy d --image=nginx --port=0
create deploy d --image=nginx --port=70000
create deploy d --image=nginx --port=80 --replicas=2 -o jsonpath={.spec.template.spec.containers[0].ports}
create deploy e --image=a --image=b --port=80
create deploy e --image=a --image=b -- sleep 1
create deploy f --image=
create deploy f --image=' '
create deploy 1f --image=nginx
create deploy a.b --image=nginx --replicas=0
create deploy aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --image=nginx
create deploy g --image=nginx --replicas=99999999999
create deploy g --image=nginx --dry-run=client -o json
create deploy g --image=nginx --save-config -o name
create deploy g --image=nginx -n nowhere
get deploy -o wide --sort-by=.metadata.name
get deploy -o custom-columns=N:.metadata.name,I:.spec.template.spec.containers[*].image
get deploy e -o yaml
describe deploy c
expose deploy a
expose deploy a --port=80 --name=one
expose deploy a --port=80 --name=one
expose deploy a --port=80,443 --name=two
expose deploy a --port=80 --target-port=http --name=three --protocol=udp
expose deploy a --port=80 --protocol=UDP --name=four
expose deploy a --port=http --name=five
expose deploy a --port=0 --name=five
expose deploy a --port=80 --external-ip=1.2.3.4 --name=six
expose deploy a --port=80 --load-balancer-ip=1.2.3.4 --type=LoadBalancer --name=seven
expose deploy a --port=80 --cluster-ip=10.96.0.1 --name=eight
expose deploy a --port=80 --selector=x=y,z=w --labels=l=m --name=nine
expose deploy a --port=80 --selector='x in (y)' --name=ten
expose deploy a --port=80 --type=ExternalName --name=eleven --external-name=a.b
expose deploy a --port=80 --type=ExternalName --name=eleven
expose deploy a b --port=80
expose deploy a --port=80 --session-affinity=None --name=twelve
expose deploy a --port=80 --session-affinity=Cookie --name=thirteen
expose deploy a --port=80 --overrides='{"spec":{"type":"NodePort"}}' --name=fourteen
expose deploy a --port=80 --overrides='{"metadata":{"name":"fifteen"},"apiVersion":"v1"}' --name=x
expose deploy d
expose deploy e
expose deploy aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --port=80
expose deploy a.b --port=80
expose svc one --name=from-one --port=81
expose svc seven --name=from-seven
expose node x --port=80
expose cm x --port=80
expose pod nowhere --port=80
expose rs nowhere
expose -f nowhere.yml
expose
get svc -o wide --sort-by=.metadata.name
get svc one six seven nine -o yaml
""",
    "make-pods": """
run a --image=nginx --restart=Always
run b --image=nginx --restart=OnFailure --labels=
run c --image=busybox --restart=Never -- sleep 3600
run d --image=busybox --command -- sleep 3600
run e --image=nginx --env=A=1 --env=B=2 --env='C=x y'
run f --image=nginx --env=A
run f --image=nginx --env==1
run f --image=nginx --port=80 --expose=true -o name
run g --image=nginx --expose
run h --image=nginx --labels=a=b,c=d
run i --image=nginx --labels='a b=c'
run i --image=nginx --annotations=x=y --annotations=z=w
run j --image=nginx --port=abc
run j --image=nginx --port=70000
run j --image=nginx --port=80 --expose --dry-run=client -o yaml
run k --image='bad image'
run l --image=nginx:1.25 --image-pull-policy=Never
run m --image=nginx --image-pull-policy=Sometimes
run n --image=nginx --overrides='{"spec":{"nodeName":"x"}}'
run o --image=nginx --overrides='{"apiVersion":"v1","spec":{"containers":[{"name":"o","image":"other"}]}}'
run p --image=nginx --overrides='{"spec":'
run p --image=nginx --overrides='{"spec":{"nope":1}}'
run q --image=nginx --privileged
run r --image=nginx --dry-run=server -o yaml --env=A=1 --port=80 --labels=x=y
run s --image=nginx -n nowhere
run a.b.c --image=nginx
run UPPER --image=nginx
run aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --image=nginx
run t
run t --image=
run t --image=nginx extra args
run t2 --image=nginx --command
run u --image=nginx --rm
run u --image=nginx --attach=false --leave-stdin-open
run u2 --image=nginx --pod-running-timeout=0s
run v --image=nginx --serviceaccount=default
run v --image=nginx --limits=cpu=1
run v --image=nginx --quiet
get pods --sort-by=.metadata.name
get pods -o wide --sort-by=.metadata.name --no-headers
get pods -o custom-columns=N:.metadata.name,R:.spec.restartPolicy,C:.spec.containers[*].command,\
A:.spec.containers[*].args
get pods -o jsonpath='{range .items[*]}{.metadata.name}={.status.qosClass}{"\\n"}{end}'
get pod e -o jsonpath={.spec.containers[0].env}
get pod i t l -o yaml
describe pod c e
describe pod n
set image pod/a a=nginx:1.26
set image pod/a x=nginx:1.26
set env pod/a X=Y
label pods -l run=a tier=x
annotate pod a b=c
patch pod a -p '{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1"}}}]}}'
patch pod a -p '{"spec":{"terminationGracePeriodSeconds":1}}'
patch pod a -p '{"spec":{"tolerations":[{"key":"x","operator":"Exists"}]}}'
patch pod a -p '{"spec":{"activeDeadlineSeconds":0}}'
patch pod a -p '{"metadata":{"finalizers":["example.com/x"]}}'
patch pod a --subresource=status -p '{"status":{"phase":"Nope"}}'
patch pod a --subresource=status -p '{"status":{"phase":"Failed","reason":"Evicted","message":"why"}}'
get pod a
patch pod c --subresource=status -p '{"status":{"phase":"Succeeded","podIP":"10.244.1.9","podIPs":[{"ip":"10.244.1.9"}]\
,"containerStatuses":[{"name":"c","image":"busybox","imageID":"","ready":false,"restartCount":0,"state":{"terminated":\
{"exitCode":0,"reason":"Completed"}}}]}}'
get pod c
get pod c -o wide
patch pod d --subresource=status -p '{"status":{"phase":"Running","containerStatuses":[{"name":"d","image":"busybox",\
"imageID":"","ready":false,"restartCount":5,"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off"}},\
"lastState":{"terminated":{"exitCode":1,"reason":"Error","finishedAt":"2024-01-01T00:00:00Z","startedAt":\
"2024-01-01T00:00:00Z"}}}]}}'
get pod d
describe pod d
get pods --field-selector status.phase=Succeeded -o name
get pods --field-selector status.podIP=10.244.1.9 -o name
logs a
logs a -c nowhere
logs nowhere
exec a -- ls
exec a
exec nowhere -- ls
exec a -c nowhere -- ls
attach a
attach nowhere
port-forward a 8080:80
port-forward pod/nowhere 8080:80
port-forward svc/f 8080:80
cp nowhere a:/x
debug a --image=busybox
debug a --image=busybox --copy-to=copy
delete pod a --wait=false
get pod a
patch pod a --type=json -p '[{"op":"remove","path":"/metadata/finalizers"}]'
get pod a
delete pods --all --force
""",
}
