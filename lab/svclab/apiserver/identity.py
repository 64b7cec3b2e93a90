"""Who asks: client certificates, tokens from a file, and tokens of service accounts, which we issue too.

In: a verified peer certificate, an Authorization header. Out: a `User`, or None for nobody in particular. Refused by
`Unauthorized`: a token that nobody knows, that is out of date, or whose service account or pod is gone. The keys of
tokens are read when the first token is made or seen. Source: kubernetes pkg/serviceaccount/claims.go, apiserver
pkg/authentication/request/x509, KEP-1205.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver import failures
from svclab.apiserver.failures import StatusError
from svclab.apiserver.strategy.errors import invalid, wrong
from svclab.errors import LabError

Body: TypeAlias = dict[str, Any]
Find: TypeAlias = Callable[[str, str], "Body | None"]
"""resource and key → the object, None if there is none"""

AUTHENTICATED = "system:authenticated"
CREDENTIAL = "authentication.kubernetes.io/credential-id"
SHORTEST, LONGEST = 600, 2**32  # seconds a token may hold
HOUR = 3600


class User(msgspec.Struct, frozen=True):
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = {}

    @property
    def body(self) -> Body:
        """As authentication.k8s.io/v1 UserInfo."""
        told: Body = {"username": self.name, "uid": self.uid, "groups": list(self.groups), "extra": dict(self.extra)}
        return {key: value for key, value in told.items() if value}


class Identity:
    """`key_file` holds the private key of service account tokens; "" for none. `find` looks objects up."""

    def __init__(self, token_file: str, key_file: str, issuer: str, find: Find) -> None:
        self._tokens = _token_file(token_file) if token_file else {}
        self._key_file = key_file
        self._issuer = issuer
        self._find = find
        self._keys: tuple[Any, Any, str, str] | None = None
        self._seen: dict[str, tuple[float, Body]] = {}

    def of_certificate(self, certificate: Mapping[str, Any] | None, encoded: bytes | None = None) -> User | None:
        """The common name is the user, organizations are groups; `encoded` is the certificate in DER."""
        if not certificate:
            return None
        subject = [pair for part in certificate.get("subject", ()) for pair in part]
        names = [value for key, value in subject if key == "commonName"]
        if not names:
            return None
        groups = tuple(value for key, value in subject if key == "organizationName")
        extra = {CREDENTIAL: [f"X509SHA256={hashlib.sha256(encoded).hexdigest()}"]} if encoded else {}
        return User(names[-1], (*groups, AUTHENTICATED), "", extra)

    def of_header(self, header: str, now: float) -> User | None:
        """Whose bearer token it is. Raises StatusError if it is nobody's."""
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        return self.of_token(token, now)

    def of_token(self, token: str, now: float) -> User:
        if (user := self._tokens.get(token)) is not None:
            return user
        claims = self._claims(token, now)
        ours = claims.get("kubernetes.io", {})
        namespace, account = ours.get("namespace", ""), ours.get("serviceaccount", {})
        name = account.get("name", "")
        self._check_there("/serviceaccounts", f"{namespace}/{name}", account.get("uid"))
        extra: dict[str, list[str]] = {}
        if "jti" in claims:
            extra[CREDENTIAL] = [f"JTI={claims['jti']}"]
        if pod := ours.get("pod"):
            self._check_there("/pods", f"{namespace}/{pod['name']}", pod["uid"])
            extra["authentication.kubernetes.io/pod-name"] = [pod["name"]]
            extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(f"system:serviceaccount:{namespace}:{name}", groups, account.get("uid", ""), extra)

    def token_request(self, namespace: str, name: str, sent: Body, now: float, time: str, uid: str) -> Body:
        """The answer of serviceaccounts/token. Raises StatusError."""
        account = self._find("/serviceaccounts", f"{namespace}/{name}")
        if account is None and self._find("/namespaces", namespace) is None:
            raise failures.not_found("namespaces", "", namespace)
        if account is None:
            raise failures.not_found("serviceaccounts", "", name)
        spec = {**(sent.get("spec") or {})}
        seconds = spec.setdefault("expirationSeconds", HOUR)
        audiences = spec.get("audiences") or [self._issuer]
        limits = {SHORTEST: "may not specify a duration less than 10 minutes"} if seconds < SHORTEST else {}
        if seconds > LONGEST:
            limits = {LONGEST: "may not specify a duration larger than 2^32 seconds"}
        for said in limits.values():
            error = wrong("spec.expirationSeconds", seconds, said)
            raise StatusError(invalid("TokenRequest", "authentication.k8s.io", "", [error]))
        ours: Body = {"namespace": namespace, "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]}}
        ours |= self._bound(namespace, spec.get("boundObjectRef") or {})
        begin = int(now)
        claims = {
            "aud": audiences,
            "exp": begin + seconds,
            "iat": begin,
            "iss": self._issuer,
            "jti": uid,
            "kubernetes.io": ours,
            "nbf": begin,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        spec = {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": spec.get("boundObjectRef")}
        metadata = {"name": name, "namespace": namespace, "uid": account["metadata"]["uid"], "creationTimestamp": time}
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "spec": spec,
            "status": {"token": self._signed(claims), "expirationTimestamp": _time(begin + seconds)},
        }

    def _bound(self, namespace: str, reference: Body) -> Body:
        if not reference:
            return {}
        kind, name = reference.get("kind", ""), reference.get("name", "")
        stores = {"Pod": "/pods", "Secret": "/secrets", "Node": "/nodes"}
        if kind not in stores:
            raise failures.bad_request(
                f"cannot bind token to object of type /{reference.get('apiVersion')}, Kind={kind}"
            )
        key = name if kind == "Node" else f"{namespace}/{name}"
        found = self._find(stores[kind], key)
        if found is None:
            raise failures.not_found(stores[kind][1:], "", name)
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            said = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            raise failures.conflict(kind, "", name, f"{said}The object might have been deleted and then recreated")
        bound: Body = {kind.lower(): {"name": name, "uid": uid}}
        if kind == "Pod" and (node := found["spec"].get("nodeName")):
            there = self._find("/nodes", node)
            bound["node"] = {"name": node} | ({"uid": there["metadata"]["uid"]} if there else {})
        return bound

    def _check_there(self, resource: str, key: str, uid: Any) -> None:
        found = self._find(resource, key)
        if found is None or found["metadata"]["uid"] != uid:
            raise failures.unauthorized()

    def _claims(self, token: str, now: float) -> Body:
        """What a token of ours says. Signatures are checked once: many requests come with the same token."""
        if token in self._seen and self._seen[token][0] > now:
            return self._seen[token][1]
        if not self._key_file:
            raise failures.unauthorized()
        import jwt  # a cluster whose clients all have certificates never needs it

        _, public, algorithm, _ = self._key_pair()
        try:
            claims: Body = jwt.decode(
                token,
                public,
                [algorithm],
                audience=self._issuer,
                issuer=self._issuer,
                options={"require": ["exp", "iat", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise failures.unauthorized() from error
        if len(self._seen) > 1000:
            self._seen.clear()
        self._seen[token] = (float(claims["exp"]), claims)
        return claims

    def _signed(self, claims: Body) -> str:
        if not self._key_file:
            raise failures.not_implemented("there are no tokens: start the server with --service-account-key-file")
        import jwt

        private, _, algorithm, key_id = self._key_pair()
        return jwt.encode(claims, private, algorithm, headers={"kid": key_id, "typ": None})

    def _key_pair(self) -> tuple[Any, Any, str, str]:
        if self._keys is None:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import rsa

            try:
                private = serialization.load_pem_private_key(Path(self._key_file).read_bytes(), None)
            except (ValueError, TypeError) as error:
                raise LabError(f"{self._key_file} holds no private key in PEM: {error}") from error
            public = private.public_key()
            der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
            self._keys = private, public, "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256", key_id
        return self._keys


def _time(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _token_file(path: str) -> dict[str, User]:
    """Lines of token,user,uid,"group1,group2", as kube-apiserver's --token-auth-file."""
    found: dict[str, User] = {}
    with open(path, newline="") as file:
        for row in csv.reader(file, skipinitialspace=True):
            if not row or row[0].startswith("#"):
                continue
            if len(row) < 3:
                raise LabError(f'{path}: a line needs token,user,uid, and may have "group1,group2"')
            groups = tuple(one.strip() for one in row[3].split(",")) if len(row) > 3 and row[3] else ()
            found[row[0]] = User(row[1], (*groups, AUTHENTICATED), row[2])
    return found
