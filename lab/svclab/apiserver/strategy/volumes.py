"""What volumes and mounts of a pod must be.

In: a spec with its defaults. Out: errors in the API server's order and words. Kinds of volumes that only storage
plug-ins know are checked for being alone, not for what is in them. Source: kubernetes
pkg/apis/core/validation/validation.go, v1.36.3.
"""

from __future__ import annotations

from collections.abc import Mapping

from svclab.apiserver.strategy import formats, quantity
from svclab.apiserver.strategy.errors import (
    FieldError,
    all_wrong,
    duplicate,
    forbidden,
    not_found,
    required,
    unsupported,
    wrong,
)
from svclab.apiserver.strategy.fields import field_errors, resource_field_errors
from svclab.apiserver.strategy.metadata import Body

MODE = "must be a number between 0 and 0777 (octal), both inclusive"
HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
# In the order in which the API server looks at them.
SOURCES = (
    *("emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi"),
    *("glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc"),
    *("flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk"),
    *("storageos", "projected", "scaleIO", "csi", "ephemeral", "image"),
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")


def volumes_errors(volumes: list[Body], path: str) -> tuple[dict[str, Body], list[FieldError]]:
    """The good volumes by name, and what is wrong with the others."""
    found: list[FieldError] = []
    good: dict[str, Body] = {}
    for index, volume in enumerate(volumes):
        here, name = f"{path}[{index}]", volume.get("name", "")
        mine = _source_errors(volume, here)
        mine += all_wrong(f"{here}.name", name, formats.dns_label(name)) if name else [required(f"{here}.name")]
        if name in good:
            mine.append(duplicate(f"{here}.name", name))
        if mine:
            found += mine
        else:
            good[name] = volume
    return good, found


def _source_errors(volume: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    given = [source for source in SOURCES if volume.get(source) is not None]
    for position, source in enumerate(given):
        if position:
            found.append(forbidden(f"{path}.{source}", "may not specify more than 1 volume type"))
        elif source in CHECKS:
            found += CHECKS[source](volume[source], f"{path}.{source}")
    return found if given else [*found, required(path, "must specify a volume type")]


def _empty_dir_errors(source: Body, path: str) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.value(limit) < 0:
        return [forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path_errors(source: Body, path: str) -> list[FieldError]:
    if not source.get("path"):
        return [required(f"{path}.path")]
    found = _backsteps_errors(source["path"], f"{path}.path")
    kind = source.get("type", "")
    return found if kind in HOST_PATH_TYPES else [*found, unsupported(f"{path}.type", kind, HOST_PATH_TYPES)]


def _secret_errors(source: Body, path: str) -> list[FieldError]:
    found = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return found + _mode_errors(source.get("defaultMode"), f"{path}.defaultMode") + _items_errors(source, path)


def _config_map_errors(source: Body, path: str) -> list[FieldError]:
    found = [] if source.get("name") else [required(f"{path}.name")]
    return found + _mode_errors(source.get("defaultMode"), f"{path}.defaultMode") + _items_errors(source, path)


def _claim_errors(source: Body, path: str) -> list[FieldError]:
    return [] if source.get("claimName") else [required(f"{path}.claimName")]


def _nfs_errors(source: Body, path: str) -> list[FieldError]:
    found = [] if source.get("server") else [required(f"{path}.server")]
    folder = source.get("path", "")
    if not folder:
        found.append(required(f"{path}.path"))
    return found if folder.startswith("/") else [*found, wrong(f"{path}.path", folder, "must be an absolute path")]


def _downward_errors(source: Body, path: str) -> list[FieldError]:
    found = _mode_errors(source.get("defaultMode"), f"{path}.defaultMode")
    for item in source.get("items") or ():
        found += _downward_file_errors(item, path)
    return found


def _downward_file_errors(item: Body, path: str) -> list[FieldError]:
    name = item.get("path", "")
    found = [] if name else [required(f"{path}.path")]
    found += _local_path_errors(name, f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        found += field_errors(field, VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            said = "fieldRef and resourceFieldRef can not be specified simultaneously"
            found.append(wrong(path, "resource", said))
    elif resource is not None:
        found += resource_field_errors(resource, f"{path}.resourceFieldRef", in_volume=True)
    else:
        found.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return found + _mode_errors(item.get("mode"), f"{path}.mode")


def _projected_errors(source: Body, path: str) -> list[FieldError]:
    found = _mode_errors(source.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for index, one in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        for kind in ("secret", "configMap"):
            if (given := one.get(kind)) is None:
                continue
            if not given.get("name"):
                found.append(required(f"{here}.{kind}.name"))
            for position, item in enumerate(given.get("items") or ()):
                found += _item_errors(item, f"{here}.{kind}.items[{position}]")
                found += _conflict(item.get("path", ""), given.get("name", ""), taken, path)
        for item in (one.get("downwardAPI") or {}).get("items") or ():
            found += _downward_file_errors(item, f"{here}.downwardAPI")
            found += _conflict(item.get("path", ""), item.get("path", ""), taken, path)
        if (token := one.get("serviceAccountToken")) is not None:
            found += _token_errors(token, f"{here}.serviceAccountToken", path)
        if sum(1 for value in one.values() if value is not None) > 1:
            found.append(forbidden(here, "may not specify more than 1 volume type per source"))
    return found


def _conflict(file: str, shown: str, taken: set[str], path: str) -> list[FieldError]:
    if file and file in taken:
        return [wrong(path, shown, "conflicting duplicate paths")]
    taken.add(file)
    return []


def _token_errors(token: Body, path: str, projected: str) -> list[FieldError]:
    seconds, file = token.get("expirationSeconds", 0), token.get("path", "")
    found: list[FieldError] = []
    if seconds < 600:
        said = "may not specify a duration less than 10 minutes"
        found.append(wrong(f"{path}.expirationSeconds", seconds, said))
    if seconds > 1 << 32:
        said = "may not specify a duration larger than 2^32 seconds"
        found.append(wrong(f"{path}.expirationSeconds", seconds, said))
    return found + (_local_path_errors(file, f"{projected}.path") if file else [required(f"{projected}.path")])


def _items_errors(source: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, item in enumerate(source.get("items") or ()):
        found += _item_errors(item, f"{path}.items[{index}]")
    return found


def _item_errors(item: Body, path: str) -> list[FieldError]:
    found = [required(f"{path}.{field}") for field in ("key", "path") if not item.get(field)]
    found += _local_path_errors(item.get("path", ""), f"{path}.path")
    return found + _mode_errors(item.get("mode"), f"{path}.mode")


def _mode_errors(mode: int | None, path: str) -> list[FieldError]:
    return [] if mode is None or 0 <= mode <= 0o777 else [wrong(path, mode, MODE)]


def _descending_errors(file: str, path: str) -> list[FieldError]:
    found = [wrong(path, file, "must be a relative path")] if file.startswith("/") else []
    return found + _backsteps_errors(file, path)


def _local_path_errors(file: str, path: str) -> list[FieldError]:
    found = _descending_errors(file, path)
    if file.startswith("..") and not file.startswith("../"):
        found.append(wrong(path, file, "must not start with '..'"))
    return found


def _backsteps_errors(file: str, path: str) -> list[FieldError]:
    return [wrong(path, file, "must not contain '..'")] if ".." in file.split("/") else []


CHECKS = {
    "emptyDir": _empty_dir_errors,
    "hostPath": _host_path_errors,
    "secret": _secret_errors,
    "configMap": _config_map_errors,
    "persistentVolumeClaim": _claim_errors,
    "nfs": _nfs_errors,
    "downwardAPI": _downward_errors,
    "projected": _projected_errors,
}


def mounts_errors(container: Body, volumes: Mapping[str, Body], path: str) -> list[FieldError]:
    """`volumes` are the good ones."""
    found: list[FieldError] = []
    points: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        here, name, point = f"{path}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(required(f"{here}.name"))
        if name not in volumes:
            found.append(not_found(f"{here}.name", name))
        if not point:
            found.append(required(f"{here}.mountPath"))
        if point in points:
            found.append(wrong(f"{here}.mountPath", point, "must be unique"))
        points.add(point)
        inside, expression = mount.get("subPath", ""), mount.get("subPathExpr", "")
        if inside:
            found += _descending_errors(inside, f"{path}.subPath")
        if expression:
            if inside:
                said = "subPathExpr and subPath are mutually exclusive"
                found.append(wrong(f"{here}.subPathExpr", expression, said))
            found += _descending_errors(expression, f"{path}.subPathExpr")
        found += _propagation_errors(mount.get("mountPropagation"), container, f"{path}.mountPropagation")
    return found


def _propagation_errors(mode: str | None, container: Body, path: str) -> list[FieldError]:
    if mode is None:
        return []
    found = [] if mode in PROPAGATIONS else [unsupported(path, mode, PROPAGATIONS)]
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        said = "Bidirectional mount propagation is available only to privileged containers"
        found.append(forbidden(path, said))
    return found
