"""The lab's API server: kube-apiserver's protocol over objects in memory, each write in SQLite before it is answered.

    HTTP ║ server, watching → writing (decode, patch) → verbs → strategy (what a kind means) → state → Change
                                                                         database ║ ← settle → watchers ║

Pure modules stand in the middle: `state` keeps the objects and their history, `verbs` does what the real server's
registry does with them, `lists` reads, `selectors`, `patches`, `options`, `go_json`, `protobuf` and `schema` know the
protocol. `schema.json` holds the facts about types; they are drawn from a real kube-apiserver (tests/peers/
draw_schema.py), and a test says when they are out of date. `core` settles: first the disk, then the watchers, then the
answer. One loop; a request that writes never waits between reading the state and changing it, so there are no locks.

What is different from a real server, on purpose:
- Whoever is authenticated may do everything; there is no RBAC. Anonymous requests get the real server's 403.
- managedFields are not kept, and server-side apply is refused (415); `kubectl apply` works as it always did.
- OpenAPI documents have no descriptions, so `kubectl explain` shows types and no prose; tables have no column prose.
- Protobuf is read but not written: clients that accept JSON as well, and client-go does, get JSON.
- exec, attach, logs, port-forward and proxy answer 501, and so does the creation of kinds that are not served.
- An eviction is a deletion: there are no disruption budgets. No quotas, limits, webhooks, custom resources.
- History is 4096 changes a resource, and none after a restart: who asks for older changes gets 410 and lists again.
"""
