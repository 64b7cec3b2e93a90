"""Brings a lab up, or up again.

In: what was asked for, and a place to tell what is done. Out: a running lab with cluster DNS. A lab that is there is
completed: missing namespaces, supervisor, daemons and add-ons are made, the rest is left alone. A lab that was not
there and cannot be finished is removed again. Refused with LabError: another plan than the one that runs, ranges that
are taken, missing rights or programs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from svclab import images
from svclab.cluster import kubectl, launching, pki, plan, readiness, removal, state, supervisor, topology
from svclab.cluster.addons import COREFILE, Addon, addons
from svclab.cluster.api import Api, ApiError
from svclab.cluster.daemons import NODE_COREFILE
from svclab.cluster.plan import Plan, PlanError
from svclab.cluster.state import Lab
from svclab.errors import LabError

ATTEMPTS = 100  # to create an object
# program: Debian package
NEEDED = {"ip": "iproute2", "iptables": "iptables", "conntrack": "conntrack"}


def bring_up(
    asked: Mapping[str, Any], folder: Path, tell: Callable[[str], None], *, keep: bool = False
) -> tuple[Lab, str]:
    """The lab, and the path of its kubectl, "" without one. `tell` gets lines for people.

    `keep`: what cannot be finished is left as it is, for somebody to look at.
    """
    _check_rights()
    with state.locked(folder):
        try:
            found = state.find(asked.get("name", Plan().name), str(folder))
            lab = _new(asked, folder) if found is None else _same(found, asked)
        finally:
            with suppress(OSError):  # the lock made it; it is not empty if there is a lab
                folder.rmdir()
        try:
            if found is not None:
                tell(f"lab {lab.plan.name} is there; what is missing is completed")
            return lab, _complete(lab, tell)
        except BaseException as error:
            if found is None and not keep:
                with suppress(Exception):
                    tell(f"  ✗ {type(error).__name__ if not str(error) else 'failed'}: removing what was made")
                removal.remove(lab)
            raise


def _new(asked: Mapping[str, Any], folder: Path) -> Lab:
    try:
        wanted = plan.checked(Plan(**asked))
        plan.check_machine(wanted, topology.machine_view("address"), topology.machine_view("route show table all"))
    except PlanError as error:
        raise LabError(str(error)) from error
    if left := topology.existing(wanted.name):
        down = f"svcplane-lab down --name {wanted.name}"
        raise LabError(f"{', '.join(left)} exist, of a lab whose folder is not {folder}; {down} removes them")
    lab = Lab(wanted, folder)
    lab.save()
    return lab


def _same(lab: Lab, asked: Mapping[str, Any]) -> Lab:
    if different := plan.differences(lab.plan, asked):
        name = lab.plan.name
        raise LabError(
            f"lab {name} is up, and {'; '.join(different)}; first svcplane-lab down --name {name}, "
            "or choose another --name and other ranges"
        )
    lab.save()  # an interrupted `up` may not have made all folders
    return lab


def _complete(lab: Lab, tell: Callable[[str], None]) -> str:
    began = time.monotonic()
    numbers = f"{lab.plan.nodes} node{'s' if lab.plan.nodes > 1 else ''}"
    tell(f"{lab.plan.name}: {numbers} on {lab.plan.node_cidr}, pods {lab.plan.cluster_cidr}, "
         f"services {lab.plan.service_cidr}")  # fmt: skip

    @contextmanager
    def step(what: str, detail: str) -> Iterator[None]:
        yield
        tell(f"  ✓ {what:<12} {time.monotonic() - began:5.1f} s   {detail}")

    with step("network", f"{', '.join(f'{host} {address}' for host, address in lab.plan.hosts.items())}"):
        pki.write_credentials(lab)
        state.write(lab.folder / NODE_COREFILE, COREFILE)
        topology.build(lab)
    if not supervisor.is_running(lab):
        _start_supervisor(lab)
    api = Api(lab)
    with step("API server", lab.plan.api_server):
        readiness.await_api(lab, api)
    with suppress(LabError):  # it is only for speed
        supervisor.look_again(lab)
    *rest, dns = addons(lab.plan)
    for addon in rest:
        _add(api, addon)
    with step("nodes", "all ready"):
        readiness.await_nodes(lab, api)
    _add(api, dns)  # only now, or all replicas would be on the node that is ready first
    with step("cluster DNS", f"{lab.plan.dns_service} answers on every node"):
        readiness.await_dns(lab, api)
    try:
        return kubectl.find()
    except LabError as error:  # the cluster is good without
        tell(f"  ! {error}")
        return ""


def _start_supervisor(lab: Lab) -> None:
    argv = [sys.executable, launching.command("svcplane-lab"), "supervise"]
    argv += ["--name", lab.plan.name, "--state", str(lab.folder)]
    with lab.log("supervisor").open("ab") as log:
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=launching.environment(lab),
        ).returncode = 0  # it outlives us; nobody waits for it


def _add(api: Api, addon: Addon) -> None:
    """Creates it if it is missing. What somebody changed stays as it is."""
    for attempt in range(ATTEMPTS):
        try:
            api.request("POST", addon.collection, addon.body)
            return
        except ApiError as error:
            if error.status == 409 or (error.status == 422 and _exists(api, addon.path)):
                return
            if attempt == ATTEMPTS - 1 or error.status not in (0, 403, 404, 503):
                raise
            time.sleep(readiness.PAUSE)  # not all of a fresh server is there yet


def _exists(api: Api, path: str) -> bool:
    try:
        api.get(path)
    except ApiError:
        return False
    return True


def _check_rights() -> None:
    if os.geteuid() != 0:
        raise LabError("network namespaces need root: try sudo svcplane-lab up")
    missing = [f"{program} (apt-get install {package})" for program, package in NEEDED.items() if not _found(program)]
    if missing:
        raise LabError(f"not installed: {', '.join(missing)}")


def _found(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{launching.PATH}") is not None


def with_absolute_images(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The daemons run in another folder than we do. LabError if the file is missing or bad."""
    found = dict(asked)
    if file := found.get("images"):
        images.read(Path(file))
        found["images"] = str(Path(file).absolute())
    return found
