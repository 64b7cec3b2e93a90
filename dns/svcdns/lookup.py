"""`svcplane-dns lookup`: what would be answered, to a name as it is or as a pod would ask for it.

In: where the cluster is, a name, perhaps a pod. Out: lines for people on standard output; exit status 0. The cluster is
listed as a server would list it, and the questions are put to the same function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from svcdns.answer import Question, Zones, answer
from svcdns.explain import explained, is_found, next_step
from svcdns.index import Index
from svcdns.records import TYPE_NAMES, name_of, text_of
from svcdns.settings import Source
from svcdns.stub import Client, ResolvConf, names_asked, resolv_conf
from svcdns.tally import Tally
from svcdns.watch import Watched, access_of
from svckube.access import AccessError
from svckube.observe import registry

LOOKUP_SECONDS = 30.0
KUBE_DNS = "kube-system/kube-dns"  # what the DNS Service is called, whatever serves


async def look_up(source: Source, name: str, kind: int, pod: str = "") -> int:
    """Prints the reply as zone-file lines, with comments that say why and whether an upstream would be asked."""
    client = await asyncio.to_thread(_client, source, pod) if pod else None
    watched = Watched(source, Tally(registry()))
    watched.start()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            await watched.synced.wait()
    except TimeoutError:
        raise OSError(
            f"the API server did not list everything within {LOOKUP_SECONDS:g} s; see the lines above"
        ) from None
    finally:
        watched.stop()
    index, zones = watched.cluster.index, source.zones
    lines = _answered(name, kind, index, zones) if client is None else walked(client, name, kind, index, zones)
    for line in lines:
        print(line)
    return 0


def _client(source: Source, pod: str) -> Client:
    namespace, _, name = pod.rpartition("/")
    namespace = namespace or "default"
    access = access_of(source)
    try:
        body = access.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        return msgspec.json.decode(body, type=Client)
    except AccessError as error:
        if error.status == 404:
            raise ValueError(f"no pod {name} in namespace {namespace}; write --from NAMESPACE/POD") from error
        raise
    finally:
        access.close()


def walked(client: Client, name: str, kind: int, index: Index, zones: Zones) -> Iterator[str]:
    """The questions that the pod's resolver asks one after the other, each with its answer."""
    conf = resolv_conf(client, text_of(zones.primary))
    yield from _told(client, conf, index)
    asked = names_asked(name, conf)
    for number, one in enumerate(asked, 1):
        question = _question(one, kind)
        outcome = answer(question, index, zones)
        yield f"; {number}. {one} {TYPE_NAMES.get(kind, str(kind))}"
        yield from explained(question, outcome, index, zones)
        if is_found(outcome):
            return
        if number < len(asked):
            yield f"; {next_step(outcome)}"


def _told(client: Client, conf: ResolvConf, index: Index) -> Iterator[str]:
    meta = client.metadata
    yield f"; pod {meta.namespace}/{meta.name}, {conf.because}"
    servers = list(conf.nameservers)
    if conf.of_cluster:
        service = index.service(KUBE_DNS)
        own = [str(ip_address(target.address)) for target in service.targets] if service is not None else []
        servers = [f"the kubelet's clusterDNS{f' (kube-dns is {own[0]})' if own else ''}", *servers]
    elif conf.of_node:
        servers.insert(0, "the node's")
    yield f"; nameservers: {', '.join(servers) or 'none'}"
    more = " and the node's" if conf.of_node else ""
    yield f"; search {' '.join(conf.search)}{more}; ndots {conf.ndots}"
    if not conf.of_cluster and not conf.nameservers:
        yield "; the cluster's DNS server is not asked by this pod; what it would say:"


def _answered(name: str, kind: int, index: Index, zones: Zones) -> Iterator[str]:
    question = _question(name, kind)
    return explained(question, answer(question, index, zones), index, zones)


def _question(text: str, kind: int) -> Question:
    name = name_of(text)
    return Question(name, name.lower(), kind)
