"""svckube: what the API server says.

A node's data plane is as good as its picture of the cluster. This package keeps that picture: it connects, lists,
watches, decodes, and tells the rest of a program, in order, what changed. It knows Services and slices as values and
nothing about iptables or DNS; the agent, the DNS server and the lab stand on it.

    bytes ─ access ─→ stream ─→ Applied | Deleted | … ─ reflector ─→ store ─→ Change (old, new)
                                    ↑ steps: list, watch or wait?

    objects (p)   API objects with only the fields that are read
    stream  (p)   the watch protocol and list pages, bytes to values
    store   (p)   tables and the slice index; a message in, what it changed out
    steps   (p)   what to do next after each outcome; holds every rule about 410, back-off and resuming
    access        TLS, connections, credentials kept fresh
    credentials   where the server is and who we are, from files or by `authentication`
    kubeconfig (p)  a kubeconfig in its common form
    authentication  the door to the `kubernetes` package: a process that reads the other forms, and ends
    reflector     one thread a kind that performs the steps
    observe       /metrics and probes, systemd notices, log lines
    systemd       the program as a service: ready, alive, stopping

Rules. The modules marked (p) are pure: bytes and numbers go in, values come out, so that hours of trouble are tested
in milliseconds. Work is proportional to the change: a relist after hours tells only what differs, and a message that
brings nothing new causes nothing. One bad object costs one object: it is skipped, named and counted, and its last
good value stays. An outage changes nothing either: the last known state is served until there is a newer one.
`resourceVersion` is compared for equality only; its order is the server's business.

Why not the `kubernetes` package's own models? They take fifty times as long as msgspec (tests/bench/decoding.py) and
keep every field. What the package does well, finding credentials in all their forms, is used, in a process of its own:
it takes 17 MiB, which a program that runs for months has no use for.

Missing: streamed lists (`sendInitialEvents`, KEP-3157), which would lower the server's memory in a mass restart;
protobuf and CBOR; HTTP/2, hence one TCP connection a watch.
"""
