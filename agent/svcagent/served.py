"""What the agent asks of the API server, with kube-proxy's selectors.

What another proxy serves and what has no cluster IP is not even sent to us.
"""

from __future__ import annotations

import msgspec

from svckube import reflector
from svckube.reflector import Resource

SERVICES = msgspec.structs.replace(
    reflector.SERVICES,
    label_selector="!service.kubernetes.io/service-proxy-name",
    field_selector="spec.clusterIP!=None",
)
SLICES = msgspec.structs.replace(reflector.ENDPOINT_SLICES, label_selector="!service.kubernetes.io/headless")


def own_node(name: str) -> Resource:
    """The one Node object of this name."""
    return msgspec.structs.replace(reflector.NODES, field_selector=f"metadata.name={name}")
