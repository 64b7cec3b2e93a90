"""A kubelet whose pods are namespaces with real processes: no container runtime, no images, no cgroups.

It stands where the kubelet stands: it registers a Node, keeps its Lease, runs the pods that the scheduler gives it, and
says how they are. It runs in a node of the lab or on a host of its own, from a kubeconfig.

    API server ║ watch → loop → decision (p) ─→ preparing: volumes, addresses, sandbox ─→ processes ║ kernel
                          ↑                  └→ running: start, stop, hooks, probes ────┘
                          └── results of threads, deaths of processes; status (p) → reporting ║ API server

    pods (p)         what is known of a pod; also what is on disk       storage        the files
    decision (p)     what to do next                                    loop           does it, one pod after the other
    status (p)       conditions, phase, container states                reporting      statuses and events, sent
    environment (p)  variables, command line, fields of the pod         starting       all of it for one start
    resolution (p)   resolv.conf, hosts, host name                      volumes        folders filled from the API
    probing (p)      thresholds                                         checks         HTTP, TCP, commands
    backoff (p)      10 s doubling to 5 min                             addresses (p)  the next free one
    containers       root, namespaces, shim, gate                       sandbox        the process that holds a pod
    network          routes to other nodes, masquerade                  node           Node and Lease
    teardown         ends everything of one root directory              enter          argv into a container

What holds everywhere: a process is known by its number and its start time; it is recorded before it may begin; nothing
is mounted, bound or named outside of its namespaces, so that killing the processes leaves nothing. The kubelet may die
at any time: pods go on, exit codes are kept by their shims, and the next kubelet adopts them.

What is not here: images with files of their own (a container sees the host's, and writes into memory), limits of
memory and CPU, host ports, gRPC probes, ephemeral containers, volumes from the network, user namespaces, seccomp:
root in a pod is root. Logs have no time stamps. On a cluster with the Node authorizer, the kubelet's account needs to
list and watch Nodes besides, because it does the routes too, which elsewhere is a CNI plugin's work.
"""
