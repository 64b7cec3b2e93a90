"""The controllers and the scheduler of the lab: what kube-controller-manager and kube-scheduler do, one program.

A controller is a pure function: objects of the cluster in, writes out (`reduce`). It remembers nothing, so it can be
started at any moment, and a test of an hour takes a millisecond. `runner` is the only loop: watches fill a `view`, the
`workqueue` says whose turn it is, `writer` sends what was decided, and the answers go back into the view before the
controller is asked again. `roster` lists them all; their names are kube-controller-manager's.

Rules: a controller looks at the world, not at what happened; what it wants twice it writes once; one bad object never
stops the others. Missing, on purpose: leader election, quotas, jobs, stateful and daemon sets, disruption budgets.
"""
