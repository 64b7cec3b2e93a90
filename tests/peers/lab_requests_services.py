"""Raw requests about Services, and Tables of every kind.

Each script starts in an empty namespace `{ns}`. See `lab_judge.Ask`.
"""

from __future__ import annotations

from peers.lab_judge import Ask
from peers.lab_words import CM, DEPLOY, MERGE, PODS, SLICES, SVC, TABLE, config, deployment, pod, posts

REQUESTS: dict[str, list[Ask]] = {
    "services": [
        *posts(SVC, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.101"}}),
        Ask("POST", SVC, {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.101"}}),
        Ask("POST", SVC, {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.97.91.1"}}),
        Ask("POST", SVC, {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.255.255"}}),
        Ask("POST", SVC, {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}], "clusterIPs": ["10.96.0.102"]}}),
        Ask("POST", SVC, {"metadata": {"name": "c"}, "spec": {"ports": [{"port": 80}], "clusterIP": "fd00::1"}}),
        Ask(
            "POST",
            SVC,
            {"metadata": {"name": "c"}, "spec": {"ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"}},
        ),
        Ask(
            "POST",
            SVC,
            {"metadata": {"name": "c"}, "spec": {"ports": [{"port": 80}], "ipFamilyPolicy": "PreferDualStack"}},
        ),
        Ask("POST", SVC, {"metadata": {"name": "d"}, "spec": {"ports": [{"port": 80}], "ipFamilies": ["IPv6"]}}),
        Ask(
            "POST",
            SVC,
            {"metadata": {"name": "e"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30050}]}},
        ),
        Ask(
            "POST",
            SVC,
            {"metadata": {"name": "f"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30050}]}},
        ),
        Ask(
            "POST",
            SVC,
            {"metadata": {"name": "f"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}},
        ),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "f"},
                "spec": {
                    "type": "NodePort",
                    "ports": [
                        {"name": "t", "port": 53, "nodePort": 30053},
                        {"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053},
                    ],
                },
            },
        ),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "g"},
                "spec": {
                    "type": "NodePort",
                    "ports": [
                        {"name": "t", "port": 54, "nodePort": 30054},
                        {"name": "u", "port": 55, "nodePort": 30054},
                    ],
                },
            },
        ),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "h"},
                "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}]},
            },
        ),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "i"},
                "spec": {
                    "type": "LoadBalancer",
                    "externalTrafficPolicy": "Local",
                    "ports": [{"port": 80}],
                    "healthCheckNodePort": 30060,
                },
            },
        ),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "j"},
                "spec": {
                    "type": "LoadBalancer",
                    "externalTrafficPolicy": "Local",
                    "ports": [{"port": 80}],
                    "healthCheckNodePort": 30060,
                },
            },
        ),
        Ask("POST", SVC, {"metadata": {"name": "k"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}}}),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "l"},
                "spec": {"type": "ExternalName", "externalName": "a.example.", "clusterIP": "10.96.0.107"},
            },
        ),
        Ask(
            "POST", SVC, {"metadata": {"name": "l"}, "spec": {"type": "ExternalName", "externalName": "a.example.com"}}
        ),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "m"},
                "spec": {"ports": [{"port": 80}], "externalIPs": ["127.0.0.1", "x", "203.0.113.5"]},
            },
        ),
        Ask(
            "POST",
            SVC,
            {"metadata": {"name": "m"}, "spec": {"ports": [{"port": 80}], "loadBalancerSourceRanges": ["10.0.0.0/8"]}},
        ),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "m"},
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "loadBalancerSourceRanges": ["10.0.0.0/40"]},
            },
        ),
        Ask(
            "POST",
            SVC + "?dryRun=All",
            {"metadata": {"name": "n"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.109"}},
        ),
        Ask("POST", SVC, {"metadata": {"name": "n"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.109"}}),
        Ask("DELETE", SVC + "/n"),
        Ask("POST", SVC, {"metadata": {"name": "o"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.109"}}),
        Ask(
            "POST",
            SVC,
            {
                "metadata": {"name": "p"},
                "spec": {"ports": [{"port": 80, "targetPort": "x" * 20, "appProtocol": "bad value"}]},
            },
        ),
        Ask("POST", SVC, {"metadata": {"name": "p"}, "spec": {"ports": [{"port": 80}], "selector": {"bad key": "x"}}}),
        Ask(
            "POST",
            SVC,
            {"metadata": {"name": "p"}, "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}},
        ),
        Ask("POST", SVC, {"metadata": {"name": "p"}, "spec": {"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}}),
        Ask("POST", SVC, {"metadata": {"name": "q"}, "spec": {"ports": [{"port": 80}], "sessionAffinity": "Client"}}),
        Ask("POST", SVC, {"metadata": {"name": "q"}, "spec": {"ports": [{"port": 80}], "trafficDistribution": "Near"}}),
        Ask("PATCH", SVC + "/e", {"spec": {"type": "ClusterIP"}}, MERGE, only="spec"),
        Ask("PATCH", SVC + "/i", {"spec": {"externalTrafficPolicy": "Cluster"}}, MERGE, only="spec"),
        Ask("GET", SVC, accept=TABLE),
        Ask("GET", "/api/v1/namespaces/{ns}/services/web/status"),
        Ask(
            "PUT",
            SVC + "/web/status",
            {"metadata": {"name": "web"}, "status": {"loadBalancer": {"ingress": [{"ip": "x"}]}}},
        ),
        Ask("GET", SVC + "/web/proxy/"),
        Ask("GET", SVC + "?fieldSelector=spec.type%3DLoadBalancer", only="items.0.metadata.name,items.1.metadata.name"),
        Ask("GET", SVC + "?fieldSelector=spec.clusterIP%3DNone", only="items.0.metadata.name,items.1"),
    ],
    "tables": [
        *posts(PODS, pod("one", nodeName="there")),
        *posts(DEPLOY, deployment("web", 2)),
        *posts("/apis/apps/v1/namespaces/{ns}/replicasets", deployment("rs", 2) | {"kind": "ReplicaSet"}),
        *posts(
            SLICES,
            {
                "metadata": {"name": "s"},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.1.1.1"]}],
                "ports": [{"port": 80}],
            },
        ),
        *posts("/api/v1/namespaces/{ns}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}}),
        *posts(
            "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
            {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}},
        ),
        *posts(
            "/api/v1/namespaces/{ns}/endpoints",
            {"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}]},
        ),
        *posts(
            "/api/v1/namespaces/{ns}/events",
            {
                "metadata": {"name": "e"},
                "involvedObject": {"namespace": "{ns}", "kind": "Pod", "name": "one"},
                "reason": "R",
                "message": "M",
                "type": "Normal",
                "count": 3,
            },
        ),
        *posts(
            "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies",
            {"metadata": {"name": "n"}, "spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
        ),
        *posts("/api/v1/nodes", {"metadata": {"name": "table-node"}}),
        Ask("GET", PODS, accept=TABLE),
        Ask("GET", DEPLOY, accept=TABLE),
        Ask("GET", "/apis/apps/v1/namespaces/{ns}/replicasets", accept=TABLE),
        Ask("GET", SLICES, accept=TABLE),
        Ask("GET", "/api/v1/namespaces/{ns}/secrets", accept=TABLE),
        Ask("GET", "/api/v1/namespaces/{ns}/serviceaccounts", accept=TABLE),
        Ask("GET", "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases", accept=TABLE),
        Ask("GET", "/api/v1/namespaces/{ns}/endpoints", accept=TABLE),
        Ask("GET", "/api/v1/namespaces/{ns}/events", accept=TABLE),
        Ask("GET", "/apis/events.k8s.io/v1/namespaces/{ns}/events"),
        Ask("GET", "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies", accept=TABLE),
        Ask("GET", "/api/v1/nodes/table-node", accept=TABLE),
        Ask("GET", "/api/v1/namespaces/{ns}", accept=TABLE),
        Ask("GET", SVC, accept=TABLE, note="an empty table"),
        Ask("GET", DEPLOY + "/web/scale", accept=TABLE),
        Ask("POST", CM, config("table"), accept=TABLE),
        Ask("DELETE", CM + "/table", accept=TABLE),
        Ask("DELETE", "/api/v1/nodes/table-node"),
    ],
}
