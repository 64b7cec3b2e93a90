"""What this node's kernel should do about Services, and making it so.

    Services, slices -> resolve -> topology -> compile -> dispatch -> patch | netlink or iptables-restore
                                              and only after the write:     | conntrack, health, metrics

Up to the bar everything is a value: `resolve` and `topology` say what a service port is on this node and know nothing
of netfilter; `compile`, `skeleton` and `dispatch` say it in kube-proxy's rules; `patch` says what the kernel lacks, and
`writing` puts it there.
`pipeline` holds the state of one address family, `pace` says when to work, `sync` is the only loop.

Rules of the loop: nothing is written before Services, EndpointSlices and the Node are listed. Work is proportional to
the change. After a failed write nothing is known, so the next pass compares with a dump; it is retried by itself. What
somebody else changes is found by an audit, which looks beside the loop (`audit`). IPv4 and IPv6 are two pipelines of
the same code. Time is a parameter.

agent/README.md tells what differs from kube-proxy, and what is missing.
"""
