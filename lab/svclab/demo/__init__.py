"""`svcplane-lab demo`: plays what users of a cluster do, on a running lab, and shows the evidence.

The rows are those of the project's acceptance table. Each has a Kubernetes namespace of its own, `demo-ROW`, acts by a
stock kubectl and by real packets (curl, dig) from pods, nodes, this machine and a host outside the cluster, and checks
what it sees. Manifests: `deploy/examples`.

- `command`   the command line; brings a lab up if there is none
- `playing`   plays rows at the same time, and what disturbs the others at the end
- `stage`     what a row acts through: kubectl, curl, places, checks with a deadline
- `rows`      which rows there are; `row_*` what they do
- `evidence`  iptables listings, counts of connections, and whether those are even (pure)
- `report`    what is printed, and the same as data (pure)

A row that fails says what was expected and what was seen; the others go on; the exit status is 1. The cluster stays
up, the namespaces go.
"""
