"""All controllers of the lab, in the order in which their work is queued. Pure."""

from __future__ import annotations

import msgspec

from svclab.controllers.deployment import DeploymentController
from svclab.controllers.endpoints import EndpointsController
from svclab.controllers.endpointslice import EndpointSliceController
from svclab.controllers.eviction import PodGarbageCollector, TaintEvictionController
from svclab.controllers.garbage import GarbageCollector
from svclab.controllers.loadbalancer import LoadBalancerController
from svclab.controllers.mirroring import EndpointSliceMirroringController
from svclab.controllers.namespaces import NamespaceController, RootCaController, ServiceAccountController
from svclab.controllers.nodeipam import NodeIpamController
from svclab.controllers.nodelifecycle import GRACE, NodeLifecycleController
from svclab.controllers.reduce import Controller
from svclab.controllers.replicaset import ReplicaSetController
from svclab.controllers.scheduler import Scheduler


class Settings(msgspec.Struct, frozen=True):
    """`root_ca` is PEM; "" stands for none, like an empty pool. `started` is in seconds since the epoch."""

    cluster_cidr: str = "10.244.0.0/16"
    node_mask_size: int = 24
    service_cidr: str = "10.96.0.0/12"
    lb_pool: str = ""
    grace_seconds: float = GRACE
    root_ca: str = ""
    started: float = 0.0


def controllers(settings: Settings) -> list[Controller]:
    """Raises LabError for ranges and pools that are none."""
    return [
        ServiceAccountController(),
        RootCaController(settings.root_ca),
        NodeIpamController(settings.cluster_cidr, settings.node_mask_size, settings.service_cidr),
        NodeLifecycleController(settings.grace_seconds, settings.started),
        DeploymentController(),
        ReplicaSetController(),
        Scheduler(),
        EndpointSliceController(),
        EndpointsController(),
        EndpointSliceMirroringController(),
        LoadBalancerController(settings.lb_pool),
        TaintEvictionController(),
        PodGarbageCollector(),
        GarbageCollector(),
        NamespaceController(),
    ]
