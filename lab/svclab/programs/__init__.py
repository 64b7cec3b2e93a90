"""What runs in the lab's containers: small programs that stand in for the images people use.

A cluster on one machine starts dozens of them, so each must be up within some 40 ms and stay near 10 MiB: they use the
standard library only, and of that little, and run in an interpreter without site packages (`python -S -E start.py`).
Nothing here imports the rest of the lab.

- `start`     the script that runs one of them: `start.py NAME [ARGUMENT...]`
- `messages`  HTTP/1.1 without I/O: octets in, requests out; responses in, octets out
- `serving`   one loop over TCP and UDP sockets, and what happens at SIGTERM
- `sites`     what the web servers answer: nginx, httpd, kubia, myweb, http-echo, the numbers of the study notes
- `agnhost`   the commands of Kubernetes' test image
- `words`     flags as Go programs take them

Ending: at SIGTERM a server goes on accepting until no request has come for LINGER_SECONDS (environment, default 2; 0
ends at once), the kubelet's probes apart, and at most ten times that long. A real nginx stops at once: while its
endpoint is still being withdrawn from the nodes, connections are refused, unless the pod has a `preStop` hook. Here a
rolling update loses no request without one; with LINGER_SECONDS=0 in the pod's environment it does, as elsewhere.

Missing: TLS, HTTP/2, request bodies that come in chunks, SCTP.
"""
