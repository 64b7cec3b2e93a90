"""svcdns: what the resolver of a Kubernetes cluster answers.

A pod that wants `web` asks a resolver for `web.prod.svc.cluster.local`, because its resolv.conf says so. Somebody has
to know that this is 10.96.1.10, or three pods, or an alias of a host elsewhere, or nothing; to know it a moment after
the API server does; and to send on what is none of the cluster's business. That is all of this package.

Why the answers are CoreDNS's, down to the weight of an SRV record: programs have grown around them. A search list
moves on at NXDOMAIN and stops at NODATA or SERVFAIL, so the wrong kind of "no" breaks a pod that never asked us
anything odd. Where we differ, we differ by a rule that dns/README.md names and a test holds on to.

    settings              what the server is told, as one value                                    (pure)
    corefile  directives  plugins  plugin_*    a Corefile to settings      options  flags  the command line (pure)
    records  names        what a name and a record are; what a name under our zones speaks of     (pure)
    slim                  API objects without what no answer depends on                            (pure)
    index                 the cluster by name and by address, one service rebuilt a change         (pure)
    answer                question and index to a reply, or to what an upstream must be asked      (pure)
    wire                  octets to questions, replies to octets; the door to dnslib               (pure)
    hosts  rewrite        names from a file; questions asked under another name                    (pure)
    acl                   who may ask what                                                         (pure)
    foreign  cache        what other resolvers say, trimmed to the question; what of it is kept    (pure)
    wirecache             replies by the octets of their question, as long as they are true        (pure)
    transfer              a zone whole, for those who may have it                                  (pure)
    cluster  watch        feeds the index, knows whether everything has been listed; its reflectors
    upstream  forward     one other resolver; which of them is asked      beyond   these and the cache
    hostnames             upstreams by name
    respond               one message to one reply      chain   a server block, and which answers    report   the log
    server                the sockets, of which    datagrams  streams    are UDP and TCP
    bursts  batch         what comes together is answered together; recvmmsg(2)
    workers  worker       more processes on the same ports, and one of them
    channel               what a server and its workers tell each other                            (pure)
    clients               who is at home, and how much strangers are told                      (pure)
    tally  counters       the metrics      histogram    (pure) values by size
    busiest  local  top      which names and clients ask most (the first pure), told on the machine
    lookup  stub  explain    what a pod asks, what it would be told, and why (the last two pure)
    assembly  life        settings made to work; started, changed, ended      cli   the program
    nodeflags  pillars  notrack    a node's cache: node-cache's flags, Corefile variables and rules (pure)
    nodelocal             what stands around a server on a node      diversion   interface and rules, made and undone
    guardian              undoes them when the process has died, however it died

Rules. One loop: sockets, store and index belong to its thread, so an answer sees a change whole or not at all, and no
lock is taken for a query; reflectors have threads of their own and hand their batches over. What we know ourselves is
answered in the same call that read the datagram; only what needs an upstream becomes a task. Names are octets on
their way in and out, never text: no codec, no escapes, no surprise. What is held of an object is what an answer could
need, once. The API server's absence is nobody's problem but a newcomer's: what was known is answered for
ever.

Missing: what dns/README.md lists.
"""
