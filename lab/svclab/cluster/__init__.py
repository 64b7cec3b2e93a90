"""The cluster: a lab is planned, placed, kept running, looked into and removed.

`plan` says what it is called and which addresses it has. `topology` makes its hosts, which are network namespaces, and
their cables, as `wiring` draws them. `pki` makes the credentials. `supervisor` runs the daemons that `daemons` lists,
each on its host (`placement`), and starts again what dies (`restarts`). `bringing_up` puts these together, `removal`
undoes all of it. What is where on disk: `state`.

Rules. The plan is written down before anything is made, so that whatever is interrupted can be found. A process is
known by pid and start time; what has none on record is found by its network namespace. Nothing is removed that is not
named svcp-LAB-… or lies in the lab's folder. The machine gets one interface, its address and the routes of the load
balancer pool; no setting, no rule.

Missing: IPv6, more than one machine, a lab without root.
"""
