"""svclab: hosts on one machine, made of network namespaces. Packets between them are real.

So far there is `netns`: namespaces, links and routes, on which the demo and the tests stand. The cluster in a minute
(nodes, pods, an API server of its own) will grow from here; see README.
"""
