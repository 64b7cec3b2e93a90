"""Volumes of a pod: folders below the pod's own, filled from the API; and where a container mounts them.

In: a Pod, ways to look up ConfigMaps and Secrets and to ask for tokens. Out: folders and files, laid out as the
kubelet's atomic writer does it (`..data` links to a folder with a time in its name, and each name links into it), so
that a reader sees the old files or the new ones. Served: emptyDir, hostPath, configMap, secret, downwardAPI and
projected of those with service account tokens. Anything else is refused, by `VolumeError`, which names the volume.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from svclab.kubelet.containers import Mount
from svclab.kubelet.environment import Look, MissingError, contents, expanded

Body: TypeAlias = dict[str, Any]
Files: TypeAlias = dict[str, tuple[bytes, int]]
"""Path in the volume → content and mode."""

MODE = 0o644


class VolumeError(Exception):
    """The message is the kubelet's, for the event FailedMount."""


class Sources(msgspec.Struct, frozen=True):
    """Where contents come from. `token` takes audience and seconds, and returns the token and when to renew it."""

    look: Look
    token: Callable[[str, int], tuple[str, float]]
    field: Callable[[Body], str]
    resource: Callable[[Body], str]


def volume_paths(pod: Body, folder: Path) -> dict[str, str]:
    """Where each volume is on the node."""
    paths = {}
    for volume in pod["spec"].get("volumes") or []:
        if (host := volume.get("hostPath")) is not None:
            paths[volume["name"]] = host["path"]
        else:
            kind = next((kind for kind in volume if kind != "name"), "emptyDir")
            slug = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind)
            paths[volume["name"]] = str(folder / "volumes" / f"kubernetes.io~{slug}" / volume["name"])
    return paths


def made(pod: Body, folder: Path, sources: Sources, stamp: str) -> float | None:
    """Makes all volumes, or brings them up to date. Returns when to do it again, None if never. VolumeError."""
    paths = volume_paths(pod, folder)
    again: list[float] = []
    for volume in pod["spec"].get("volumes") or []:
        name = volume["name"]
        try:
            _make(volume, Path(paths[name]), sources, stamp, again)
        except (MissingError, OSError) as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
    return min(again, default=None)


def changes(pod: Body) -> bool:
    """Has the pod volumes whose source may change?"""
    kinds = {kind for volume in pod["spec"].get("volumes") or [] for kind in volume}
    return bool(kinds & {"configMap", "secret", "projected", "downwardAPI"})


def _make(volume: Body, path: Path, sources: Sources, stamp: str, again: list[float]) -> None:
    kind = next((kind for kind in volume if kind != "name"), "emptyDir")
    if kind == "emptyDir":
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
    elif kind == "hostPath":
        _check_host_path(path, volume["hostPath"].get("type") or "")
    elif kind == "projected":
        mode = volume["projected"].get("defaultMode", MODE)
        files: Files = {}
        for source in volume["projected"].get("sources") or []:
            files |= _contents(source, mode, sources, again)
        _write(path, files, stamp)
    elif kind in ("configMap", "secret", "downwardAPI"):
        source = dict(volume[kind])
        if kind == "secret":
            source["name"] = source.get("secretName", "")
        _write(path, _contents({kind: source}, source.get("defaultMode", MODE), sources, again), stamp)
    else:
        raise MissingError(
            f"this kubelet has no volumes of type {kind}, only emptyDir, hostPath, configMap, secret, projected "
            "and downwardAPI"
        )


def _contents(source: Body, mode: int, sources: Sources, again: list[float]) -> Files:
    if (token := source.get("serviceAccountToken")) is not None:
        text, renew = sources.token(token.get("audience") or "", int(token.get("expirationSeconds") or 3600))
        again.append(renew)
        return {token["path"]: (text.encode(), 0o644)}  # no fsGroup here, and no root squashing either
    if (downward := source.get("downwardAPI")) is not None:
        return {
            item["path"]: (_downward(item, sources).encode(), item.get("mode", mode))
            for item in downward.get("items") or []
        }
    for kind, key in (("configmap", "configMap"), ("secret", "secret")):
        if (wanted := source.get(key)) is not None:
            return _keys(kind, wanted, mode, sources.look)
    raise MissingError(f"this kubelet cannot project {', '.join(source)}")


