"""Bodies of requests: Go's words for wrong ones, strictness, YAML, protobuf."""

from __future__ import annotations

import pytest

from support.lab_verbs import schema
from svclab.apiserver import go_json, protobuf
from svclab.apiserver.decoding import PROTOBUF, Decoder, as_yaml
from svclab.apiserver.failures import StatusError

JSON, YAML = "application/json", "application/yaml"
HEAD = 'Service in version "v1" cannot be handled as a Service: '
NOT_ONE = "the object provided is unrecognized (must be of type Service): "
PARSE = f"{NOT_ONE}couldn't get version/kind; json parse error: "
FIELD = f"{HEAD}json: cannot unmarshal"

# As the real kube-apiserver v1.36.3 said them to a POST of a Service.
REFUSED = [
    (b"", f"{PARSE}unexpected end of JSON input (<empty>)"),
    (b'{"kind":"Service",', f'{PARSE}unexpected end of JSON input ({{"kind":"Service",)'),
    (b"{bad", f"{PARSE}invalid character 'b' looking for beginning of object key string ({{bad)"),
    (b"xxx", f"{PARSE}invalid character 'x' looking for beginning of value (787878)"),
    (
        b'{"kind":"Foo","apiVersion":"v1"}',
        'Foo in version "v1" cannot be handled as a Service: no kind "Foo" is registered for version "v1" '
        'in scheme "pkg/runtime/scheme.go:111"',
    ),
    (
        b'{"kind":"Deployment","apiVersion":"apps/v1"}',
        'Deployment in version "v1" cannot be handled as a Service: '
        "converting (v1.Deployment) to (core.Service): unknown conversion",
    ),
    (
        b'{"kind":"Service","apiVersion":"a/b/c"}',
        f'{NOT_ONE}unexpected GroupVersion string: a/b/c ({{"kind":"Service","apiVersion" ...)',
    ),
    (
        b'{"spec":{"ports":[{"port":"x"}]}}',
        f"{FIELD} string into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    (b'{"spec":{"type":3}}', f"{FIELD} number into Go struct field ServiceSpec.spec.type of type v1.ServiceType"),
    (
        b'{"spec":{"ports":[{"port":1.5}]}}',
        f"{FIELD} number 1.5 into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    (
        b'{"spec":{"ports":{}}}',
        f"{FIELD} object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
    ),
    (b'{"spec":[]}', f"{FIELD} array into Go struct field Service.spec of type v1.ServiceSpec"),
    (
        b'{"metadata":{"labels":{"a":1}}}',
        f"{FIELD} number into Go struct field ObjectMeta.metadata.labels of type string",
    ),
    (
        b'{"spec":{"ports":[{"port":80,"targetPort":true}]}}',
        f"{FIELD} bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
    ),
    (
        b'{"metadata":{"creationTimestamp":"x"}}',
        f'{HEAD}parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
    ),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[row[0].decode() or "empty" for row in REFUSED])
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        Decoder(schema()).object(data, JSON, "", "Service", "Strict")
    assert refused.value.status["message"] == message
    assert refused.value.code == 400


SYNTAX = [
    ('{"a" 1}', "invalid character '1' after object key"),
    ("[1 2]", "invalid character '2' after array element"),
    ('{"a":1} x', "invalid character 'x' after top-level value"),
    ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    ("tri", "invalid character 'i' in literal true (expecting 'u')"),
    ("1.x", "invalid character 'x' after decimal point in numeric literal"),
    ("-x", "invalid character 'x' in numeric literal"),
    ('"\\x"', "invalid character 'x' in string escape code"),
    ('"\x01"', "invalid character '\\x01' in string literal"),
    ("NaN", "invalid character 'N' looking for beginning of value"),
    ('{"a":"b"', "unexpected end of JSON input"),
]


@pytest.mark.parametrize(("text", "message"), SYNTAX, ids=[row[1] for row in SYNTAX])
def test_syntax(text: str, message: str) -> None:
    with pytest.raises(go_json.JsonError) as refused:
        go_json.decoded(text.encode())
    assert str(refused.value) == message


TYPO = b'{"metadata":{"name":"a","name":"b"},"spec":{"bar":1,"ports":[{"port":80,"x":1}]}}'
FOUND = ['duplicate field "metadata.name"', 'unknown field "spec.bar"', 'unknown field "spec.ports[0].x"']


def test_warn_tells_and_takes_the_last() -> None:
    body, told = Decoder(schema()).object(TYPO, JSON, "", "Service", "Warn")
    assert told == FOUND
    assert body["metadata"]["name"] == "b"


def test_ignore_says_nothing() -> None:
    assert Decoder(schema()).object(TYPO, JSON, "", "Service", "Ignore")[1] == []


def test_strict_refuses() -> None:
    with pytest.raises(StatusError) as refused:
        Decoder(schema()).object(TYPO, JSON, "", "Service", "Strict")
    assert refused.value.status["message"] == f"{HEAD}strict decoding error: {', '.join(FOUND)}"


def test_yaml() -> None:
    body, _ = Decoder(schema()).object(
        b"metadata: {name: a}\ndata: {date: '2024-01-01', on: 'y'}", YAML, "", "ConfigMap", "Warn"
    )
    assert body["data"] == {"date": "2024-01-01", "true": "y"}
    assert as_yaml({"a": "2", "b": "c"}) == b'a: "2"\nb: c\n'


def test_other_media_types() -> None:
    with pytest.raises(StatusError) as refused:
        Decoder(schema()).object(b"{}", "text/plain", "", "ConfigMap", "Warn")
    assert refused.value.code == 415


# What kubectl v1.36.3 sends for `kubectl create namespace t1`.
NAMESPACE = bytes.fromhex(
    "6b3873000a0f0a0276311209 4e616d657370616365121a0a120a0274311200"
    "1a00 2200 2a00 3200 3800 4200 1200 1a020a00 1a00 2200"
)


def test_protobuf() -> None:
    body, told = Decoder(schema()).object(NAMESPACE, PROTOBUF, "", "Namespace", "Strict")
    assert (body["kind"], body["metadata"]["name"], told) == ("Namespace", "t1", [])


def test_protobuf_cut_anywhere_is_an_error_or_less() -> None:
    for length in range(len(NAMESPACE)):
        try:
            protobuf.read(NAMESPACE[:length], schema())
        except protobuf.ProtobufError:
            continue


@pytest.mark.parametrize("name", sorted(schema().definitions))
def test_every_type_can_be_read(name: str) -> None:
    """Facts agree with each other: fields have types, structs that are referred to are there."""
    for field in schema().fields(name).values():
        while field.element is not None:
            field = field.element
        assert field.kind != "struct" or field.struct in schema().definitions
