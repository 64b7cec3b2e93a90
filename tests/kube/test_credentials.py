"""Credentials without the `kubernetes` package are those that it finds, and what is beyond us is left to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kube.scripted import Authority, base64_of
from svckube import authentication
from svckube.credentials import in_cluster, of_kubeconfig, token_in
from svckube.kubeconfig import Credentials, Wanted, plain

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue("node-7")
FILES = {"ca.pem": AUTHORITY.pem, "me.pem": ISSUED.certificate, "me.key": ISSUED.key, "token": b"from-file\n"}
DATA = {name: base64_of(content) for name, content in FILES.items()}
CERTIFICATE = {"client-certificate-data": DATA["me.pem"], "client-key-data": DATA["me.key"]}


def written(folder: Path, cluster: dict[str, Any], user: dict[str, Any], **more: Any) -> Path:
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    content = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
        "clusters": [{"name": "one", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}],
        "users": [{"name": "me", "user": user}],
        **more,
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        pytest.param({}, {}, id="nobody"),
        pytest.param({"server": "http://127.0.0.1:8080/", "certificate-authority": "ca.pem"}, CERTIFICATE, id="http"),
        pytest.param({"certificate-authority-data": DATA["ca.pem"]}, {"token": "abc"}, id="token"),
        pytest.param({"certificate-authority": "ca.pem"}, {"tokenFile": "token"}, id="token-file"),
        pytest.param({}, {"tokenFile": "token", "token": "abc"}, id="token-before-its-file"),
        pytest.param({}, CERTIFICATE, id="certificate"),
        pytest.param({}, {"client-certificate": "me.pem", "client-key": "me.key"}, id="certificate-files"),
        pytest.param({}, {"client-certificate": "ca.pem", **CERTIFICATE}, id="certificate-before-its-file"),
        pytest.param({"insecure-skip-tls-verify": True, "extensions": [{"name": "x"}]}, {}, id="insecure"),
        pytest.param({"tls-server-name": "kubernetes"}, {"as": "somebody"}, id="server-name"),
        pytest.param({"proxy-url": "http://127.0.0.1:3128"}, {}, id="proxy"),
    ],
)
def test_what_is_plain_is_read_as_the_package_reads_it(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any]
) -> None:
    path = written(tmp_path, cluster, user)
    ours = plain(path.read_text(), str(tmp_path))
    theirs = authentication.found(Wanted(str(path)))
    assert ours is not None
    assert theirs.error == ""
    assert with_token(ours) == with_token(theirs.credentials)


def with_token(found: Credentials) -> Credentials:
    """The token is read by the package, and by us later."""
    token = token_in(found.token_file) if found.token_file else found.authorization.strip()
    return msgspec.structs.replace(found, token_file="", authorization=token)


@pytest.mark.parametrize(
    ("cluster", "user", "more"),
    [
        pytest.param({}, {"exec": {"command": "x"}}, {}, id="plugin"),
        pytest.param({}, {"username": "u", "password": "p"}, {}, id="password"),
        pytest.param({}, {"auth-provider": {"name": "oidc"}}, {}, id="auth-provider"),
        pytest.param({}, {"token": 7}, {}, id="no-text"),
        pytest.param({"certificate-authority-data": "***="}, {}, {}, id="no-base64"),
        pytest.param({"server": None}, {}, {}, id="no-server"),
        pytest.param({}, {}, {"current-context": "gone"}, id="no-such-context"),
        pytest.param({}, {}, {"clusters": [{"name": "one", "cluster": {}}] * 2}, id="two-of-a-name"),
        pytest.param({}, {}, {"users": [{"name": "me"}]}, id="no-user"),
        pytest.param({}, {}, {"contexts": "here"}, id="no-list"),
    ],
)
def test_what_is_not_plain_is_left_to_the_package(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], more: dict[str, Any]
) -> None:
    assert plain(written(tmp_path, cluster, user, **more).read_text(), str(tmp_path)) is None


@pytest.mark.parametrize(
    ("unproxied", "proxy"),
    [
        pytest.param("", "http://127.0.0.1:3128", id="used"),
        pytest.param("10.0.0.0/8,127.0.0.0/8", "", id="not-for-this-network"),
        pytest.param("example.org", "http://127.0.0.1:3128", id="not-for-others"),
    ],
)
def test_proxies_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unproxied: str, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", unproxied)
    path = written(tmp_path, {}, {"token": "abc"})
    assert of_kubeconfig(str(path)).proxy == proxy
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.pem)
    host = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster(str(tmp_path), host) == Credentials(
        "https://127.0.0.1:443",
        token_file=f"{tmp_path}/token",
        authority=in_cluster(str(tmp_path), host).authority,
        proxy=proxy,
    )


def test_another_server_goes_by_the_proxy_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3128")
    path = written(tmp_path, {}, {})
    assert of_kubeconfig(str(path)).proxy == ""
    assert of_kubeconfig(str(path), server="http://10.0.0.1").proxy == "http://127.0.0.1:3128"


def test_a_list_of_kubeconfigs_is_merged(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one = written(tmp_path, {}, {"token": "abc"})
    other = written(tmp_path / "a", {"certificate-authority": "ca.pem"}, {}, users=[], **{"current-context": "here"})
    found = of_kubeconfig(f"{other}:{one}")
    assert found.authorization == "Bearer abc"
    assert found.authority is not None
    assert found.authority.path == str(tmp_path / "a/ca.pem")
