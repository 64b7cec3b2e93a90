"""The API server's HTTP: who asks, what for, and the answer's form.

In: requests. Out: answers of `Core`, in the form and with the headers that kubectl and client-go expect. Refused with
the real server's answers: nobody (401), anonymous (403, but for health and version), paths and methods that are not
there, bodies that are too large. Whoever is authenticated may do everything: there is no authorization here.
exec, logs and their like answer 501.
"""

from __future__ import annotations

import gzip
import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

from aiohttp import web
from multidict import CIMultiDict

from svckube.observe import fields
from svclab.apiserver import discovery, event_views, failures, go_json, lists, openapi, options, subresources, tables
from svclab.apiserver.core import Core
from svclab.apiserver.decoding import as_yaml
from svclab.apiserver.failures import StatusError
from svclab.apiserver.identity import Identity, User
from svclab.apiserver.resources import READING, REVIEWS, Target, strategy_of
from svclab.apiserver.state import list_body
from svclab.apiserver.tables import Shape
from svclab.apiserver.verbs import Answer
from svclab.apiserver.watching import Watches

Body: TypeAlias = dict[str, Any]
Query: TypeAlias = Mapping[str, list[str]]

BODY_LIMIT = 3 << 20  # bytes
GZIP_FROM = 128 << 10
HEALTH = ("/healthz", "/livez", "/readyz")
CHECKS = ("ping", "log", "etcd", "")
STREAMS = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
OPEN_TO_ALL = (*HEALTH, "/version")
NOT_HERE = {"attach", "exec", "log", "portforward", "proxy"}
METHODS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
NETWORK_POLICY = "NetworkPolicy is stored, but nothing in this cluster enforces it"
ALWAYS_INDENTED = ("/", "/version")
BY_HAND = ("curl", "Wget", "Mozilla/5.0")
TRUE = ("1", "t", "T", "true", "TRUE", "True")  # as Go's ParseBool
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))

_log = logging.getLogger(__name__)


