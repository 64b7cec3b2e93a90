"""kubectl scripts about Services, Endpoints and EndpointSlices. No controllers are at work: nothing races.

Each script starts in an empty namespace of its own. See `lab_judge.lines_of` for the form.
"""

from __future__ import annotations

SCRIPTS = {
    "create-service": """
create service clusterip web --tcp=80:8080
get service web
get svc web -o wide
get services/web -o yaml
create service clusterip web --tcp=80:8080
create service nodeport np --tcp=80:8080 --node-port=30011
get svc np -o jsonpath={.spec.ports[0].nodePort}
create service nodeport np2 --tcp=80:8080 --node-port=30011
create service nodeport np3 --tcp=80:8080 --node-port=29999
create service nodeport np3 --tcp=80:8080 --node-port=32768
create service loadbalancer lb --tcp=8080:80
get svc lb
create service externalname ext --external-name=www.google.com
get svc ext -o wide
create service externalname bad --external-name=UPPER_case
create service clusterip hl --clusterip=None
create service clusterip hl --clusterip=None --tcp=80
get svc hl -o yaml
create service clusterip static --clusterip=10.96.0.44 --tcp=53
create service clusterip static2 --clusterip=10.96.0.44 --tcp=53
create service clusterip static3 --clusterip=10.97.0.1 --tcp=53
create service clusterip static4 --clusterip=abc --tcp=53
create service clusterip multi --tcp=80:8080 --tcp=443:8443
get svc multi -o yaml
create service clusterip noport
create service clusterip bad_name --tcp=80
create service clusterip 1web --tcp=80
get svc
get svc -o name
get svc --sort-by=.metadata.name
delete svc np np2
delete svc --all
get svc
""",
    "service-from-file": """
file svc.yml
  apiVersion: v1
  kind: Service
  metadata:
    name: numbers-web
    labels:
      app: numbers
  spec:
    type: NodePort
    selector:
      app: numbers-web
    ports:
    - name: http
      port: 8080
      targetPort: 80
      nodePort: 30024
create -f svc.yml
create -f svc.yml
get -f svc.yml
get -f svc.yml -o json
describe svc numbers-web
replace -f svc.yml
apply -f svc.yml
file svc.yml
  apiVersion: v1
  kind: Service
  metadata:
    name: numbers-web
    labels:
      app: numbers
      tier: front
  spec:
    type: LoadBalancer
    selector:
      app: numbers-web
    ports:
    - name: http
      port: 8080
      targetPort: web
    - name: https
      port: 8443
      targetPort: 443
apply -f svc.yml
get svc numbers-web -o yaml
file svc.yml
  apiVersion: v1
  kind: Service
  metadata:
    name: numbers-web
  spec:
    selector:
      app: numbers-web
    ports:
    - name: http
      port: 8080
diff -f svc.yml
apply -f svc.yml --dry-run=server
apply -f svc.yml
get svc numbers-web -o yaml
diff -f svc.yml
delete -f svc.yml
get -f svc.yml
""",
    "service-errors": """
file unnamed.yml
  apiVersion: v1
  kind: Service
  metadata: {name: unnamed}
  spec:
    ports:
    - port: 80
    - port: 443
apply -f unnamed.yml
file type.yml
  apiVersion: v1
  kind: Service
  metadata: {name: typo}
  spec:
    type: ClusterIp
    ports:
    - port: 80
apply -f type.yml
file ports.yml
  apiVersion: v1
  kind: Service
  metadata: {name: ports}
  spec:
    ports:
    - {name: a, port: 0}
    - {name: a, port: 70000, targetPort: 0}
    - {name: Upper, port: 80, protocol: tcp}
    - {name: b, port: 80, nodePort: 30001}
apply -f ports.yml
file strings.yml
  apiVersion: v1
  kind: Service
  metadata: {name: strings}
  spec:
    ports:
    - {name: a, port: "80"}
apply -f strings.yml
file unknown.yml
  apiVersion: v1
  kind: Service
  metadata: {name: unknown, lables: {a: b}}
  spec:
    selektor: {app: web}
    ports:
    - {name: a, port: 80, target: 8080}
apply -f unknown.yml
create -f unknown.yml --validate=ignore
get svc unknown -o yaml
create -f unknown.yml --validate=warn
create -f unknown.yml --validate=strict
file duplicate.yml
  apiVersion: v1
  kind: Service
  metadata: {name: duplicate}
  spec:
    ports:
    - port: 80
      port: 81
apply -f duplicate.yml
file tab.yml
  apiVersion: v1
  kind: Service
  metadata:
  \tname: tab
apply -f tab.yml
file version.yml
  apiVersion: v2
  kind: Service
  metadata: {name: version}
apply -f version.yml
file kind.yml
  apiVersion: v1
  kind: Servic
  metadata: {name: kind}
apply -f kind.yml
file nokind.yml
  apiVersion: v1
  metadata: {name: kind}
apply -f nokind.yml
file empty.yml
  # nothing
apply -f empty.yml
apply -f missing.yml
file noname.yml
  apiVersion: v1
  kind: Service
  spec:
    ports: [{port: 80}]
apply -f noname.yml
create -f noname.yml
file namespace.yml
  apiVersion: v1
  kind: Service
  metadata: {name: elsewhere, namespace: nowhere}
  spec:
    ports: [{port: 80}]
apply -f namespace.yml
apply -f namespace.yml -n default
file external.yml
  apiVersion: v1
  kind: Service
  metadata: {name: external}
  spec:
    type: ExternalName
    ports: [{port: 80}]
apply -f external.yml
file none.yml
  apiVersion: v1
  kind: Service
  metadata: {name: none}
  spec: {}
apply -f none.yml
file affinity.yml
  apiVersion: v1
  kind: Service
  metadata: {name: affinity}
  spec:
    sessionAffinity: ClientIP
    sessionAffinityConfig: {clientIP: {timeoutSeconds: 100000}}
    ports: [{port: 80}]
apply -f affinity.yml
file local.yml
  apiVersion: v1
  kind: Service
  metadata: {name: local}
  spec:
    externalTrafficPolicy: Local
    internalTrafficPolicy: Sometimes
    ports: [{port: 80}]
apply -f local.yml
get svc
""",
    "service-types": """
create service clusterip web --tcp=80:8080 --clusterip=10.96.0.71
patch svc web -p '{"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30070}]}}'
get svc web -o yaml
patch svc web -p '{"spec":{"type":"ClusterIP"}}'
get svc web -o yaml
patch svc web -p '{"spec":{"clusterIP":"10.96.0.72"}}'
patch svc web --type=merge -p '{"spec":{"clusterIP":null}}'
patch svc web --type=merge -p '{"spec":{"clusterIP":null,"clusterIPs":null}}'
patch svc web --type=json -p '[{"op":"replace","path":"/spec/ports/0/port","value":81}]'
patch svc web --type=json -p '[{"op":"replace","path":"/spec/nowhere/0/port","value":81}]'
patch svc web --type=json -p '[{"op":"test","path":"/spec/ports/0/port","value":82}]'
patch svc web --type=json -p '[{"op":"bogus","path":"/spec/ports/0/port","value":82}]'
patch svc web -p '{"spec":{"ports":[{"port":443,"name":"https"}]}}'
patch svc web -p '{"spec":{"ports":[{"port":81,"name":"http"},{"port":443,"name":"https"}]}}'
get svc web -o jsonpath={.spec.ports}
patch svc web -p '{"spec":{"selector":{"app":null,"run":"web"}}}'
get svc web -o jsonpath={.spec.selector}
patch svc web -p '{"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":30058}}'
get svc web -o yaml
patch svc web -p '{"spec":{"healthCheckNodePort":30059}}'
patch svc web --type=merge -p '{"spec":{"type":"ExternalName","externalName":"app.database.io"}}'
patch svc web --type=merge -p '{"spec":{"type":"ExternalName","externalName":"app.database.io","clusterIP":"",\
"clusterIPs":null}}'
get svc web -o yaml
describe svc web
patch svc web --type=merge -p '{"spec":{"type":"ClusterIP","externalName":""}}'
get svc web
patch svc web -p '{"spec":{"type":"Clusterip"}}'
patch svc web -p '{"spec":{"ports":'
patch svc web -p '{"spec":{"selektor":{"a":"b"}}}'
patch svc nowhere -p '{}'
patch svc web -p '{}'
patch svc web --subresource=status -p '{"status":{"loadBalancer":{"ingress":[{"ip":"192.168.56.200"}]}}}'
patch svc web -p '{"spec":{"type":"LoadBalancer"}}'
patch svc web --subresource=status -p '{"status":{"loadBalancer":{"ingress":[{"ip":"192.168.56.200"}]}}}'
get svc web
describe svc web
set selector svc web app=other
get svc web -o wide
label svc web tier=front
get svc -L tier
get svc --show-labels
annotate svc web note=hello
describe svc web
""",
    "edit": """
create service clusterip web --tcp=80:8080 --clusterip=10.96.0.81
KUBE_EDITOR='sed -i s/8080/9090/' edit svc web
get svc web -o jsonpath={.spec.ports[0].targetPort}
KUBE_EDITOR='sed -i s/notthere/9090/' edit svc web
KUBE_EDITOR='sed -i s/10.96.0.81/10.96.0.82/' edit svc web
KUBE_EDITOR=false edit svc web
KUBE_EDITOR='sed -i s/9090/7070/' edit svc/web -o json
edit svc nowhere
create configmap one --from-literal=a=b
KUBE_EDITOR='sed -i s/a:/c:/' edit cm one
get cm one -o yaml
KUBE_EDITOR='sed -i s/apiVersion/apiVersio/' edit cm one
""",
    "expose": """
create deployment web --image=nginx --replicas=0 --port=8080
expose deployment web
get svc web -o yaml
expose deployment web
expose deployment web --name=np --type=NodePort --port=80 --target-port=8080
get svc np -o jsonpath={.spec.type}/{.spec.ports[0].port}/{.spec.ports[0].targetPort}
expose deployment web --name=lb --type=LoadBalancer --port=80 --target-port=http
expose deployment web --name=udp --port=53 --protocol=UDP
get svc
expose deployment nowhere --port=80
expose deployment web --name=typo --port=80 --type=ClusterIp
expose deployment web --name=Bad_Name --port=80
expose deployment web --name=hl --port=80 --cluster-ip=None
expose deployment web --name=dry --port=80 --dry-run=client -o yaml
expose deployment web --name=dry --port=80 --dry-run=server -o yaml
get svc dry
create deployment noport --image=nginx --replicas=0
expose deployment noport
run single --image=nginx --labels=app=single --port=80
expose pod single
expose pod single --name=front --port=8000 --target-port=80 --session-affinity=ClientIP
get svc front -o yaml
expose service front --name=again --port=8001
get svc again -o wide
run nolabels --image=nginx --labels=
expose pod nolabels --port=80
describe svc front
delete svc,deploy --all
""",
    "endpoints": """
create service clusterip db --tcp=80:80 --clusterip=10.96.0.91
patch svc db --type=merge -p '{"spec":{"selector":null}}'
file ep.yml
  apiVersion: v1
  kind: Endpoints
  metadata: {name: db}
  subsets:
  - addresses:
    - ip: 192.168.123.234
    ports:
    - port: 80
apply -f ep.yml
get endpoints db
get ep
get endpoints db -o yaml
describe endpoints db
describe svc db
file bad.yml
  apiVersion: v1
  kind: Endpoints
  metadata: {name: bad}
  subsets:
  - addresses:
    - ip: 127.0.0.1
    - ip: 169.254.1.1
    - ip: 224.0.0.1
    - ip: 0.0.0.0
    - ip: 300.1.1.1
    ports:
    - port: 0
apply -f bad.yml
file slice.yml
  apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata:
    name: db-1
    labels: {kubernetes.io/service-name: db}
  addressType: IPv4
  ports:
  - name: http
    port: 80
  endpoints:
  - addresses: ["192.168.123.235"]
  - addresses: ["192.168.123.236"]
    conditions: {ready: false}
apply -f slice.yml
get endpointslices
get endpointslice db-1 -o yaml
describe endpointslice db-1
patch endpointslice db-1 --type=merge -p '{"addressType":"IPv6"}'
file slice2.yml
  apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: bad-1}
  addressType: IPv4
  ports:
  - {name: HTTP, port: 80, protocol: tcp}
  - {port: 80}
  - {port: 81}
  endpoints:
  - addresses: ["127.0.0.1"]
  - addresses: []
  - addresses: ["fd00::1"]
apply -f slice2.yml
file notype.yml
  apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: notype}
  endpoints: []
apply -f notype.yml
describe svc db
get ep,endpointslices -o name
delete ep db
delete endpointslices --all
""",
}
