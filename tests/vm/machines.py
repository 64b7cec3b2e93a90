"""Virtual machines on one switch, as VirtualBox wires those of the Vagrantfile: real systemd, real kernel, real boot.

    10.0.2.15, on every machine ── QEMU's own NAT: the internet, and SSH from here
    192.168.56.10 + N           ── a switch in a namespace of our own, with this side at 192.168.56.1

In: an image of `vm.image` and a folder. Out: machines that can be started, asked over SSH, ended and started again on
the same disk. The emulator runs without KVM unless this machine has virtualization for sure. Everything dies with the
session; this machine's own network is not touched.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Self

from peers.processes import Process
from support.site import remove_abandoned
from support.waiting import eventually
from svclab import netns
from svclab.netns import Host

NETWORK = "192.168.56"
MEMORY = "1024"  # MiB
BOOT_SECONDS = 600.0
# On a busy host Linux takes the emulated TSC for broken, and every look at the clock becomes a call of the emulator.
KERNEL_OPTIONS = "mitigations=off tsc=reliable"
_TUNSETIFF = 0x400454CA
_TAP_FLAGS = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_SSH_OPTIONS = (
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
    *("-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=20", "-o", "ServerAliveCountMax=6"),
    *("-o", "ControlMaster=auto", "-o", "ControlPersist=600"),
)


class Switch:
    """A bridge in a namespace, and this side's address on it."""

    def __init__(self, tag: str) -> None:
        self.host = Host(f"{netns.PREFIX}t{os.getpid()}-{tag}")

    def __enter__(self) -> Self:
        remove_abandoned()
        self.host.create()
        netns.add_bridge(self.host, "br0", [])
        self.host.add_address("br0", f"{NETWORK}.1/24")
        return self

    def __exit__(self, *_: object) -> None:
        self.host.remove()

    def plug(self, port: str) -> int:
        """The file descriptor of a new tap on the bridge; the tap goes when the last process closes it."""
        with self.host.entered():
            tap = os.open("/dev/net/tun", os.O_RDWR)
            ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", port.encode(), _TAP_FLAGS))
            subprocess.run(("ip", "link", "set", port, "master", "br0", "up"), check=True)
        return tap


