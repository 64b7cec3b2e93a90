"""Pods and workloads, good and bad, for the judge of the lab's API semantics. See `lab_strategy_rows`."""

from __future__ import annotations

from peers.lab_strategy_rows import CONTAINER, GONE, Body, Update, container, meta, spec, template, volumes

PROBE = {"httpGet": {"port": 8080}}
TERM: Body = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname"}
SPREAD: Body = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def environment(*variables: Body) -> Body:
    return container(env=list(variables))


def from_source(**source: Body) -> Body:
    return environment({"name": "A", "valueFrom": source})


def resources(**given: Body) -> Body:
    return container(resources=given)


def node_affinity(**given: object) -> Body:
    return spec(affinity={"nodeAffinity": given})


def pod_affinity(**given: object) -> Body:
    return spec(affinity={"podAffinity": given, "podAntiAffinity": given})


PODS: dict[str, Body] = {
    "plain": {},
    "no containers": spec(containers=[]),
    "container without name": spec(containers=[{"image": "x"}]),
    "container without image": spec(containers=[{"name": "c"}]),
    "container without anything": spec(containers=[{}]),
    "container name in capitals": container(name="C"),
    "container name with dot": container(name="a.b"),
    "same container names": spec(containers=[CONTAINER, CONTAINER]),
    "image with tag": container(image="nginx:1.27"),
    "image latest": container(image="registry.example:5000/a/b:latest"),
    "image by digest": container(image="nginx@sha256:" + "0" * 64),
    "image with capitals": container(image="Nginx"),
    "image with blanks": container(image=" nginx "),
    "pull policy": container(imagePullPolicy="Never"),
    "pull policy wrong": container(imagePullPolicy="never"),
    "command": container(command=["a"], args=["b"], workingDir="/x"),
    "port": container(ports=[{"containerPort": 80, "name": "http"}]),
    "port missing": container(ports=[{"name": "http"}]),
    "port 70000": container(ports=[{"containerPort": 70000}]),
    "port name wrong": container(ports=[{"containerPort": 80, "name": "a-very-long-port-name"}]),
    "port names the same": container(ports=[{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]),
    "ports the same": container(ports=[{"containerPort": 80}, {"containerPort": 80}]),
    "port protocol": container(ports=[{"containerPort": 80, "protocol": "HTTP"}]),
    "host port": container(ports=[{"containerPort": 80, "hostPort": 8080}]),
    "host port 70000": container(ports=[{"containerPort": 80, "hostPort": 70000}]),
    "host ports the same": container(
        ports=[{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]
    ),
    "host network": {"spec": {"hostNetwork": True, "containers": [{**CONTAINER, "ports": [{"containerPort": 80}]}]}},
    "host network with other port": {
        "spec": {"hostNetwork": True, "containers": [{**CONTAINER, "ports": [{"containerPort": 80, "hostPort": 81}]}]}
    },
    "variable": environment({"name": "A", "value": "b"}),
    "variable without name": environment({"value": "b"}),
    "variable with equals": environment({"name": "A=B"}),
    "variable with digit first": environment({"name": "1A"}),
    "variable twice": environment({"name": "A", "value": "b"}, {"name": "A", "value": "c"}),
    "variable from field": from_source(fieldRef={"fieldPath": "status.podIP"}),
    "variable from label": from_source(fieldRef={"fieldPath": "metadata.labels['app']"}),
    "variable from bad label": from_source(fieldRef={"fieldPath": "metadata.labels['a b']"}),
    "variable from unknown field": from_source(fieldRef={"fieldPath": "spec.nothing"}),
    "variable from unsupported field": from_source(fieldRef={"fieldPath": "metadata.labels"}),
    "variable from no field": from_source(fieldRef={"fieldPath": ""}),
    "variable from resource": from_source(resourceFieldRef={"resource": "limits.cpu"}),
    "variable from unknown resource": from_source(resourceFieldRef={"resource": "cpu"}),
    "variable from resource by divisor": from_source(resourceFieldRef={"resource": "limits.cpu", "divisor": "7"}),
    "variable from memory by divisor": from_source(resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}),
    "variable from config map": from_source(configMapKeyRef={"name": "a", "key": "b"}),
    "variable from config map without key": from_source(configMapKeyRef={"name": "a"}),
    "variable from secret with bad key": from_source(secretKeyRef={"name": "A", "key": "b c"}),
    "variable from nothing": from_source(),
    "variable from two": from_source(configMapKeyRef={"name": "a", "key": "b"}, secretKeyRef={"name": "a", "key": "b"}),
    "variable from field with value": environment(
        {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    ),
    "variables from config map": container(envFrom=[{"prefix": "P_", "configMapRef": {"name": "a"}}]),
    "variables from nothing": container(envFrom=[{}]),
    "variables from both": container(envFrom=[{"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}]),
    "variables from nameless": container(envFrom=[{"secretRef": {}}]),
    "resources": resources(limits={"cpu": "0.5", "memory": "1024Mi"}, requests={"cpu": "250m"}),
    "resources guaranteed": resources(limits={"cpu": "1", "memory": "1Gi"}),
    "resources tiny": resources(limits={"cpu": "0.0001"}),
    "resources fractional memory": resources(limits={"memory": "100m"}),
    "resources exponent": resources(limits={"memory": "1e3"}),
    "request above limit": resources(limits={"cpu": "1"}, requests={"cpu": "2"}),
    "negative limit": resources(limits={"cpu": "-1"}),
    "unknown resource": resources(limits={"gold": "1"}),
    "resource with bad name": resources(limits={"a b": "1"}),
    "extended resource": resources(limits={"a.example/b": "1"}),
    "extended resource in halves": resources(limits={"a.example/b": "1500m"}),
    "extended request only": resources(requests={"a.example/b": "1"}),
    "huge pages alone": resources(limits={"hugepages-2Mi": "2Mi"}),
    "liveness": container(livenessProbe=PROBE),
    "readiness by name": container(readinessProbe={"tcpSocket": {"port": "http"}}),
    "startup by command": container(startupProbe={"exec": {"command": ["true"]}}),
    "probe by grpc": container(livenessProbe={"grpc": {"port": 9090}}),
    "probe without handler": container(livenessProbe={}),
    "probe without command": container(livenessProbe={"exec": {}}),
    "probe with two handlers": container(livenessProbe={**PROBE, "tcpSocket": {"port": 1}}),
    "probe port": container(livenessProbe={"httpGet": {"port": 0}}),
    "probe scheme": container(livenessProbe={"httpGet": {"port": 80, "scheme": "http"}}),
    "probe header": container(livenessProbe={"httpGet": {"port": 80, "httpHeaders": [{"name": "a b", "value": "c"}]}}),
    "probe negative": container(livenessProbe={**PROBE, "initialDelaySeconds": -1, "failureThreshold": -1}),
    "liveness success twice": container(livenessProbe={**PROBE, "successThreshold": 2}),
    "readiness success twice": container(readinessProbe={**PROBE, "successThreshold": 2}),
    "readiness grace": container(readinessProbe={**PROBE, "terminationGracePeriodSeconds": 5}),
    "liveness no grace": container(livenessProbe={**PROBE, "terminationGracePeriodSeconds": 0}),
    "hooks": container(lifecycle={"postStart": {"exec": {"command": ["a"]}}, "preStop": {"sleep": {"seconds": 3}}}),
    "hook sleeps too long": container(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
    "hook without handler": container(lifecycle={"preStop": {}}),
    "stop signal": container(lifecycle={"stopSignal": "SIGUSR1"}),
    "privileged": container(securityContext={"privileged": True}),
    "security context": container(securityContext={"runAsUser": 0, "runAsNonRoot": False}),
    "negative user": container(securityContext={"runAsUser": -1}),
    "termination message": container(terminationMessagePolicy="Log"),
    "resize": container(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
    "resize wrong": container(resizePolicy=[{"resourceName": "disk", "restartPolicy": "Now"}]),
    "container restart policy": container(restartPolicy="Never"),
    "container restart policy wrong": container(restartPolicy="never"),
    "init container": spec(initContainers=[{"name": "i", "image": "busybox"}]),
    "init container with the name": spec(initContainers=[CONTAINER]),
    "init container with probe": spec(initContainers=[{"name": "i", "image": "x", "livenessProbe": PROBE}]),
    "side container": spec(
        initContainers=[{"name": "i", "image": "x", "restartPolicy": "Always", "readinessProbe": PROBE}]
    ),
    "ephemeral container": spec(ephemeralContainers=[{"name": "e", "image": "x"}]),
    "restart policy": spec(restartPolicy="OnFailure"),
    "restart policy wrong": spec(restartPolicy="Sometimes"),
    "DNS policy": spec(dnsPolicy="Default"),
    "DNS policy wrong": spec(dnsPolicy="Cluster"),
    "DNS of its own": spec(
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.53"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]},
    ),
    "DNS None without configuration": spec(dnsPolicy="None"),
    "DNS None without servers": spec(dnsPolicy="None", dnsConfig={"searches": ["a.b"]}),
    "DNS server wrong": spec(dnsConfig={"nameservers": ["here"]}),
    "DNS with four servers": spec(dnsConfig={"nameservers": [f"192.0.2.{number}" for number in range(4)]}),
    "DNS search wrong": spec(dnsConfig={"searches": ["a b"]}),
    "DNS search with underscore": spec(dnsConfig={"searches": ["_a.b."]}),
    "DNS with many searches": spec(dnsConfig={"searches": [f"a{number}" for number in range(33)]}),
    "DNS option without name": spec(dnsConfig={"options": [{"value": "2"}]}),
    "node selector": spec(nodeSelector={"disk": "fast"}),
    "node selector wrong": spec(nodeSelector={"a b": "c"}),
    "node selector old": spec(nodeSelector={"beta.kubernetes.io/os": "linux"}),
    "node name": spec(nodeName="node-1"),
    "node name wrong": spec(nodeName="Node"),
    "grace period": spec(terminationGracePeriodSeconds=0),
    "grace period negative": spec(terminationGracePeriodSeconds=-1),
    "deadline": spec(activeDeadlineSeconds=60),
    "deadline 0": spec(activeDeadlineSeconds=0),
    "host name": spec(hostname="a", subdomain="b"),
    "host name wrong": spec(hostname="a.b", subdomain="B"),
    "account": spec(serviceAccountName="default"),
    "account by the old name": spec(serviceAccount="default"),
    "no token": spec(automountServiceAccountToken=False),
    "token mounted by hand": volumes(
        {"name": "t", "emptyDir": {}},
        volumeMounts=[{"name": "t", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
    ),
    "priority class": spec(priorityClassName="system-node-critical"),
    "priority class unknown": spec(priorityClassName="gold"),
    "priority": spec(priority=5),
    "priority 0": spec(priority=0),
    "preemption policy": spec(preemptionPolicy="Never"),
    "service links": spec(enableServiceLinks=False),
    "scheduler": spec(schedulerName="mine"),
    "host aliases": spec(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["a.b"]}]),
    "host aliases wrong": spec(hostAliases=[{"ip": "x", "hostnames": ["A"]}]),
    "host aliases twice": spec(hostAliases=[{"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}]),
    "pull secrets": spec(imagePullSecrets=[{"name": "a"}]),
    "pull secrets nameless": spec(imagePullSecrets=[{}]),
    "share processes": spec(shareProcessNamespace=True, hostPID=True),
    "group": spec(securityContext={"fsGroup": -1, "supplementalGroups": [1, -1]}),
    "host users": spec(hostUsers=False, hostPID=True),
    "runtime class": spec(runtimeClassName="A"),
    "gates": spec(schedulingGates=[{"name": "a.example/b"}]),
    "gates twice": spec(schedulingGates=[{"name": "a"}, {"name": "a"}]),
    "gates on a node": spec(schedulingGates=[{"name": "a"}], nodeName="n"),
    "readiness gates": spec(readinessGates=[{"conditionType": "a.example/b"}, {"conditionType": "a b"}]),
    "operating system": spec(os={"name": "linux"}),
    "status is dropped": {"status": {"phase": "Running"}},
    "deletion cost": meta(annotations={"controller.kubernetes.io/pod-deletion-cost": "a"}),
    "toleration": spec(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]),
    "toleration of all": spec(tolerations=[{"operator": "Exists"}]),
    "toleration of not ready": spec(
        tolerations=[
            {
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 2,
            }
        ]
    ),
    "toleration without key": spec(tolerations=[{"operator": "Equal", "value": "b"}]),
    "toleration with value": spec(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
    "toleration with bad value": spec(tolerations=[{"key": "a", "value": "b c"}]),
    "toleration seconds": spec(tolerations=[{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]),
    "toleration operator": spec(tolerations=[{"key": "a", "operator": "Is"}]),
    "toleration compares": spec(tolerations=[{"key": "a", "operator": "Gt", "value": "5"}]),
    "toleration effect": spec(tolerations=[{"key": "a", "effect": "Never"}]),
    "node affinity": node_affinity(
        **{REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}
    ),
    "node affinity without terms": node_affinity(**{REQUIRED: {"nodeSelectorTerms": []}}),
    "node affinity wrong": node_affinity(
        **{
            REQUIRED: {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "a b", "operator": "Is"}, {"key": "a", "operator": "Gt"}]},
                    {"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["a", "b"]}]},
                ]
            }
        }
    ),
    "node affinity weight": node_affinity(**{PREFERRED: [{"weight": 101, "preference": {}}]}),
    "pod affinity": pod_affinity(**{REQUIRED: [TERM]}),
    "pod affinity without key": pod_affinity(**{REQUIRED: [{**TERM, "topologyKey": ""}]}),
    "pod affinity weight": pod_affinity(**{PREFERRED: [{"weight": 0, "podAffinityTerm": TERM}]}),
    "pod affinity selector": pod_affinity(
        **{REQUIRED: [{**TERM, "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]}
    ),
    "spread": spec(topologySpreadConstraints=[SPREAD]),
    "spread without selector": spec(topologySpreadConstraints=[{**SPREAD, "labelSelector": None}]),
    "spread wrong": spec(topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}]),
    "spread twice": spec(topologySpreadConstraints=[SPREAD, SPREAD]),
    "spread domains": spec(
        topologySpreadConstraints=[{**SPREAD, "minDomains": 0, "whenUnsatisfiable": "ScheduleAnyway"}]
    ),
    "empty directory": volumes({"name": "v", "emptyDir": {}}, volumeMounts=[{"name": "v", "mountPath": "/v"}]),
    "volume of nothing": volumes({"name": "v"}),
    "volume of two": volumes({"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}),
    "volume without name": volumes({"emptyDir": {}}),
    "volume names the same": volumes({"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}),
    "volume name wrong": volumes({"name": "V", "emptyDir": {}}),
    "host path": volumes({"name": "v", "hostPath": {"path": "/x", "type": "Directory"}}),
    "host path wrong": volumes({"name": "v", "hostPath": {"path": "/x/../y", "type": "Folder"}}),
    "config map volume": volumes({"name": "v", "configMap": {"name": "a", "items": [{"key": "k", "path": "p"}]}}),
    "config map volume wrong": volumes(
        {"name": "v", "configMap": {"items": [{"path": "/p"}, {"key": "k", "path": "../p"}, {"key": "k"}]}}
    ),
    "secret volume": volumes({"name": "v", "secret": {"secretName": "a", "defaultMode": 256, "optional": True}}),
    "secret volume wrong": volumes({"name": "v", "secret": {"defaultMode": 512}}),
    "downward volume": volumes(
        {"name": "v", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
    ),
    "downward volume wrong": volumes({"name": "v", "downwardAPI": {"items": [{"path": "..p"}]}}),
    "projected volume": volumes(
        {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"secret": {"name": "s"}}]}}
    ),
    "projected volume wrong": volumes(
        {
            "name": "v",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "", "expirationSeconds": 5}, "secret": {"name": "s"}},
                    {"configMap": {}},
                ]
            },
        }
    ),
    "claim volume": volumes({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}),
    "claim volume wrong": volumes({"name": "v", "persistentVolumeClaim": {}}),
    "mount of nothing": container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
    "mounts of one place": volumes(
        {"name": "v", "emptyDir": {}},
        volumeMounts=[{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}],
    ),
    "mount inside": volumes(
        {"name": "v", "emptyDir": {}}, volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "../x"}]
    ),
    "mount nowhere": volumes({"name": "v", "emptyDir": {}}, volumeMounts=[{"name": "v", "mountPath": ""}]),
}

STORED = container(ports=[{"containerPort": 80}])
POD_UPDATES: list[Update] = [
    Update(name, "pods", first, change)
    for name, first, change in (
        ("nothing", {}, {}),
        ("label", {}, meta(labels={"a": "b"})),
        ("label wrong", {}, meta(labels={"a": "b c"})),
        ("image", {}, container(image="nginx:2")),
        ("image goes", {}, container(image="")),
        ("command", STORED, container(command=["sleep"])),
        ("node", {}, spec(nodeName="node-1")),
        ("containers more", {}, spec(containers=[CONTAINER, {"name": "d", "image": "x"}])),
        ("restart policy", {}, spec(restartPolicy="Never")),
        ("deadline comes", {}, spec(activeDeadlineSeconds=60)),
        ("deadline longer", spec(activeDeadlineSeconds=60), spec(activeDeadlineSeconds=61)),
        ("deadline shorter", spec(activeDeadlineSeconds=60), spec(activeDeadlineSeconds=59)),
        ("deadline goes", spec(activeDeadlineSeconds=60), spec(activeDeadlineSeconds=GONE)),
        ("tolerations replaced", {}, spec(tolerations=[{"key": "a", "operator": "Exists"}])),
        ("host alias", {}, spec(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["a"]}])),
        ("gate comes", spec(schedulingGates=[{"name": "a"}]), spec(schedulingGates=[{"name": "b"}])),
        ("gate goes", spec(schedulingGates=[{"name": "a"}]), spec(schedulingGates=[])),
        ("service links", {}, spec(enableServiceLinks=False, hostname="h")),
        ("status is kept", {}, {"status": {"phase": "Running"}}),
    )
] + [
    Update(f"status: {name}", "pods", {}, {"status": status}, "status")
    for name, status in (
        ("running", {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}),
        ("only podIP", {"podIP": "10.1.2.3"}),
        ("bad address", {"podIPs": [{"ip": "x"}]}),
        ("two addresses", {"podIPs": [{"ip": "10.1.2.3"}, {"ip": "10.1.2.4"}]}),
        ("host addresses", {"hostIP": "10.1.2.3", "hostIPs": [{"ip": "10.1.2.4"}]}),
        ("quality", {"qosClass": "Guaranteed"}),
        ("quality dropped", {"qosClass": GONE}),
        ("generations", {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}),
        ("condition", {"conditions": [{"type": "a b", "status": "True"}]}),
    )
]

EMPTY_SELECTOR = {"matchLabels": GONE}
BOTH: dict[str, Body] = {
    "plain": {},
    "replicas": spec(replicas=3),
    "no replicas": spec(replicas=0),
    "negative replicas": spec(replicas=-1),
    "no selector": spec(selector=GONE),
    "empty selector": spec(selector=EMPTY_SELECTOR),
    "selector of others": spec(selector={"matchLabels": {"app": "y"}}),
    "selector wrong": spec(selector={"matchLabels": {"app": "b c"}}),
    "selector by expression": spec(
        selector={"matchLabels": GONE, "matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]}
    ),
    "selector without operator": spec(selector={"matchExpressions": [{"key": "app"}]}),
    "selector without values": spec(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
    "selector with values": spec(selector={"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
    "no template labels": {"spec": {"template": {"metadata": GONE}}},
    "template label wrong": {"spec": {"template": {"metadata": {"labels": {"b": "c d"}}}}},
    "no template": spec(template=GONE),
    "template restarts never": template(restartPolicy="Never"),
    "template deadline": template(activeDeadlineSeconds=5),
    "template image missing": template(containers=[{"name": "c"}]),
    "template host network": template(hostNetwork=True, containers=[{**CONTAINER, "ports": [{"containerPort": 80}]}]),
    "template account": template(serviceAccountName="a"),
    "minimum ready": spec(minReadySeconds=-1),
    "name with dots": meta(name="a.b"),
}
WORKLOADS: dict[str, dict[str, Body]] = {
    "replicasets": BOTH,
    "deployments": {
        **BOTH,
        "recreate": spec(strategy={"type": "Recreate"}),
        "recreate with numbers": spec(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        "strategy wrong": spec(strategy={"type": "BlueGreen"}),
        "rolling numbers": spec(strategy={"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}),
        "rolling nothing": spec(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        "rolling words": spec(strategy={"rollingUpdate": {"maxSurge": "many", "maxUnavailable": "few%"}}),
        "rolling negative": spec(strategy={"rollingUpdate": {"maxSurge": -1}}),
        "rolling too much": spec(strategy={"rollingUpdate": {"maxUnavailable": "101%"}}),
        "deadline before ready": spec(minReadySeconds=10, progressDeadlineSeconds=10),
        "negative history": spec(revisionHistoryLimit=-1),
        "paused": spec(paused=True),
    },
}
WORKLOAD_UPDATES: list[Update] = [
    Update(name, kind, first, change, subresource)
    for kind in ("deployments", "replicasets")
    for name, first, change, subresource in (
        ("nothing", {}, {}, ""),
        ("replicas", {}, spec(replicas=5), ""),
        ("image", {}, template(containers=[{**CONTAINER, "image": "nginx:2"}]), ""),
        ("annotation", {}, meta(annotations={"a": "b"}), ""),
        ("label", {}, meta(labels={"a": "b"}), ""),
        ("selector", {}, spec(selector={"matchLabels": {"app": "y"}}), ""),
        (
            "selector and labels",
            {},
            {"spec": {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}},
            "",
        ),
        ("negative replicas", {}, spec(replicas=-1), ""),
        ("status is kept", {}, {"status": {"replicas": 3}}, ""),
        ("counts", {}, {"status": {"replicas": 1, "readyReplicas": 2}}, "status"),
        ("available", {}, {"status": {"replicas": 3, "availableReplicas": 1}}, "status"),
        ("good", {}, {**meta(labels={"a": "b"}), "status": {"replicas": 3, "readyReplicas": 1}}, "status"),
        ("negative", {}, {"status": {"replicas": -1}}, "status"),
    )
]
