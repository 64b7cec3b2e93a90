"""ConfigMap and Secret: values by key, and what may not change.

Source: kubernetes pkg/apis/core/validation, pkg/registry/core/configmap, pkg/registry/core/secret, v1.36.3. That the
halves of a TLS secret belong together is not checked.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from svclab.apiserver import go_json
from svclab.apiserver.strategy import formats, metadata, printed
from svclab.apiserver.strategy.errors import FieldError, all_wrong, forbidden, required, too_long, wrong
from svclab.apiserver.strategy.kind import AGE, NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import Body

LIMIT = 1024 * 1024
IMMUTABLE = "field is immutable when `immutable` is set"
ACCOUNT = "kubernetes.io/service-account.name"


class Keyed(Strategy):
    """What both have in common."""

    parts: tuple[str, ...] = ()

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.kind_update_errors(new, old) + self.kind_changes_errors(new, old)
        if old.get("immutable"):
            if not new.get("immutable"):
                found.append(forbidden("immutable", IMMUTABLE))
            found += [
                forbidden(part, IMMUTABLE) for part in self.parts if (new.get(part) or {}) != (old.get(part) or {})
            ]
        return found + metadata.errors_in_metadata(new, True, self.rule) + self.errors(new, old)

    def kind_changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        return []


class ConfigMap(Keyed):
    kind = "ConfigMap"
    parts = ("data", "binaryData")
    table = (NAME, Column("Data"), AGE)

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        found: list[FieldError] = []
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        for key in sorted(data):
            found += all_wrong(f"data[{key}]", key, formats.data_key(key))
            if key in binary:
                found.append(wrong(f"data[{key}]", key, "duplicate of key present in binaryData"))
        for key in sorted(binary):
            found += all_wrong(f"binaryData[{key}]", key, formats.data_key(key))
        total = sum(formats.size(value) for value in data.values()) + sum(map(_decoded_size, binary.values()))
        return [*found, too_long("[]", LIMIT)] if total > LIMIT else found

    def cells(self, obj: Body, now: float) -> list[Any]:
        count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
        return [obj["metadata"]["name"], count, printed.age(obj, now)]


class Secret(Keyed):
    kind = "Secret"
    parts = ("data",)
    table = (NAME, Column("Type"), Column("Data"), AGE)

    def set_defaults(self, kept: Body) -> None:
        for key, text in kept.pop("stringData", {}).items():
            kept.setdefault("data", {})[key] = b64encode(text.encode()).decode()
        kept.setdefault("type", "Opaque")

    def kind_changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        same = new.get("type", "") == old.get("type", "")
        return [] if same else [wrong("type", new.get("type", ""), "field is immutable")]

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        found: list[FieldError] = []
        data, kind = obj.get("data") or {}, obj.get("type", "")
        for key in sorted(data):
            found += all_wrong(f"data[{key}]", key, formats.data_key(key))
        if sum(map(_decoded_size, data.values())) > LIMIT:
            found.append(too_long("data", LIMIT))
        if kind == "kubernetes.io/service-account-token":
            if not (obj["metadata"].get("annotations") or {}).get(ACCOUNT):
                found.append(required(f"metadata.annotations[{ACCOUNT}]"))
        elif kind in DOCKER_KEYS:
            found += _json_errors(data, DOCKER_KEYS[kind])
        elif kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
            found += [required("data[username]"), required("data[password]")]
        elif kind == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
            found.append(required("data[ssh-privatekey]"))
        elif kind == "kubernetes.io/tls":
            found += [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
        return found

    def cells(self, obj: Body, now: float) -> list[Any]:
        meta = obj["metadata"]
        return [meta["name"], obj.get("type", ""), len(obj.get("data") or ()), printed.age(obj, now)]


DOCKER_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def _decoded_size(text: str) -> int:
    return len(b64decode(text))


def _json_errors(data: Body, key: str) -> list[FieldError]:
    path = f"data[{key}]"
    if key not in data:
        return [required(path)]
    try:
        read = go_json.decoded(b64decode(data[key]))
    except go_json.JsonError as error:
        return [wrong(path, "<secret contents redacted>", str(error))]
    if read is None or isinstance(read, dict):
        return []
    said = f"json: cannot unmarshal {go_json.named(read)} into Go value of type map[string]interface {{}}"
    return [wrong(path, "<secret contents redacted>", said)]
