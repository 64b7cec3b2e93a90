"""Netfilter as values, and the doors to the kernel.

A ruleset is text twice: what we write and what `iptables-save` prints back. Both have one form here (`rules`), so that
"is it installed?" is a comparison of lines, and any program's rules can be read, compared and traced like our own.
Deciding needs no kernel: `trace` follows a packet through a ruleset and gives every outcome with its share.

Rules of the package: values are frozen; what is pure has no I/O (a repository test looks at the imports); each foreign
library and each kernel interface has one door (`writers`, `conntrack`, `links`, `accounting`), which translates its
errors, sets a time limit, and works on the network namespace of the calling thread. Nothing here knows Kubernetes.

Missing: the agent writes by iptables-restore still; `nftwriter`, straight to nfnetlink, stands ready beside it.
"""
