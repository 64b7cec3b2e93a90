"""svclab: a Kubernetes cluster on one machine. Nodes and pods are network namespaces; packets between them are real.

    cluster      plans a lab, places its daemons on hosts, keeps them running, removes all of it
    apiserver    kube-apiserver's protocol over objects in memory and SQLite
    controllers  what kube-controller-manager and kube-scheduler do, as pure functions
    kubelet      pods as namespaces with real processes; `images` and `programs` are what they run
    upstream     the lab's internet: DNS and web servers outside of the cluster
    demo         plays what users do, and shows the evidence

`netns` makes hosts, cables and routes; tests use it alone. `watched` holds what a watch has said, `certificates` issues
them, `processes` tells one process from the next with its number. `cli` is `svcplane-lab`.
"""
