"""The lab's internet: the DNS server that the cluster's forwards to, and the web servers it names.

There is no other internet here. `svcplane-lab upstream` runs on a host of its own; every address of its network is
its own. The pieces: `internet` (pure: names, addresses, what each web server says) and `command` (the sockets).

As outside: names are aliases of other names, a web server that is asked for a name it does not have refuses, an unknown
name is NXDOMAIN, every address has a reverse name. Missing: TLS, IPv6.
"""
