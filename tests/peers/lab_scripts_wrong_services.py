"""kubectl scripts of people who are wrong about Services: files and patches with mistakes of every sort.

Each script starts in an empty namespace of its own. See `lab_judge.lines_of` for the form.
"""

from __future__ import annotations

SCRIPTS = {
    "wrong-services": """
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    clusterIP: 10.96.0.300
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    clusterIP: 192.168.0.1
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    clusterIP: 10.96.0.1
    ports: [{port: 80}]
apply -f a.yml
apply -f a.yml --dry-run=server
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    clusterIP: 10.96.0.51
    clusterIPs: [10.96.0.52]
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    clusterIPs: [10.96.0.51, 10.96.0.52]
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ipFamilyPolicy: RequireDualStack
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: dual}
  spec:
    ipFamilyPolicy: PreferDualStack
    ports: [{port: 80}]
apply -f a.yml
get svc dual -o jsonpath={.spec.ipFamilies}{.spec.ipFamilyPolicy}
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ipFamilies: [IPv6]
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ipFamilies: [IPv4, IPv4]
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ipFamilies: [IPv5]
    ipFamilyPolicy: DualStack
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    clusterIP: None
    type: NodePort
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    externalIPs: [127.0.0.1, 0.0.0.0, abc, 192.168.1.1, "fe80::1", 010.0.0.1]
    loadBalancerSourceRanges: [10.0.0.0/8, abc]
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    type: LoadBalancer
    loadBalancerIP: abc
    loadBalancerClass: Bad Class
    loadBalancerSourceRanges: [10.0.0.0/8, 10.1.2.3/33]
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: classy}
  spec:
    type: LoadBalancer
    loadBalancerClass: example.com/lb
    loadBalancerSourceRanges: [10.0.0.0/8]
    allocateLoadBalancerNodePorts: false
    externalTrafficPolicy: Local
    ports: [{port: 80, appProtocol: http}, {name: x, port: 81}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: classy}
  spec:
    type: LoadBalancer
    loadBalancerClass: example.com/lb
    loadBalancerSourceRanges: [10.0.0.0/8]
    allocateLoadBalancerNodePorts: false
    externalTrafficPolicy: Local
    ports: [{port: 80, appProtocol: kubernetes.io/h2c}]
apply -f a.yml
get svc classy -o jsonpath={.spec.ports}
patch svc classy -p '{"spec":{"loadBalancerClass":"example.com/other"}}'
patch svc classy -p '{"spec":{"allocateLoadBalancerNodePorts":true}}'
patch svc classy -p '{"spec":{"type":"ClusterIP"}}'
describe svc classy
get svc classy -o wide
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: ports}
  spec:
    type: NodePort
    ports:
    - {name: a, port: 80, nodePort: 30101}
    - {name: b, port: 81, nodePort: 30101}
    - {name: c, port: 82, nodePort: 30102, protocol: UDP}
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: ports}
  spec:
    type: NodePort
    ports:
    - {name: dns, port: 53, nodePort: 30153, protocol: UDP}
    - {name: dns-tcp, port: 53, nodePort: 30153, protocol: TCP}
apply -f a.yml
get svc ports
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: clash}
  spec:
    type: NodePort
    ports: [{name: dns, port: 80, nodePort: 30153}]
apply -f a.yml
apply -f a.yml --dry-run=server
create -f a.yml --dry-run=client
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ports: [{port: 80, targetPort: "way-too-long-port-name"}, {name: b, port: 81, targetPort: "-x"}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ports: [{name: x, port: 80, targetPort: 1.5}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ports: [{name: x, port: 80.5}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    selector: app
    ports: {port: 80}
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    selector: {app: 1, b: null, c: true, "d e": x}
    ports: [{port: 80}]
apply -f a.yml
create -f a.yml --validate=false
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    selector: {"d e": "x y"}
    sessionAffinity: Cookie
    publishNotReadyAddresses: "yes"
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    selector: {"d e": "x y"}
    sessionAffinity: Cookie
    sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}
    trafficDistribution: Nearest
    ports: [{port: 80, protocol: ICMP}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    type: ExternalName
    externalName: "http://www.google.com"
    clusterIP: 10.96.0.9
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: ext}
  spec:
    type: ExternalName
    externalName: 192.168.1.1
apply -f a.yml
get svc ext
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: ok}
  spec:
    ports: [{port: 80}]
apply -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: ok, namespace: default}
  spec:
    clusterIP: 10.96.0.77
    ports: [{port: 80}]
replace -f a.yml
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: ok}
  spec:
    clusterIP: 10.96.0.77
    ports: [{port: 80}]
replace -f a.yml
apply -f a.yml
apply -f a.yml --force
get svc ok -o jsonpath={.spec.clusterIP}
file a.yml
  apiVersion: v1
  kind: Service
  metadata: {name: other}
  spec:
    clusterIP: 10.96.0.77
    ports: [{port: 80}]
create -f a.yml
patch svc ok --type=json -p '[{"op":"remove","path":"/spec/ports"}]'
patch svc ok --type=json -p '[{"op":"remove","path":"/spec/ports/5"}]'
patch svc ok --type=json -p '[{"op":"add","path":"/spec/ports/-","value":{"port":80,"name":"b"}}]'
patch svc ok --type=json -p '[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]'
patch svc ok --type=json -p '[{"op":"copy","from":"/metadata/labels/a","path":"/metadata/labels/c"}]'
patch svc ok --type=json -p '[{"op":"move","from":"/metadata/labels/nowhere","path":"/metadata/labels/c"}]'
patch svc ok --type=json -p '{"op":"remove"}'
patch svc ok --type=json -p '[{"op":"replace","path":"/metadata/name","value":"new"}]'
patch svc ok --type=json -p '[{"op":"replace","path":"/kind","value":"Pod"}]'
patch svc ok --type=json -p '[{"op":"add","path":"/spec/nowhere","value":1}]'
patch svc ok --type=json -p '[{"op":"replace","path":"spec","value":1}]'
patch svc ok --type=json -p '[]'
patch svc ok --type=merge -p '[]'
patch svc ok --type=merge -p 'x'
patch svc ok --type=merge -p ''
patch svc ok --type=merge
patch svc ok --type=wrong -p '{}'
patch svc ok --type=merge -p '{"spec":null}'
patch svc ok --type=merge -p '{"metadata":{"name":"new"}}'
patch svc ok --type=merge -p '{"metadata":{"namespace":"default"}}'
patch svc ok --type=merge -p '{"metadata":{"uid":"1"}}'
patch svc ok --type=merge -p '{"metadata":{"resourceVersion":"1"}}'
patch svc ok --type=merge -p '{"metadata":{"resourceVersion":"abc"}}'
patch svc ok --type=merge -p '{"metadata":{"labels":{"a":1}}}'
patch svc ok --type=merge -p '{"spec":{"ports":[{"port":"http"}]}}'
patch svc ok --type=merge -p '{"spec":{"ports":80}}'
patch svc ok -p '{"spec":{"ports":80}}'
patch svc ok -p '{"spec":{"ports":[{"name":"x"}]}}'
patch svc ok -p '{"spec":{"ports":[{"$patch":"replace"},{"port":8080}]}}'
patch svc ok -p '{"spec":{"ports":[{"port":8080,"$patch":"delete"}]}}'
patch svc ok -p '{"spec":{"$patch":"merge"}}'
patch svc ok -p '{"spec":{"$patch":"bogus"}}'
patch svc ok -p '{"metadata":{"labels":{"$patch":"replace","only":"this"}}}'
patch svc ok -p '{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"]}}'
patch svc ok -p '{"spec":{"selector":{"a":"b"}}}' --dry-run=server -o jsonpath={.spec.selector}
patch svc ok -p '{"spec":{"selector":{"a":"b"}}}' --dry-run=client -o jsonpath={.spec.selector}
patch svc ok --local -p '{}'
patch -f a.yml -p '{"metadata":{"labels":{"x":"y"}}}'
file p.yml
  spec:
    selector: {from: file}
patch svc ok --patch-file=p.yml
patch svc ok --patch-file=nowhere.yml
patch svc ok --subresource=nowhere -p '{}'
patch svc ok --subresource=scale -p '{}'
patch svc ok --field-manager=me -p '{"metadata":{"labels":{"x":"z"}}}'
get svc ok -o yaml
""",
}
