"""Raw requests that patch, and those to subresources.

Each script starts in an empty namespace `{ns}`. See `lab_judge.Ask`.
"""

from __future__ import annotations

from peers.lab_judge import Ask
from peers.lab_words import CM, DEPLOY, JSON_PATCH, MERGE, PODS, STRATEGIC, SVC, TABLE, config, deployment, pod, posts

REQUESTS: dict[str, list[Ask]] = {
    "patch": [
        *posts(CM, config("one", {"a": "b"}, data={"a": "1", "b": "2"})),
        Ask("PATCH", CM + "/one", {"data": {"a": None, "c": "3"}}, MERGE),
        Ask("PATCH", CM + "/one", {"data": {"a": None, "d": "3"}}, STRATEGIC),
        Ask("PATCH", CM + "/one", [{"op": "add", "path": "/data/e", "value": "5"}], JSON_PATCH),
        Ask("PATCH", CM + "/one", [{"op": "remove", "path": "/data/nowhere"}], JSON_PATCH),
        Ask(
            "PATCH",
            CM + "/one",
            [{"op": "remove", "path": "/data/e"}, {"op": "copy", "from": "/data/c", "path": "/data/z"}],
            JSON_PATCH,
        ),
        Ask("PATCH", CM + "/one", [{"op": "move", "from": "/data/z", "path": "/data/y"}], JSON_PATCH),
        Ask("PATCH", CM + "/one", [{"op": "test", "path": "/data/c", "value": "4"}], JSON_PATCH),
        Ask("PATCH", CM + "/one", [{"op": "replace", "path": "/metadata/name", "value": "x"}], JSON_PATCH),
        Ask("PATCH", CM + "/one", [{"op": "jump", "path": "/data"}], JSON_PATCH),
        Ask("PATCH", CM + "/one", {"op": "add"}, JSON_PATCH),
        Ask("PATCH", CM + "/one", "{", MERGE),
        Ask("PATCH", CM + "/one", "[]", MERGE),
        Ask("PATCH", CM + "/one", "{", STRATEGIC),
        Ask("PATCH", CM + "/one", "{", JSON_PATCH),
        Ask("PATCH", CM + "/one", {"data": {"a": "b"}}),
        Ask("PATCH", CM + "/one", {"data": {"a": "b"}}, "text/plain"),
        Ask("PATCH", CM + "/nowhere", {"data": {"a": "b"}}, MERGE),
        Ask("PATCH", CM + "/one", {"data": {"a": 1}}, MERGE),
        Ask("PATCH", CM + "/one", {"data": {"a": 1}}, STRATEGIC),
        Ask("PATCH", CM + "/one", {"data": "x"}, STRATEGIC),
        Ask("PATCH", CM + "/one", {"metadata": {"resourceVersion": "1"}}, MERGE),
        Ask("PATCH", CM + "/one", {"metadata": {"name": "two"}}, MERGE),
        Ask("PATCH", CM + "/one", {"metadata": {"namespace": "two"}}, MERGE),
        Ask("PATCH", CM + "/one", {"metadata": {"uid": "x"}}, MERGE),
        Ask("PATCH", CM + "/one", {"metadata": {"labels": None}}, MERGE),
        Ask("PATCH", CM + "/one", {"kind": "Pod"}, MERGE),
        Ask("PATCH", CM + "/one?fieldValidation=Strict", {"dada": {}}, MERGE),
        Ask("PATCH", CM + "/one?fieldValidation=Warn", {"dada": {}}, STRATEGIC),
        Ask("PATCH", CM + "/one?fieldValidation=Strict", [{"op": "add", "path": "/dada", "value": "5"}], JSON_PATCH),
        Ask("PATCH", CM + "/one?dryRun=All", {"data": {"dry": "run"}}, MERGE),
        Ask("PATCH", CM + "/one?force=true", {"data": {"dry": "run"}}, MERGE),
        Ask("PATCH", CM + "/one", {}, MERGE),
        Ask("PATCH", CM, {}, MERGE),
        *posts(DEPLOY, deployment("web")),
        Ask(
            "PATCH",
            DEPLOY + "/web",
            {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "b"}]}}}},
            STRATEGIC,
            only="spec.template.spec.containers",
        ),
        Ask(
            "PATCH",
            DEPLOY + "/web",
            {
                "spec": {
                    "template": {
                        "spec": {
                            "$setElementOrder/containers": [{"name": "web"}, {"name": "side"}],
                            "containers": [{"name": "side", "image": "c"}],
                        }
                    }
                }
            },
            STRATEGIC,
            only="spec.template.spec.containers",
        ),
        Ask(
            "PATCH",
            DEPLOY + "/web",
            {"spec": {"template": {"spec": {"containers": [{"$patch": "delete", "name": "side"}]}}}},
            STRATEGIC,
            only="spec.template.spec.containers",
        ),
        Ask("PATCH", DEPLOY + "/web", {"spec": {"template": {"spec": {"containers": [{"image": "d"}]}}}}, STRATEGIC),
        Ask(
            "PATCH",
            DEPLOY + "/web",
            {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, {"name": "n", "image": "d"}]}}}},
            STRATEGIC,
            only="spec.template.spec.containers",
        ),
        Ask("PATCH", DEPLOY + "/web", {"spec": {"template": {"$patch": "replace", "spec": {}}}}, STRATEGIC),
        Ask("PATCH", DEPLOY + "/web", {"spec": {"$patch": "wrong"}}, STRATEGIC),
        Ask("PATCH", DEPLOY + "/web", {"metadata": {"finalizers": ["a.b/c"]}}, STRATEGIC, only="metadata.finalizers"),
        Ask("PATCH", DEPLOY + "/web", {"metadata": {"finalizers": ["a.b/d"]}}, STRATEGIC, only="metadata.finalizers"),
        Ask(
            "PATCH",
            DEPLOY + "/web",
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/c", "a.b/d"]}},
            STRATEGIC,
            only="metadata",
        ),
        Ask(
            "PATCH",
            DEPLOY + "/web",
            {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
            STRATEGIC,
            only="spec.strategy",
        ),
        Ask(
            "PATCH",
            DEPLOY + "/web/status",
            {"status": {"replicas": 3}, "spec": {"replicas": 9}},
            MERGE,
            only="spec.replicas,status",
        ),
        *posts(
            SVC,
            {"metadata": {"name": "web"}, "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}},
        ),
        Ask("PATCH", SVC + "/web", {"spec": {"ports": [{"port": 82, "name": "c"}]}}, STRATEGIC, only="spec.ports"),
        Ask(
            "PATCH", SVC + "/web", {"spec": {"ports": [{"port": 82, "$patch": "delete"}]}}, STRATEGIC, only="spec.ports"
        ),
        Ask("PATCH", SVC + "/web", {"spec": {"ports": [{"port": 80, "name": "x"}]}}, MERGE, only="spec.ports"),
    ],
    "subresources": [
        *posts(PODS, pod("one"), pod("two"), pod("three")),
        Ask("POST", PODS + "/one/binding", {"metadata": {"name": "one"}, "target": {"kind": "Node", "name": "there"}}),
        Ask(
            "POST",
            PODS + "/one/binding",
            {"metadata": {"name": "one"}, "target": {"kind": "Node", "name": "elsewhere"}},
        ),
        Ask("POST", PODS + "/two/binding", {"metadata": {"name": "two"}, "target": {"kind": "Pod", "name": "there"}}),
        Ask("POST", PODS + "/two/binding", {"metadata": {"name": "two"}, "target": {"name": ""}}),
        Ask("POST", PODS + "/nowhere/binding", {"metadata": {"name": "nowhere"}, "target": {"name": "there"}}),
        Ask("POST", PODS + "/two/binding", {"metadata": {"name": "x"}, "target": {"name": "there"}}),
        Ask("GET", PODS + "/one", only="spec.nodeName,status"),
        Ask("GET", PODS + "?fieldSelector=spec.nodeName%3Dthere", only="items.0.metadata.name,items.1"),
        Ask(
            "POST", PODS + "/two/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "two"}}
        ),
        Ask(
            "POST",
            PODS + "/nowhere/eviction",
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "nowhere"}},
        ),
        Ask("GET", PODS + "/two"),
        Ask(
            "POST",
            PODS + "/one/eviction",
            {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": "one"},
                "deleteOptions": {"gracePeriodSeconds": 3},
            },
        ),
        Ask("GET", PODS + "/one", only="metadata.deletionGracePeriodSeconds"),
        Ask(
            "PUT",
            PODS + "/three/status",
            pod("three") | {"status": {"phase": "Running", "podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]}},
        ),
        Ask(
            "PATCH",
            PODS + "/three/status",
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            STRATEGIC,
            only="status",
        ),
        Ask(
            "PATCH",
            PODS + "/three/status",
            {"status": {"conditions": [{"type": "Initialized", "status": "True"}]}},
            STRATEGIC,
            only="status",
        ),
        Ask("PATCH", PODS + "/three/status", {"status": {"phase": "Sideways"}}, STRATEGIC, only="status,message"),
        Ask("PATCH", PODS + "/three/status", {"status": {"podIPs": [{"ip": "nonsense"}]}}, STRATEGIC),
        Ask(
            "PATCH", PODS + "/three/status", {"metadata": {"labels": {"from": "status"}}}, MERGE, only="metadata.labels"
        ),
        Ask("GET", PODS, accept=TABLE),
        Ask("GET", PODS + "/three/scale"),
        Ask(
            "POST",
            "/api/v1/namespaces/{ns}/serviceaccounts/default/token",
            {"spec": {"expirationSeconds": 600}},
            remember="token=status.token",
        ),
        Ask("GET", "/version", user="{token}", only="major,minor"),
        Ask(
            "POST",
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            {},
            user="{token}",
            only="kind,status.userInfo.username,status.userInfo.groups",
        ),
        Ask("POST", "/api/v1/namespaces/{ns}/serviceaccounts/nobody/token", {"spec": {}}),
        Ask("POST", "/api/v1/namespaces/{ns}/serviceaccounts/default/token", {"spec": {"expirationSeconds": 1}}),
        Ask(
            "POST",
            "/api/v1/namespaces/{ns}/serviceaccounts/default/token",
            {"spec": {"audiences": ["x"]}},
            remember="other=status.token",
            only="spec.audiences,spec.expirationSeconds",
        ),
        Ask("GET", "/api/v1/namespaces", user="{other}"),
        Ask("POST", "/api/v1/namespaces", {"metadata": {"name": "{ns}-more"}}),
        Ask(
            "PUT",
            "/api/v1/namespaces/{ns}-more/finalize",
            {"metadata": {"name": "{ns}-more"}, "spec": {"finalizers": ["kubernetes", "a.b/c"]}},
        ),
        Ask(
            "PUT",
            "/api/v1/namespaces/{ns}-more/finalize",
            {"metadata": {"name": "{ns}-more"}, "spec": {"finalizers": []}},
        ),
        Ask("POST", "/api/v1/namespaces/{ns}-more/configmaps", config("one"), only="metadata.name"),
        Ask("DELETE", "/api/v1/namespaces/{ns}-more", only="kind,metadata.name,status"),
    ],
}
