"""kubectl scripts of people who are wrong about Deployments, Pods and what belongs to them.

Each script starts in an empty namespace of its own. See `lab_judge.lines_of` for the form.
"""

from __future__ import annotations

SCRIPTS = {
    "wrong-workloads": """
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    replicas: -1
    revisionHistoryLimit: -1
    progressDeadlineSeconds: 5
    minReadySeconds: 10
    strategy: {type: Rolling, rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec: {restartPolicy: Never, containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec: {containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    strategy: {rollingUpdate: {maxSurge: 10, maxUnavailable: 150%}}
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec: {containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    strategy: {type: Recreate, rollingUpdate: {maxSurge: x, maxUnavailable: -1}}
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec: {containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchLabels: {}, matchExpressions: [{key: app, operator: Is, values: [d]}]}
    template:
      metadata: {labels: {app: d}}
      spec: {containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchExpressions: [{key: app, operator: In}, {key: app, operator: Exists, values: [x]}]}
    template:
      metadata: {labels: {app: d}}
      spec: {containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchLabels: {}}
    template:
      metadata: {labels: {app: d}}
      spec: {containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {app: d}
    template:
      metadata: {labels: {app: d}}
      spec: {containers: [{name: a, image: x}]}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchLabels: {app: d}}
    template:
      metadata: {name: x, labels: {app: d}}
      spec:
        containers:
        image: nginx
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec:
        containers: {name: a, image: x}
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec:
        containers:
        - name: a
          image: " x "
          command: sleep 10
          ports: [{containerPort: http}]
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec:
        containers:
        - name: a
          image: " x "
          ports: [{containerPort: 80}, {containerPort: 80}, {containerPort: 81, hostPort: 8081, name: http}]
          env: [{name: A, value: "1"}, {name: A, value: "2"}, {name: 1x}]
          resources: {limits: {memory: 64MB, cpu: 0.1}, requests: {memory: 128Mi}}
          readinessProbe: {httpGet: {path: /, port: nowhere}, tcpSocket: {port: 80}}
          livenessProbe: {periodSeconds: 5}
        - name: b
          image: x
          ports: [{containerPort: 80, protocol: tcp}, {containerPort: 82, name: http}]
          volumeMounts: [{name: v, mountPath: relative:path}, {name: v, mountPath: /x, subPath: ../up}]
        volumes: [{name: v}, {name: v, emptyDir: {}}, {name: w, emptyDir: {}, configMap: {name: x}}]
apply -f d.yml
file d.yml
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d}
  spec:
    selector: {matchLabels: {app: d}}
    template:
      metadata: {labels: {app: d}}
      spec:
        containers:
        - name: a
          image: x
          env: [{name: A, value: "1"}, {name: A, value: "2"}]
          ports: [{containerPort: 80}, {containerPort: 80}]
        volumes: [{name: v}]
apply -f d.yml
get deploy d -o jsonpath={.spec.template.spec.volumes}
apply -f d.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p, labels: app}
  spec: {containers: [{name: a, image: x}]}
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p}
  spec: {containers: []}
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p}
  spec: {}
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p}
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p}
  spec:
    terminationGracePeriodSeconds: -1
    activeDeadlineSeconds: 0
    hostname: Bad_Host
    subdomain: -bad
    nodeName: Bad Node
    serviceAccountName: Bad_SA
    schedulerName: ""
    priorityClassName: nowhere
    tolerations: [{key: a, operator: Equals}, {operator: Exists, value: x}, {effect: NoWay}]
    topologySpreadConstraints: [{maxSkew: 0, topologyKey: "", whenUnsatisfiable: Never}]
    containers: [{name: a, image: x, imagePullPolicy: Sometimes, workingDir: x, terminationMessagePolicy: Nope}]
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p}
  spec:
    terminationGracePeriodSeconds: -1
    activeDeadlineSeconds: 0
    hostname: Bad_Host
    subdomain: -bad
    nodeName: Bad Node
    tolerations: [{key: a, operator: Equals}, {operator: Exists, value: x}, {effect: NoWay}]
    topologySpreadConstraints: [{maxSkew: 0, topologyKey: "", whenUnsatisfiable: Never}]
    hostAliases: [{ip: x, hostnames: [A_b]}]
    dnsConfig: {nameservers: [a, b, c, d], searches: [A_B], options: [{value: x}]}
    containers: [{name: a, image: x, imagePullPolicy: Sometimes, workingDir: x, terminationMessagePolicy: Nope}]
    initContainers: [{name: a, image: x, lifecycle: {preStop: {exec: {command: []}}}, \
readinessProbe: {tcpSocket: {port: 1}}}]
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p, labels: {app: p}}
  spec:
    containers:
    - {name: a, image: x, securityContext: {privileged: true, runAsUser: -1}, args: [1, 2]}
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p, labels: {app: p}}
  spec:
    containers: [{name: a, image: "x:1"}]
apply -f p.yml
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p, labels: {app: q}}
  spec:
    restartPolicy: Never
    containers: [{name: a, image: "x:2", command: [sleep]}]
apply -f p.yml
diff -f p.yml
replace -f p.yml
apply -f p.yml --force --grace-period=0
get pod p -o jsonpath={.spec.containers[0].image}
file p.yml
  apiVersion: v1
  kind: Pod
  metadata: {name: p, labels: {app: q}}
  spec:
    restartPolicy: Never
    containers: [{name: a, image: "x:3", command: [sleep]}]
apply -f p.yml
apply -f p.yml -o jsonpath={.spec.containers[0].image}
file r.yml
  apiVersion: apps/v1
  kind: ReplicaSet
  metadata: {name: r}
  spec:
    replicas: two
    template:
      spec: {containers: [{name: a, image: x}]}
apply -f r.yml
file r.yml
  apiVersion: apps/v1
  kind: ReplicaSet
  metadata: {name: r}
  spec:
    replicas: -2
    minReadySeconds: -1
    template:
      spec: {restartPolicy: OnFailure, containers: [{name: a, image: x}]}
apply -f r.yml
file n.yml
  apiVersion: v1
  kind: Node
  metadata: {name: wrong-node}
  spec: {podCIDR: abc, podCIDRs: [10.0.0.0/24, 10.1.0.0/24], taints: [{key: a, effect: x}, \
{key: "", effect: NoSchedule}]}
apply -f n.yml
file n.yml
  apiVersion: v1
  kind: Namespace
  metadata: {name: wrong.ns, labels: {kubernetes.io/metadata.name: x}}
apply -f n.yml
file n.yml
  apiVersion: v1
  kind: Namespace
  metadata: {name: wrong-ns, namespace: other, labels: {kubernetes.io/metadata.name: x, "a b": c}}
apply -f n.yml
file s.yml
  apiVersion: v1
  kind: Secret
  metadata: {name: s}
  data: {a: not base64, b: YQ==}
apply -f s.yml
file s.yml
  apiVersion: v1
  kind: Secret
  metadata: {name: s}
  type: kubernetes.io/dockerconfigjson
  data: {.dockerconfigjson: YQ==}
apply -f s.yml
file s.yml
  apiVersion: v1
  kind: Secret
  metadata: {name: s}
  type: kubernetes.io/service-account-token
apply -f s.yml
file s.yml
  apiVersion: v1
  kind: Secret
  metadata: {name: s}
  type: kubernetes.io/basic-auth
  stringData: {"a b": x}
  immutable: "yes"
apply -f s.yml
file s.yml
  apiVersion: v1
  kind: Secret
  metadata: {name: s}
  type: kubernetes.io/basic-auth
  stringData: {"a b": x}
apply -f s.yml
file s.yml
  apiVersion: v1
  kind: Secret
  metadata: {name: ssh}
  type: kubernetes.io/ssh-auth
apply -f s.yml
file l.yml
  apiVersion: coordination.k8s.io/v1
  kind: Lease
  metadata: {name: l}
  spec: {holderIdentity: "", acquireTime: now, renewTime: "2024-01-01T00:00:00Z", leaseDurationSeconds: 1.5}
apply -f l.yml
file l.yml
  apiVersion: coordination.k8s.io/v1
  kind: Lease
  metadata: {name: l}
  spec: {holderIdentity: "", acquireTime: "2024-01-01T00:00:00Z", leaseDurationSeconds: 0}
apply -f l.yml
file e.yml
  apiVersion: v1
  kind: Endpoints
  metadata: {name: e}
  subsets: [{addresses: [{ip: 10.0.0.1, hostname: A_B, nodeName: "x y"}], ports: [{port: 80}, {port: 81}]}, \
{notReadyAddresses: []}]
apply -f e.yml
file e.yml
  apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: e}
  addressType: FQDN
  endpoints: [{addresses: [a.example.com], hostname: X_Y, conditions: {ready: "yes"}}]
apply -f e.yml
file e.yml
  apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: e}
  addressType: IPv4
  ports: [{name: a, port: 80, appProtocol: "bad proto"}, {name: A}]
  endpoints: [{addresses: [10.0.0.1, 10.0.0.2], hostname: X_Y, zone: "z z", nodeName: "n n"}, {addresses: [10.0.0.1], \
hints: {forZones: [{name: ""}]}}]
apply -f e.yml
delete deploy,pods --all --force --grace-period=0
""",
}
