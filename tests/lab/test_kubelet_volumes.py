"""Volumes as folders: layout, updates, what is refused; routes and masquerade as values."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from support.kubelet_pods import body
from svclab.kubelet.containers import Mount
from svclab.kubelet.network import Layout, layout, masquerade_rules
from svclab.kubelet.volumes import Sources, VolumeError, made, mounts, volume_paths

CONFIG: dict[str, Any] = {"metadata": {"name": "cfg"}, "data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}
SECRET = {"metadata": {"name": "key"}, "data": {"password": base64.b64encode(b"hunter2").decode()}}


def sources(config: dict[str, Any] = CONFIG) -> Sources:
    return Sources(
        look=lambda kind, name: {("configmap", "cfg"): config, ("secret", "key"): SECRET}.get((kind, name)),
        token=lambda audience, seconds: (f"token for {audience or 'the API'}", 1000.0 + seconds),
        field=lambda reference: f"<{reference['fieldPath']}>",
        resource=lambda reference: f"<{reference['resource']}>",
    )


def volume(folder: Path, source: dict[str, Any], config: dict[str, Any] = CONFIG, stamp: str = "1") -> dict[str, str]:
    """Path → content of the one volume of a pod, as a container sees it."""
    pod = body(volumes=[{"name": "v", **source}])
    made(pod, folder, sources(config), stamp)
    root = Path(volume_paths(pod, folder)["v"])
    found: dict[str, str] = {}
    for name in sorted(os.listdir(root)):
        if not name.startswith(".."):
            inside = sorted((root / name).rglob("*")) if (root / name).is_dir() else [root / name]
            found |= {str(one.relative_to(root)): one.read_bytes().decode("latin-1") for one in inside}
    return found


@pytest.mark.parametrize(
    ("source", "files"),
    [
        pytest.param({"emptyDir": {}}, {}, id="emptyDir"),
        pytest.param({"configMap": {"name": "cfg"}}, {"a": "1", "b": "2", "c": "\0\1"}, id="configMap"),
        pytest.param(
            {"configMap": {"name": "cfg", "items": [{"key": "a", "path": "x/y"}]}}, {"x/y": "1"}, id="configMap items"
        ),
        pytest.param({"configMap": {"name": "none", "optional": True}}, {}, id="optional"),
        pytest.param({"secret": {"secretName": "key"}}, {"password": "hunter2"}, id="secret"),
        pytest.param(
            {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"l": "<metadata.labels>"},
            id="downwardAPI",
        ),
        pytest.param(
            {
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                        {"configMap": {"name": "cfg", "items": [{"key": "a", "path": "ca.crt"}]}},
                        {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
                    ]
                }
            },
            {"ca.crt": "1", "ns": "<metadata.namespace>", "token": "token for the API"},
            id="a service account",
        ),
    ],
)
def test_contents(tmp_path: Path, source: dict[str, Any], files: dict[str, str]) -> None:
    assert volume(tmp_path, source) == files


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"configMap": {"name": "cfg", "items": [{"key": "z", "path": "z"}]}}, "references non-existent config key: z"),
        ({"nfs": {"server": "s", "path": "/"}}, "this kubelet has no volumes of type nfs"),
        (
            {"hostPath": {"path": "/etc/passwd", "type": "Directory"}},
            "hostPath type check failed: /etc/passwd is not a",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(tmp_path: Path, source: dict[str, Any], message: str) -> None:
    with pytest.raises(VolumeError) as caught:
        volume(tmp_path, source)
    assert str(caught.value).startswith(f'MountVolume.SetUp failed for volume "v" : {message}')


def test_an_update_replaces_all_files_at_once(tmp_path: Path) -> None:
    source = {"configMap": {"name": "cfg"}}
    volume(tmp_path, source)
    root = tmp_path / "volumes/kubernetes.io~config-map/v"
    before = os.readlink(root / "..data")
    assert volume(tmp_path, source, stamp="2")
    assert os.readlink(root / "..data") == before  # nothing changed
    changed = {"metadata": {"name": "cfg"}, "data": {"a": "9", "d": "new"}}
    assert volume(tmp_path, source, changed, stamp="3") == {"a": "9", "d": "new"}
    assert [name for name in os.listdir(root) if name.startswith("..")] != []
    assert not (root / before).exists()


def test_a_token_is_renewed(tmp_path: Path) -> None:
    token = {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}]}}
    assert made(body(volumes=[{"name": "v", **token}]), tmp_path, sources(), "1") == 1600.0
    assert made(body(volumes=[{"name": "v", "emptyDir": {}}]), tmp_path, sources(), "1") is None


def test_where_a_container_sees_volumes(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    container = {
        "name": "a",
        "volumeMounts": [
            {"name": "v", "mountPath": "/data/"},
            {"name": "v", "mountPath": "/ro", "readOnly": True, "subPathExpr": "$(WHERE)"},
        ],
    }
    assert list(mounts(container, {"v": str(tmp_path)}, {"WHERE": "there"})) == [
        Mount(str(tmp_path), "/data"),
        Mount(str(tmp_path / "there"), "/ro", read_only=True),
    ]


def test_a_sub_path_must_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    container = {"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "out/passwd"}]}
    with pytest.raises(VolumeError, match="failed to prepare subPath"):
        list(mounts(container, {"v": str(tmp_path)}, {}))


def node(name: str, address: str, *ranges: str) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    spec = {"podCIDRs": list(ranges), "podCIDR": ranges[0]} if ranges else {}
    return {"metadata": {"name": name}, "spec": spec, "status": {"addresses": addresses}}


NODES = [
    node("node1", "192.168.56.11", "10.244.0.0/24"),
    node("node2", "192.168.56.12", "10.244.1.0/24"),
    node("new", "192.168.56.13"),
]


def test_routes_lead_to_other_nodes() -> None:
    assert layout("node1", NODES) == Layout(
        ("10.244.0.0/24",),
        {"10.244.1.0/24": "192.168.56.12"},
        ("10.244.0.0/24", "10.244.1.0/24", "192.168.56.11", "192.168.56.12", "192.168.56.13"),
    )


def test_only_what_leaves_the_cluster_is_masqueraded() -> None:
    assert masquerade_rules(layout("node2", NODES[:2]), 4) == (
        "*nat\n:SVCP-MASQ - [0:0]\n"
        "-A SVCP-MASQ -d 10.244.0.0/24 -j RETURN\n"
        "-A SVCP-MASQ -d 10.244.1.0/24 -j RETURN\n"
        "-A SVCP-MASQ -d 192.168.56.11 -j RETURN\n"
        "-A SVCP-MASQ -d 192.168.56.12 -j RETURN\n"
        "-A SVCP-MASQ -d 224.0.0.0/4 -j RETURN\n"
        "-A SVCP-MASQ -s 10.244.1.0/24 -j MASQUERADE\n"
        "COMMIT\n"
    )
