"""A kubeconfig as most are written, read without the `kubernetes` package; and what any kind of credentials come to.

In: the text of one file, its folder, a context's name. Out: `Credentials`, or None where it takes more than reading:
exec and auth-provider plugins, user and password, and whatever is broken or odd. Then the package is asked
(`authentication`), which also says best what is wrong. What both understand they understand alike: data before files,
`token` before `tokenFile`, paths relative to the file, certificates for https only.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import yaml  # type: ignore[import-untyped]  # the package has no types, and its stubs are one more dependency

_BEYOND = {"exec", "auth-provider", "username", "password"}


class Pem(msgspec.Struct, frozen=True):
    """Certificates or a key: a file's path, or what such a file holds."""

    path: str = ""
    data: bytes = b""


class Credentials(msgspec.Struct, frozen=True):
    """Where the API server is, how it is known, and who we are. "" and None where nothing is given.

    `authorization`: the header's value; with `token_file` the token is there, and changes there. `expires`: when all
    this has to be had anew, in Unix seconds, 0 for never.
    """

    server: str = ""
    authorization: str = ""
    token_file: str = ""
    authority: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = None
    verify: bool = True
    server_name: str = ""
    proxy: str = ""
    expires: float = 0.0


class Wanted(msgspec.Struct, frozen=True):
    """What `authentication` is asked: `kubeconfig` may be a list like $KUBECONFIG; without one only the proxy to
    `server` is of interest.
    """

    kubeconfig: str = ""
    context: str = ""
    server: str = ""


class Found(msgspec.Struct, frozen=True):
    """What it says; `error` is "" if it went well."""

    credentials: Credentials = Credentials()
    error: str = ""
    fault: Literal["config", "credentials"] = "config"


class _OddError(Exception):
    pass


def plain(text: str, folder: str, context: str = "") -> Credentials | None:
    """What the kubeconfig says of a context, "" for its current one; None if it is more than plain."""
    try:
        content = yaml.load(text, Loader=_LOADER)  # noqa: S506  # the safe one of the two
        chosen = _named(content["contexts"], context or content["current-context"], "context")
        cluster = _named(content["clusters"], chosen["cluster"], "cluster")
        user = _named(content["users"], chosen["user"], "user") if chosen.get("user") else {}
        return _credentials(cluster, user, folder)
    except (_OddError, yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError):
        return None


def _named(items: Any, name: str, kind: str) -> Mapping[str, Any]:
    (found,) = (one for one in items if one["name"] == name)
    if not isinstance(found[kind], dict):
        raise _OddError
    return dict(found[kind])


def _credentials(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: str) -> Credentials:
    if _BEYOND & user.keys():
        raise _OddError
    server, token = _text(cluster, "server").rstrip("/"), _text(user, "token")
    if not server:
        raise _OddError
    is_secure = server.startswith("https")
    return Credentials(
        server=server,
        authorization=f"Bearer {token}" if token else "",
        token_file="" if token else _path(user, "tokenFile", folder),
        authority=_pem(cluster, "certificate-authority", folder) if is_secure else None,
        certificate=_pem(user, "client-certificate", folder) if is_secure else None,
        key=_pem(user, "client-key", folder) if is_secure else None,
        verify=not _flag(cluster, "insecure-skip-tls-verify"),
        server_name=_text(cluster, "tls-server-name"),
        proxy=_text(cluster, "proxy-url"),
    )


def _text(section: Mapping[str, Any], name: str) -> str:
    if name not in section:
        return ""
    value = section[name]
    if not isinstance(value, str) or not value:
        raise _OddError
    return value


def _flag(section: Mapping[str, Any], name: str) -> bool:
    value = section.get(name, False)
    if not isinstance(value, bool):
        raise _OddError
    return value


def _path(section: Mapping[str, Any], name: str, folder: str) -> str:
    path = _text(section, name)
    return path if not path or path.startswith("/") else f"{folder}/{path}"


def _pem(section: Mapping[str, Any], name: str, folder: str) -> Pem | None:
    if data := _text(section, f"{name}-data"):
        try:
            return Pem(data=base64.b64decode(data, validate=True))
        except binascii.Error:
            raise _OddError from None
    path = _path(section, name, folder)
    return Pem(path) if path else None


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
