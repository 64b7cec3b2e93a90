"""Forms that strings and numbers must have: each function returns what is wrong with a value, in the API's words.

In: a value. Out: a list of sentences, empty if the value is good. Lengths are those of UTF-8, as Go counts them.
Source: k8s.io/apimachinery pkg/util/validation and pkg/api/validate/content, v0.36.3.
"""

from __future__ import annotations

import re

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = LABEL + "(\\." + LABEL + ")*"
LABEL_SAID = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
SUBDOMAIN_SAID = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
UNDERSCORED_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
UNDERSCORED = UNDERSCORED_LABEL + "(\\." + UNDERSCORED_LABEL + ")*"
UNDERSCORED_SAID = SUBDOMAIN_SAID.replace("characters, '-'", "characters, '_', '-'")
KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
KEY_SAID = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
VALUE = f"({KEY})?"
VALUE_SAID = f"a valid label must be an empty string or {KEY_SAID.removeprefix('must ')}"
DATA_KEY = "[-._a-zA-Z0-9]+"
DATA_KEY_SAID = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
HEADER = "[-A-Za-z0-9]+"


def said(sentence: str, pattern: str, *examples: str) -> str:
    """A sentence with examples and the pattern behind it."""
    if not examples:
        return f"{sentence} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{each}', " for each in examples)
    return f"{sentence} (e.g. {shown}regex used for validation is '{pattern}')"


def size(value: str) -> int:
    return len(value.encode())


def dns_label(value: str) -> list[str]:
    """RFC 1123, one label."""
    wrong = ["must be no more than 63 characters"] if size(value) > 63 else []
    if not re.fullmatch(LABEL, value):
        dots = re.fullmatch(SUBDOMAIN, value)
        wrong.append("must not contain dots" if dots else said(LABEL_SAID, LABEL, "my-name", "123-abc"))
    return wrong


def dns_subdomain(value: str, unit: str = "characters") -> list[str]:
    """RFC 1123, labels with dots between them."""
    wrong = [f"must be no more than 253 {unit}"] if size(value) > 253 else []
    if not re.fullmatch(SUBDOMAIN, value):
        wrong.append(said(SUBDOMAIN_SAID, SUBDOMAIN, "example.com"))
    return wrong


def dns_subdomain_with_underscore(value: str) -> list[str]:
    wrong = ["must be no more than 253 characters"] if size(value) > 253 else []
    if not re.fullmatch(UNDERSCORED, value):
        wrong.append(said(UNDERSCORED_SAID, UNDERSCORED, "example.com"))
    return wrong


def label_key(value: str) -> list[str]:
    """A qualified name: `name` or `prefix/name`."""
    rule = said(KEY_SAID, KEY, "MyName", "my.name", "123-abc")
    parts = value.split("/")
    if len(parts) > 2:
        return [f"a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    wrong: list[str] = []
    if len(parts) == 2:
        prefix = ["must be non-empty"] if not parts[0] else dns_subdomain(parts[0], "bytes")
        wrong += [f"prefix part {each}" for each in prefix]
    name = parts[-1]
    if not name:
        wrong.append("name part must be non-empty")
    elif size(name) > 63:
        wrong.append("name part must be no more than 63 bytes")
    if not re.fullmatch(KEY, name):
        wrong.append(f"name part {rule}")
    return wrong


def label_value(value: str) -> list[str]:
    wrong = ["must be no more than 63 bytes"] if size(value) > 63 else []
    if not re.fullmatch(VALUE, value):
        wrong.append(said(VALUE_SAID, VALUE, "MyValue", "my_value", "12345"))
    return wrong


def port(value: int) -> list[str]:
    return within(value, 1, 65535)


def within(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [f"must be between {low} and {high}, inclusive"]


def port_name(value: str) -> list[str]:
    """An IANA service name (RFC 6335), lower case only."""
    wrong = ["must be no more than 15 characters"] if size(value) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", value):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in value:
        wrong.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        wrong.append("must not begin or end with a hyphen")
    return wrong


def percent(value: str) -> list[str]:
    if re.fullmatch("[0-9]+%", value):
        return []
    return [said("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", "1%", "93%")]


def header_name(value: str) -> list[str]:
    if re.fullmatch(HEADER, value):
        return []
    return [said("a valid HTTP header must consist of alphanumeric characters or '-'", HEADER, "X-Header-Name")]


def variable_name(value: str) -> list[str]:
    """An environment variable: printable ASCII without '='."""
    if not value:
        return ["environment variable name must be non-empty"]
    if any(not " " <= sign <= "~" or sign == "=" for sign in value):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def data_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret, which may become a file's name."""
    wrong = ["must be no more than 253 characters"] if size(value) > 253 else []
    if not re.fullmatch(DATA_KEY, value):
        wrong.append(said(DATA_KEY_SAID, DATA_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        wrong.append(f"must not be '{value}'")
    elif value.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def path_segment(value: str) -> list[str]:
    """What every name must be, since it stands in a URL."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in value]
