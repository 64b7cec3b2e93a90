"""Objects with their status, for the judge of the lab's tables. See `lab_strategy_rows`."""

from __future__ import annotations

from peers.lab_strategy_rows import GONE, Body, Update, endpoint, meta, ports, spec, subset

BEGAN, ENDED = "2026-01-02T03:04:05Z", "2026-01-03T03:04:05Z"
RUNNING = {"running": {"startedAt": BEGAN}}
WAITING = {"waiting": {"reason": "ImagePullBackOff"}}


def terminated(**fields: object) -> Body:
    return {"terminated": {"startedAt": BEGAN, "finishedAt": ENDED, "exitCode": 0, **fields}}


def status(state: Body, ready: bool = False, restarts: int = 0, name: str = "c", last: Body | None = None) -> Body:
    return {
        "name": name,
        "state": state,
        "lastState": last or {},
        "ready": ready,
        "restartCount": restarts,
        "image": "nginx",
        "imageID": "",
    }


def pod_status(*statuses: Body, **fields: object) -> Body:
    return {"status": {"phase": "Running", "containerStatuses": list(statuses), **fields}}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
INIT = {"spec": {"initContainers": [{"name": "i", "image": "busybox"}]}}
SIDE = {"spec": {"initContainers": [{"name": "i", "image": "busybox", "restartPolicy": "Always"}]}}
NEVER = spec(restartPolicy="Never")


def init_status(state: Body, **fields: object) -> Body:
    given = {**status(state, name="i"), **fields}
    return {"status": {"phase": "Pending", "initContainerStatuses": [given]}}


TABLES: list[Update] = [
    *(
        Update(f"pods: {name}", "pods", first, given, "status")
        for name, first, given in (
            ("new", {}, {"status": {"phase": "Pending"}}),
            ("running", {}, pod_status(status(RUNNING, True), podIP="10.1.2.3", **READY)),
            ("not ready", {}, pod_status(status(RUNNING))),
            ("restarted", {}, pod_status(status(RUNNING, True, 3, last=terminated()))),
            ("waiting", {}, pod_status(status(WAITING))),
            ("completed", NEVER, pod_status(status(terminated(reason="Completed")), phase="Succeeded")),
            ("failed", NEVER, pod_status(status(terminated(exitCode=3)), phase="Failed")),
            ("killed", NEVER, pod_status(status(terminated(exitCode=137, signal=9)))),
            ("evicted", {}, {"status": {"phase": "Failed", "reason": "Evicted"}}),
            ("initializing", INIT, init_status({"running": {}})),
            ("init failed", INIT, init_status(terminated(exitCode=1, reason="Error"))),
            ("init waiting", INIT, init_status({"waiting": {"reason": "CrashLoopBackOff"}})),
            ("init killed", INIT, init_status(terminated(exitCode=1, signal=9))),
            ("side container", SIDE, init_status(RUNNING, started=True, ready=True)),
            ("on a node", spec(nodeName="n"), {"status": {"phase": "Running", "podIP": "10.1.2.3"}}),
            (
                "gates passed",
                spec(readinessGates=[{"conditionType": "a"}, {"conditionType": "b"}]),
                {"status": {"conditions": [{"type": "a", "status": "True"}]}},
            ),
            ("gated", spec(schedulingGates=[{"name": "a"}]), {}),
        )
    ),
    *(
        Update(f"services: {name}", "services", first, given, "status")
        for name, first, given in (
            ("cluster", {}, {}),
            ("headless", spec(clusterIP="None", selector=GONE), {}),
            ("no ports", spec(clusterIP="None", ports=GONE), {}),
            ("node port", ports({"name": "a", "port": 1}, {"name": "b", "port": 2}, type="NodePort"), {}),
            ("pending", spec(type="LoadBalancer"), {}),
            (
                "balanced",
                spec(type="LoadBalancer", externalIPs=["192.0.2.9"]),
                {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}, {"hostname": "a.b"}]}}},
            ),
            ("external", spec(externalIPs=["192.0.2.9", "192.0.2.10"]), {}),
            ("name", spec(type="ExternalName", externalName="a.b", ports=GONE), {}),
        )
    ),
    Update("deployments: counts", "deployments", {}, {"status": {"replicas": 1, "readyReplicas": 1}}, "status"),
    Update(
        "deployments: expression",
        "deployments",
        spec(selector={"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["z", "y"]}]}),
        {},
        "status",
    ),
    Update("replicasets: counts", "replicasets", spec(replicas=3), {"status": {"replicas": 2}}, "status"),
    Update("endpoints: plain", "endpoints", {}, {}),
    Update("endpoints: many", "endpoints", subset(addresses=[{"ip": f"10.1.2.{n}"} for n in range(1, 6)]), {}),
    Update("endpoints: none", "endpoints", {"subsets": GONE}, {}),
    Update("endpoints: not ready", "endpoints", subset(addresses=GONE, notReadyAddresses=[{"ip": "10.1.2.3"}]), {}),
    Update("endpointslices: plain", "endpointslices", {}, {}),
    Update("endpointslices: many", "endpointslices", endpoint(addresses=[f"10.1.2.{n}" for n in range(1, 6)]), {}),
    Update("endpointslices: none", "endpointslices", {"endpoints": [], "ports": [{"name": "a"}]}, {}),
    Update("nodes: new", "nodes", meta(labels={"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "b"}), {}),
    Update(
        "nodes: ready",
        "nodes",
        spec(unschedulable=True),
        {
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                "nodeInfo": {"kubeletVersion": "v1", "kernelVersion": "6", "architecture": "amd64", "osImage": "o"},
            }
        },
        "status",
    ),
    Update("nodes: away", "nodes", {}, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "status"),
    Update("namespaces: plain", "namespaces", {}, {}),
    Update("configmaps: plain", "configmaps", {"binaryData": {"b": "AAE="}}, {}),
    Update("secrets: plain", "secrets", {}, {}),
    Update("serviceaccounts: plain", "serviceaccounts", {}, {}),
    Update("leases: plain", "leases", {}, {}),
    Update("events: plain", "events", {"source": {"component": "c", "host": "h"}}, {}),
    Update("events: counted", "events", {"firstTimestamp": BEGAN, "lastTimestamp": ENDED, "count": 7}, {}),
    Update(
        "events: modern",
        "events",
        {
            "eventTime": "2026-01-02T03:04:05.000006Z",
            "reportingComponent": "a",
            "reportingInstance": "i",
            "action": "t",
            "series": {"count": 3, "lastObservedTime": "2026-01-03T03:04:05.000006Z"},
            "involvedObject": {"fieldPath": "spec.containers{c}"},
        },
        {},
    ),
    Update("networkpolicies: plain", "networkpolicies", {}, {}),
    Update("networkpolicies: all", "networkpolicies", {"spec": {"podSelector": {"matchLabels": GONE}}}, {}),
]
