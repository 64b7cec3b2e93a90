"""kubectl scripts of people who are wrong about files: syntax, kinds, fields, lists, and options that contradict.

Each script starts in an empty namespace of its own. See `lab_judge.lines_of` for the form.
"""

from __future__ import annotations

SCRIPTS = {
    "wrong-files": """
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: {a: 1, b: true, c: null, d: 1.5, e: [x], f: {g: h}}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: [a, b]
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: {"a b": x, "../x": y, "..": z, ok: w}
  binaryData: {bin: "%%%"}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: {"a b": x, "../x": y, "..": z, ok: w}
  binaryData: {ok: YQ==}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: {k: v}
  data: {k: w}
apply -f x.yml
create -f x.yml --validate=warn
create -f x.yml --validate=maybe
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: b, labels: null, annotations: {}, creationTimestamp: null, generation: 7, selfLink: x, uid: u}
  data:
  immutable: null
  extra: 1
apply -f x.yml
apply -f x.yml --validate=warn
create -f x.yml --validate=ignore
get cm b -o yaml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: c, creationTimestamp: yesterday}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: name
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata:
apply -f x.yml
create -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
apply -f x.yml
file x.yml
  apiVersion: 1
  kind: ConfigMap
  metadata: {name: c}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: [ConfigMap]
  metadata: {name: c}
apply -f x.yml
file x.yml
  apiVersion: apps/v1
  kind: ConfigMap
  metadata: {name: c}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: configmap
  metadata: {name: c}
apply -f x.yml
file x.yml
  apiversion: v1
  kind: ConfigMap
  metadata: {name: c}
apply -f x.yml
file x.yml
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: c}
apply -f x.yml
file x.yml
  just words
apply -f x.yml
file x.yml
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "json"}, "data": {"a": "b"}
apply -f x.yml
file x.json
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "json"}, "data": {"a": "b",}}
apply -f x.json
file x.json
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "json"}, "data": {"a": "b"}}
apply -f x.json
file x.yml
  apiVersion: v1
  kind: ConfigMap
   metadata: {name: c}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: c, name: d}
apply -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: first}
  ---
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: Second}
  ---
  ---
  # nothing
  ---
  apiVersion: v1
  kind: Secret
  metadata: {name: third}
  stringData: {a: b}
apply -f x.yml
create -f x.yml
get -f x.yml -o name
delete -f x.yml
file x.yml
  apiVersion: v1
  kind: ConfigMapList
  items:
  - {metadata: {name: l1}, data: {a: b}}
  - {metadata: {name: l2}}
create -f x.yml
file x.yml
  apiVersion: v1
  kind: List
  metadata: {resourceVersion: ""}
  items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: l1}}
  - {apiVersion: v1, kind: Service, metadata: {name: l2}, spec: {ports: [{port: 80}]}}
  - {apiVersion: v1, kind: Nope, metadata: {name: l3}}
create -f x.yml
apply -f x.yml -o name
apply -f x.yml -f x.json --dry-run=client
apply -f x.yml --dry-run=server
apply -f x.yml --dry-run=wrong
apply -f x.yml --dry-run
apply --recursive -f .
apply -f . -o name | sorted
delete -f . --ignore-not-found | sorted
apply -R -f nowhere
apply -f http://127.0.0.1:1/x.yml
create -f x.yml extra
apply x.yml
create x.yml
create -f x.json -o yaml --dry-run=server
create -f x.json --edit=maybe
replace -f x.json
replace --force -f x.json
replace -f x.json --dry-run=server
replace -f x.json --save-config
apply -f x.json --overwrite=false
apply view-last-applied cm json
apply view-last-applied cm/json -o json
apply view-last-applied cm nowhere
apply set-last-applied -f x.json
apply set-last-applied -f x.json --create-annotation
create cm bare --from-literal=a=b
apply set-last-applied -f x.json
apply view-last-applied cm bare
apply view-last-applied cm
diff -f x.json
file x.json
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "json", "labels": {"x": "y"}}, "data": {"a": "c"}}
diff -f x.json
diff -f nowhere.json
apply -f x.json --force --grace-period=0
apply -f x.json --force-conflicts
apply -f x.json --prune
apply -f x.json --cascade=wrong
get cm json -o yaml
""",
}
