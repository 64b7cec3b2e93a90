"""What the operator reads when another program is at work on the node: what was seen, and the command that ends it."""

from __future__ import annotations

import pytest

from svcagent.conflict import Program, Rival, remedy, sentence

POD = "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3a0b6f2c_01.slice/cri-containerd-5d.scope\n"
POD_V1 = "4:memory:/kubepods/besteffort/pod3a0b6f2c-01/5d\n"
SERVICE = "12:pids:/system.slice/kube-proxy.service\n0::/system.slice/kube-proxy.service\n"
SESSION = "0::/user.slice/user-0.slice/session-4.scope\n"
DELETE = "remove it with `kubectl -n kube-system delete daemonset kube-proxy`"

REMEDIES: list[tuple[str, Program, int, str, str, str]] = [
    ("a pod", "kube-proxy", 7, "kube-proxy", POD, DELETE),
    ("a pod, cgroups v1", "kube-proxy", 7, "kube-proxy", POD_V1, DELETE),
    ("a service of the host", "kube-proxy", 7, "kube-proxy", SERVICE,
     "stop it with `systemctl disable --now kube-proxy.service`"),
    ("started by hand", "kube-proxy", 7, "kube-proxy", SESSION, "stop it with `kill 7`"),
    ("inside k3s", "kube-proxy", 7, "k3s-server", "0::/system.slice/k3s.service\n",
     "start k3s with --disable-kube-proxy"),
    ("not to be seen", "kube-proxy", 0, "", "",
     "remove it with `kubectl -n kube-system delete daemonset kube-proxy`, or as a service of the host with "
     "`systemctl disable --now kube-proxy`"),
    ("an agent as a service", "svcplane-agent", 7, "svcplane-agent", "0::/system.slice/svcplane-agent.service\n",
     "stop it with `systemctl disable --now svcplane-agent.service`"),
    ("an agent in a pod", "svcplane-agent", 7, "svcplane-agent", POD, "delete its DaemonSet or this one"),
    ("an agent, not to be seen", "svcplane-agent", 0, "", "", "stop one of the two"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "pid", "command", "cgroup", "command_line"), [row[1:] for row in REMEDIES], ids=[r[0] for r in REMEDIES]
)
def test_the_command_that_ends_it(program: Program, pid: int, command: str, cgroup: str, command_line: str) -> None:
    assert remedy(Rival(program, "", pid, command, cgroup)) == command_line


def test_one_sentence_names_what_was_seen() -> None:
    said = sentence(Rival("kube-proxy", "http://127.0.0.1:10249/proxyMode says ipvs", 7, "kube-proxy", SERVICE))
    assert said.startswith(
        "kube-proxy is at work on this node: http://127.0.0.1:10249/proxyMode says ipvs (process 7, kube-proxy); "
    )
    assert "systemctl disable --now kube-proxy.service" in said
    assert "--beside-kube-proxy" in said
    assert "\n" not in said