class Server:
    """`handle` answers one request; `watches` are the streams that are open."""

    def __init__(self, core: Core, identity: Identity, address: str) -> None:
        self._core = core
        self._identity = identity
        self._address = address
        self.watches = Watches(core)
        self._counted: Counter[tuple[str, str, str, str, int]] = Counter()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target: Target | None = None
        verb = METHODS.get(request.method, request.method.lower())
        try:
            user = self._user(request)
            target = self._core.served.find(request.path)
            if user is None:
                self._refuse_anonymous(request, target, verb)
            if target is None:
                response: web.StreamResponse = await self._answer_path(request)
            else:
                response = await self._answer_target(request, target, user or ANONYMOUS)
        except StatusError as refused:
            headers = CIMultiDict[str]()
            seconds = refused.status.get("details", {}).get("retryAfterSeconds")
            if seconds:
                headers["Retry-After"] = str(seconds)
            headers.extend(_warning((*refused.warnings, *(_deprecated(target) if target else ()))))
            response = self._shaped(request, refused.code, refused.status, _error_shape(request), headers)
        except ConnectionError:
            raise
        except Exception as error:
            _log.exception("request failed", extra=fields(method=request.method, path=request.path))
            body = failures.internal_error(repr(error)).status
            response = self._response(request, 500, go_json.encoded(body) + b"\n")
        resource = target.resource if target else None
        what = (resource.group, resource.plural, resource.subresource) if resource else ("", "", "")
        self._counted[(_counted_as(request, target), *what, response.status)] += 1
        return response

    # Who

    def _user(self, request: web.BaseRequest) -> User | None:
        if header := request.headers.get("Authorization"):
            found = self._identity.of_header(header, time.time())
            if found is not None:
                return found
        transport = request.transport
        security = transport.get_extra_info("ssl_object") if transport else None
        if security is None:
            return None
        return self._identity.of_certificate(security.getpeercert(), security.getpeercert(binary_form=True))

    def _refuse_anonymous(self, request: web.BaseRequest, target: Target | None, verb: str) -> None:
        path = request.path
        if path in OPEN_TO_ALL or path.startswith(tuple(f"{one}/" for one in HEALTH)):
            return
        who = f'User "{ANONYMOUS.name}" cannot'
        if target is None:
            details: Body = {}
            said = f'forbidden: {who} {verb} path "{path}"'
            raise StatusError(failures.status(403, "Forbidden", said, details))
        resource = target.resource
        if verb == "get" and not target.name:
            verb = "watch" if request.query.get("watch") in ("true", "1") else "list"
        elif verb == "delete" and not target.name:
            verb = "deletecollection"
        what = f"{resource.plural}/{resource.subresource}" if resource.subresource else resource.plural
        where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        said = f'{who} {verb} resource "{what}" in API group "{resource.group}" {where}'
        raise failures.forbidden(resource.plural, resource.group, target.name, said)

    # Paths that name no resource

    async def _answer_path(self, request: web.BaseRequest) -> web.Response:
        path = request.path
        if path in HEALTH or (path.startswith(tuple(f"{one}/" for one in HEALTH)) and path.split("/")[2] in CHECKS):
            return self._health(request, path)
        if path == "/metrics":
            return self._response(request, 200, self._metrics(), "text/plain; version=0.0.4; charset=utf-8")
        if path == "/openapi/v2":
            return self._response(request, 200, openapi.NO_DEFINITIONS, openapi.V2_PROTOBUF)
        if path.startswith("/openapi/v3/") and path != "/openapi/v3/":
            document = self._core.openapi.document(path.removeprefix("/openapi/v3/"))
            if document is not None:
                return self._response(request, 200, document)
        if (body := self._document(request, path)) is not None:
            if request.method not in ("GET", "HEAD"):
                raise failures.method_not_allowed()
            media = "application/json"
            if body["kind"] == "APIGroupDiscoveryList" if "kind" in body else False:
                media = discovery.AGGREGATED
            if path.startswith("/openapi"):
                media = "text/plain; charset=utf-8"
            return self._response(request, 200, go_json.encoded(body) + b"\n", media)
        parts = path.strip("/").split("/")
        known = parts[0] == "api" or (len(parts) > 2 and parts[0] == "apis" and parts[1] in self._core.served.groups)
        if known:
            raise failures.no_such_resource()
        return self._response(request, 404, b"404 page not found\n", "text/plain; charset=utf-8")

    def _document(self, request: web.BaseRequest, path: str) -> Body | None:
        served = self._core.served
        wants_aggregated = "as=APIGroupDiscoveryList" in request.headers.get("Accept", "") and (
            "v=v2;" in request.headers["Accept"] + ";" or "v=v2," in request.headers["Accept"]
        )
        bare = path.rstrip("/") or "/"
        if bare == "/version":
            return discovery.VERSION
        if bare == "/openapi/v3":
            return self._core.openapi.index()
        if bare == "/":
            return discovery.paths(served)
        if bare in ("/api", "/apis") and wants_aggregated:
            return discovery.aggregated(served, core=bare == "/api")
        if bare == "/api":
            return discovery.api_versions(self._address)
        if bare == "/apis":
            return discovery.group_list(served)
        parts = bare.split("/")[1:]
        if parts == ["api", "v1"]:
            return discovery.resource_list(served, "")
        if parts[0] == "apis" and len(parts) in (2, 3) and parts[1] in served.groups:
            if len(parts) == 2:
                return discovery.group(parts[1])
            return discovery.resource_list(served, parts[1]) if parts[2] == "v1" else None
        return None

    def _health(self, request: web.BaseRequest, path: str) -> web.Response:
        name = path.split("/")[1]
        body = b"ok"
        if "verbose" in request.query and path.count("/") == 1:
            body = f"[+]ping ok\n[+]database ok\n{name} check passed\n".encode()
        return self._response(request, 200, body, "text/plain; charset=utf-8")

    def _metrics(self) -> bytes:
        lines = [
            "# HELP apiserver_request_total Requests by verb, resource and HTTP status.",
            "# TYPE apiserver_request_total counter",
        ]
        for (verb, group, plural, subresource, code), count in sorted(self._counted.items()):
            labels = f'code="{code}",group="{group}",resource="{plural}",subresource="{subresource}",verb="{verb}"'
            lines.append(f"apiserver_request_total{{{labels}}} {count}")
        lines += [
            "# HELP apiserver_longrunning_requests Watches that are open.",
            "# TYPE apiserver_longrunning_requests gauge",
            f"apiserver_longrunning_requests {len(self.watches)}",
        ]
        return ("\n".join(lines) + "\n").encode()

    # Resources

    async def _answer_target(self, request: web.BaseRequest, target: Target, user: User) -> web.StreamResponse:
        resource, method = target.resource, request.method
        query: Query = {key: request.query.getall(key) for key in request.query}
        if resource.subresource in NOT_HERE:
            self._core.verbs.stored(target)
            said = f"{resource.plural}/{resource.subresource} is not served by this cluster's API server"
            raise failures.not_implemented(f"{said}; try `svcplane-lab exec`")
        if resource.verbs == READING and method in CHANGING:
            what = f"{resource.plural}.{resource.group}".rstrip(".")
            raise failures.not_implemented(f"{what} are not served by this cluster's API server")
        self._check_method(target, method)
        shape = tables.asked(request.headers.get("Accept", ""))
        if method == "GET" and (not target.name or target.watch):
            return await self._read_many(request, target, query, shape)
        if method == "GET":
            return self._one(request, self._got(target, query), shape, target, query)
        data = await self._body(request)
        media = request.headers.get("Content-Type", "").partition(";")[0].strip()
        try:
            answer = self._written(method, target, data, media, query, user)
        finally:
            self._core.settle()
        return self._one(request, answer, shape, target, query)

    def _check_method(self, target: Target, method: str) -> None:
        verbs, collection = target.resource.verbs, not target.name
        verb = METHODS.get(method, "")
        if collection:
            verb = {"get": "list", "delete": "deletecollection", "create": "create"}.get(verb, "")
            if verb != "list" and target.resource.namespaced and not target.namespace:
                verb = ""
        elif verb == "create" and not target.resource.subresource:
            verb = ""
        if target.watch and method == "GET":
            verb = "watch"
        if verb not in verbs:
            raise failures.method_not_allowed()

    async def _read_many(
        self, request: web.BaseRequest, target: Target, query: Query, shape: Shape
    ) -> web.StreamResponse:
        asked = options.listing({**query, "watch": ["true"]} if target.watch else query)
        include = _include(query)
        if asked.watch and shape.media == "application/yaml":
            raise failures.not_convertible(STREAMS)
        if asked.watch:
            return await self.watches.serve(request, target, asked, shape, include, _warning(_deprecated(target)))
        page = lists.listed(self._core.state, target, asked)
        resource, told = target.resource, _warning(_deprecated(target))
        if shape.as_ == "Table":
            bodies = (one.body for one in page.items)
            strategy = strategy_of(resource)
            shown = tables.table(strategy, bodies, page.metadata, time.time(), include, shape.version, heads=True)
            return self._shaped(request, 200, shown, shape, told)
        shown_items = page.items
        if resource.group == event_views.GROUP:
            shown_items = tuple(event_views.viewed(one) for one in page.items)
        if shape.as_:
            items = [tables.partial(one.body, shape.version) for one in page.items]
            version = f"meta.k8s.io/{shape.version}"
            shown = {"kind": "PartialObjectMetadataList", "apiVersion": version}
            return self._shaped(request, 200, {**shown, "metadata": page.metadata, "items": items}, shape)
        data = list_body(f"{resource.kind}List", resource.api_version, page.metadata, shown_items)
        if shape.media != "application/json":
            return self._shaped(request, 200, go_json.decoded(data), shape, told)
        return self._response(request, 200, data, headers=told)

    def _got(self, target: Target, query: Query) -> Answer:
        asked = options.listing({key: query[key] for key in ("resourceVersion",) if key in query}, single=True)
        if asked.version:
            lists.check_not_future(self._core.state, asked.version)
        stored = self._core.verbs.stored(target)
        if target.resource.subresource == "scale":
            return Answer(200, subresources.scale_of(target, stored.body))
        return Answer(200, stored.body, stored)

    def _written(self, method: str, target: Target, data: bytes, media: str, query: Query, user: User) -> Answer:
        writer, moment = self._core.writer, self._core.moment()
        resource = target.resource
        if method == "POST" and (resource.plural in REVIEWS or resource.subresource == "token"):
            return self._reviewed(target, writer.decoded(target, data, media), user)
        if method == "POST":
            answer = writer.posted(target, data, media, query, moment)
        elif method == "PUT":
            answer = writer.put(target, data, media, query, moment)
        elif method == "PATCH":
            answer = writer.patched(target, data, media, query, moment)
        elif target.name:
            return writer.deleted(target, data, media, query, moment)
        else:
            return self._deleted_all(target, data, media, query)
        if resource.plural == "networkpolicies":
            return Answer(answer.code, answer.body, answer.stored, (*answer.warnings, NETWORK_POLICY))
        return answer

    def _reviewed(self, target: Target, sent: Body, user: User) -> Answer:
        moment = self._core.moment()
        if target.resource.subresource == "token":
            request = self._identity.token_request(
                target.namespace, target.name, sent, moment.now, moment.time, moment.uid
            )
            return Answer(201, request)
        shown: Body | None = None
        if target.resource.plural == "tokenreviews":
            try:
                shown = self._identity.of_token((sent.get("spec") or {}).get("token") or "", moment.now).body
            except StatusError:
                shown = None
        return Answer(201, subresources.review(target.resource.plural, sent, user.body, shown, moment.time))

    def _deleted_all(self, target: Target, data: bytes, media: str, query: Query) -> Answer:
        listing = options.listing({key: value for key, value in query.items() if key not in ("watch",)})
        asked = self._core.writer.delete_options(data, media, query)
        page = lists.listed(self._core.state, target, listing)
        for stored in page.items:
            metadata = stored.body["metadata"]
            one = Target(target.resource, metadata.get("namespace", ""), metadata["name"])
            try:
                self._core.verbs.delete(one, asked, self._core.moment())
            except StatusError as refused:
                if refused.code != 404:
                    raise
        resource = target.resource
        items = [one.body for one in page.items]
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": page.metadata}
        return Answer(200, {**head, "items": items})

    async def _body(self, request: web.BaseRequest) -> bytes:
        data = bytearray()
        async for chunk in request.content.iter_any():
            data += chunk
            if len(data) > BODY_LIMIT:
                raise failures.too_large(BODY_LIMIT)
        return bytes(data)

    # Answers

    def _one(
        self, request: web.BaseRequest, answer: Answer, shape: Shape, target: Target, query: Query
    ) -> web.Response:
        other_view = target.resource.group == event_views.GROUP and answer.body.get("kind") == "Event"
        if other_view and shape.as_ != "Table":
            answer = Answer(answer.code, event_views.events_of(answer.body), None, answer.warnings)
        headers = _warning((*answer.warnings, *_deprecated(target)))
        if shape.as_ or shape.media != "application/json":
            body = answer.body
            if shape.as_ and not body.get("kind", "").endswith("List"):
                strategy = strategy_of(target.resource)
                body = tables.reshaped(shape, strategy, body, time.time(), _include(query))
            return self._shaped(request, answer.code, body, shape, headers)
        data = answer.stored.encoded if answer.stored is not None else go_json.encoded(answer.body)
        return self._response(request, answer.code, data + b"\n", headers=headers)

    def _shaped(
        self, request: web.BaseRequest, code: int, body: Body, shape: Shape, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        if shape.media == "application/yaml":
            return self._response(request, code, as_yaml(body), shape.media, headers)
        return self._response(request, code, go_json.encoded(body) + b"\n", headers=headers)

    def _response(
        self,
        request: web.BaseRequest,
        code: int,
        data: bytes,
        media: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        if media.startswith("application/json") and _for_people(request):
            data = go_json.indented(data)
        sent = CIMultiDict[str](headers or {})
        sent["Content-Type"] = media
        sent["Cache-Control"] = "no-cache, private"
        if len(data) >= GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            data = gzip.compress(data, 1)
            sent["Content-Encoding"] = "gzip"
            sent["Vary"] = "Accept-Encoding"
        return web.Response(body=data, status=code, headers=sent)


def _for_people(request: web.BaseRequest) -> bool:
    """Is JSON to be indented? For curl, wget and browsers it is, and wherever `pretty` is asked for."""
    if request.path.startswith("/openapi"):
        return False
    asked = request.query.get("pretty", "")
    if request.path in ALWAYS_INDENTED or not asked:
        return request.path in ALWAYS_INDENTED or request.headers.get("User-Agent", "").startswith(BY_HAND)
    return asked in TRUE


def _error_shape(request: web.BaseRequest) -> Shape:
    """A Status has no other form than its encoding."""
    try:
        return Shape("", tables.asked(request.headers.get("Accept", "")).media)
    except StatusError:
        return Shape()


def _counted_as(request: web.BaseRequest, target: Target | None) -> str:
    """The verb as metrics call it."""
    if target is not None and not target.name:
        if request.method == "DELETE":
            return "DELETECOLLECTION"
        if request.method == "GET":
            return "WATCH" if request.query.get("watch") in ("true", "1") else "LIST"
    return request.method


def _deprecated(target: Target) -> tuple[str, ...]:
    if target.resource.store == "/endpoints":
        return ("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",)
    return ()


def _warning(texts: tuple[str, ...]) -> CIMultiDict[str]:
    """The headers that kubectl prints as `Warning: …`."""
    headers = CIMultiDict[str]()
    for text in dict.fromkeys(texts):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        headers.add("Warning", f'299 - "{escaped}"')
    return headers


def _include(query: Query) -> str:
    include = (query.get("includeObject") or ["Metadata"])[0]
    if include not in ("None", "Metadata", "Object", ""):
        said = f"includeObject: Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        said = f"Unable to convert to Table as requested: {said}"
        raise failures.bad_request(said)
    return include or "Metadata"