class Machine:
    """One machine of the Vagrantfile: host name, address on the private network, a disk of its own."""

    def __init__(self, name: str, number: int, image: Path, checkout: Path, folder: Path, switch: Switch) -> None:
        self.name, self.address = name, f"{NETWORK}.{number}"
        self.switch = switch
        self._number, self._image, self._checkout, self._folder = number, image, checkout, folder
        self._disk = folder / f"{name}.qcow2"
        self._control = folder / f"{name}.ssh"
        self._port = 0
        self._qemu: Process | None = None

    def start(self) -> None:
        """Power on. `ready` waits for the end of the boot."""
        if not self._disk.exists():
            backing = ("-b", self._image / "root.ext4", "-F", "raw")
            subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", *backing, self._disk), check=True)
        self._port = free_port()
        tap = self.switch.plug(f"tap{self._number}")
        try:
            self._qemu = Process(self._argv(tap), self._folder / f"{self.name}.console", inherited=(tap,))
            self._qemu.start()
        finally:
            os.close(tap)

    def _argv(self, tap: int) -> tuple[str, ...]:
        mac = f"52:54:00:56:%02x:{self._number:02x}"
        kernel = f"root=LABEL=root rw console=ttyS0 net.ifnames=0 {KERNEL_OPTIONS}"
        return (
            *("qemu-system-x86_64", "-machine", "q35", *acceleration(), "-smp", "1", "-m", MEMORY),
            *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"),
            *("-kernel", f"{self._image}/vmlinuz", "-initrd", f"{self._image}/initrd.img", "-append", kernel),
            *("-drive", f"file={self._disk},if=virtio,cache=unsafe", "-device", "virtio-rng-pci"),
            *("-drive", f"file={self._checkout},if=virtio,format=raw,readonly=on"),
            *("-netdev", f"user,id=nat,hostfwd=tcp:127.0.0.1:{self._port}-:22"),
            *("-device", f"virtio-net-pci,netdev=nat,romfile=,mac={mac % 0}"),
            *("-netdev", f"tap,id=lan,fd={tap}", "-device", f"virtio-net-pci,netdev=lan,romfile=,mac={mac % 1}"),
        )

    def ready(self) -> None:
        """Wait until systemd has started all it will, and none of it failed. Raises AssertionError."""
        assert self._qemu is not None
        self._qemu.wait_until(lambda: self.asks("true"), f"{self.name} answers SSH", BOOT_SECONDS)
        state = self.run(
            "systemctl is-system-running --wait || systemctl --failed --no-legend", seconds=BOOT_SECONDS, check=False
        )
        assert state.strip() == "running", f"{self.name}: {state}"

    def settle(self) -> None:
        """Name, private address and /vagrant, as Vagrant sets them after the first boot."""
        interface = f"auto eth1\\niface eth1 inet static\\naddress {self.address}\\nnetmask 255.255.255.0\\n"
        self.run(
            f"printf '\\n{interface}' >>/etc/network/interfaces && ifup eth1 && "
            f"echo {self.name} >/etc/hostname && hostname {self.name} && echo 127.0.2.1 {self.name} >>/etc/hosts && "
            "mkdir /vagrant && echo '/dev/vdb /vagrant ext4 ro 0 0' >>/etc/fstab && mount /vagrant && "
            "systemctl daemon-reload"  # or the unit of that mount would come with the first one that is installed
        )

    def run(self, command: str, *, stdin: bytes = b"", seconds: float = 300.0, check: bool = True) -> str:
        """Standard output and error of a shell command, as root. Raises AssertionError with them when it fails."""
        done = self._ssh(command, stdin, seconds)
        said = done.stdout.decode(errors="replace")
        assert not check or done.returncode == 0, f"{self.name}: {command} ended with {done.returncode}:\n{said}"
        return said

    def asks(self, command: str) -> bool:
        """Whether the command succeeds."""
        return self._ssh(command, b"", 120.0).returncode == 0

    def _ssh(self, command: str, stdin: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        argv = (*self.ssh(), command)
        return subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)

    def ssh(self) -> tuple[str, ...]:
        """An `ssh` as root that lacks but the command."""
        key = ("-i", str(self._image / "key"), "-o", f"ControlPath={self._control}", "-p", str(self._port))
        return ("ssh", *_SSH_OPTIONS, *key, "root@127.0.0.1")

    def reboot(self) -> None:
        """As a user does it; returns when the machine is up again. Raises AssertionError.

        The emulator ends where it would reset: one that goes on has the old system's code to compare all writes with.
        """
        qemu = self._qemu
        assert qemu is not None
        self._ssh("systemctl reboot", b"", 60.0)
        self._hang_up()
        eventually(lambda: not qemu.running, f"{self.name} is down", BOOT_SECONDS)
        self.start()
        self.ready()

    def _hang_up(self) -> None:
        """The connection that all commands share would not notice that the other side is gone."""
        if self._control.exists():
            subprocess.run(("ssh", "-o", f"ControlPath={self._control}", "-O", "exit", "vm"), capture_output=True)

    def stop(self) -> None:
        """The power switch."""
        self._hang_up()
        if self._qemu is not None:
            self._qemu.stop()


@contextmanager
def machines(image: Path, checkout: Path, folder: Path, **numbers: int) -> Iterator[dict[str, Machine]]:
    """Machines by name, started and named, with the addresses 192.168.56.NUMBER and a file system at /vagrant."""
    with ExitStack() as stack:
        switch = stack.enter_context(Switch("vm"))
        found = {name: Machine(name, number, image, checkout, folder, switch) for name, number in numbers.items()}
        for machine in found.values():
            stack.callback(machine.stop)
            machine.start()
        with ThreadPoolExecutor(len(found)) as threads:
            list(threads.map(Machine.ready, found.values()))
            list(threads.map(Machine.settle, found.values()))
        yield found


def acceleration() -> tuple[str, ...]:
    """KVM only where the processor says that it can: on a nested guest /dev/kvm opens, and Debian's kernel dies."""
    flags = Path("/proc/cpuinfo").read_text()
    if ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ("-accel", "kvm", "-cpu", "host")
    # "Fast string" instructions are loops over single bytes here, and Linux would clear its pages by them.
    return ("-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