def _downward(item: Body, sources: Sources) -> str:
    if "fieldRef" in item:
        return sources.field(item["fieldRef"])
    return sources.resource(item["resourceFieldRef"])


def _keys(kind: str, wanted: Body, mode: int, look: Look) -> Files:
    name, optional = wanted.get("name", ""), wanted.get("optional", False)
    found = look(kind, name)
    if found is None:
        if optional:
            return {}
        raise MissingError(f'{kind} "{name}" not found')
    data = contents(kind, found)
    if wanted.get("items") is None:
        return {key: (value, mode) for key, value in data.items()}
    files: Files = {}
    for item in wanted["items"]:
        if item["key"] in data:
            files[item["path"]] = (data[item["key"]], item.get("mode", mode))
        elif not optional:
            raise MissingError(
                f"references non-existent {'config' if kind == 'configmap' else 'secret'} key: {item['key']}"
            )
    return files


def _check_host_path(path: Path, kind: str) -> None:
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch()
    elif not kind and not path.exists():
        path.mkdir(parents=True)  # as container runtimes do
    tests = {
        "Directory": stat.S_ISDIR,
        "DirectoryOrCreate": stat.S_ISDIR,
        "File": stat.S_ISREG,
        "FileOrCreate": stat.S_ISREG,
        "Socket": stat.S_ISSOCK,
        "CharDevice": stat.S_ISCHR,
        "BlockDevice": stat.S_ISBLK,
    }
    if kind in tests and not (path.exists() and tests[kind](path.stat().st_mode)):
        shown = {"Directory": "directory", "DirectoryOrCreate": "directory", "Socket": "socket file"}.get(kind, "file")
        raise MissingError(f"hostPath type check failed: {path} is not a {shown}")


def _write(path: Path, files: Files, stamp: str) -> None:
    """All files at once, or nothing if they are there already."""
    if path.is_dir() and _read(path) == files:
        return
    path.mkdir(parents=True, exist_ok=True)
    new = path / f"..{stamp}"
    number = 0
    while new.exists():
        number += 1
        new = path / f"..{stamp}.{number}"
    new.mkdir()
    for name, (content, mode) in files.items():
        file = new / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
    before = os.readlink(path / "..data") if (path / "..data").is_symlink() else ""
    with suppress(FileNotFoundError):
        (path / "..data_tmp").unlink()
    (path / "..data_tmp").symlink_to(new.name)
    (path / "..data_tmp").rename(path / "..data")
    tops = {name.partition("/")[0] for name in files}
    for top in tops:
        if not (path / top).is_symlink():
            (path / top).symlink_to(f"..data/{top}")
    for entry in os.listdir(path):
        if not entry.startswith("..") and entry not in tops:
            (path / entry).unlink()
    if before:
        shutil.rmtree(path / before, ignore_errors=True)


def _read(path: Path) -> Files:
    found: Files = {}
    data = path / "..data"
    for folder, _, names in os.walk(data.resolve()):
        for name in names:
            file = Path(folder) / name
            found[str(file.relative_to(data.resolve()))] = (file.read_bytes(), file.stat().st_mode & 0o7777)
    return found


def mounts(container: Body, paths: Mapping[str, str], env: Mapping[str, str]) -> Iterable[Mount]:
    """Where a container sees volumes. VolumeError for a name that is none, or a subPath that leaves its volume."""
    for mount in container.get("volumeMounts") or []:
        if mount["name"] not in paths:
            raise VolumeError(f'volume "{mount["name"]}" of container {container["name"]} is not there')
        source = Path(paths[mount["name"]])
        below = expanded(mount.get("subPathExpr") or "", env) or mount.get("subPath") or ""
        if below:
            inside = (source / below).resolve()
            if not inside.is_relative_to(source.resolve()):
                raise VolumeError(
                    f'failed to prepare subPath for volumeMount "{mount["name"]}" of container "{container["name"]}"'
                )
            if not inside.exists():
                inside.mkdir(parents=True)
            source = inside
        yield Mount(str(source), mount["mountPath"].rstrip("/") or "/", bool(mount.get("readOnly")))
