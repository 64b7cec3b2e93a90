"""Builds the Debian image that the virtual machines of the `vm` tests start from.

In: a release (bookworm, trixie), Debian's archive as mmdebstrap finds it, and the packages that pyproject.toml names.
Out: one folder outside the tree, named after the release and a hash of what went in: `root.ext4`, `vmlinuz`,
`initrd.img`, `key`, which is the SSH key of users root and vagrant, and `wheels`, which svcplane needs. No loop device,
mount or boot loader: QEMU starts the kernel itself.

In the image is what Debian's own Vagrant box has, and what svcplane's provisioning would install: packages, and
/opt/svcplane without svcplane. An emulated machine needs five minutes for that, each.
`PYTHONPATH=tests python -m vm.image SUITE` prints the folder.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from peers.build import cache_root

ROOT = Path(__file__).resolve().parents[2]
SUITES = {"bookworm": "3.11", "trixie": "3.13"}
"""And their Python."""
PACKAGES = (
    *("systemd-sysv", "dbus", "udev", "kmod", "linux-image-cloud-amd64", "libpam-systemd"),
    *("ifupdown", "isc-dhcp-client", "openssh-server", "iproute2", "iputils-ping", "netbase", "tcpdump"),
    *("ca-certificates", "curl", "procps", "rsync", "sudo"),
    *("conntrack", "iptables", "nftables", "python3-venv"),
)
# Timers and checks of a machine that lives long; each costs an emulated processor seconds.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer")
MASKED_TOO = ("e2scrub_reap.service", "systemd-networkd-wait-online.service", "systemd-pcrphase.service")
FILES = {
    "etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
    "etc/hostname": "debian\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "etc/machine-id": "",  # a copy of it would give all machines one DHCP lease
    "etc/network/interfaces": "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n",
    "etc/sudoers.d/vagrant": "vagrant ALL=(ALL) NOPASSWD: ALL\n",
    "etc/ssh/sshd_config.d/vm.conf": "UseDNS no\nPermitRootLogin prohibit-password\n",
}
SIZE = "4G"


def image_folder(suite: str) -> Path:
    """Where the image of this release belongs, built or not."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + "\n".join(requirements()).encode())
    return cache_root() / "vm" / f"{suite}-{digest.hexdigest()[:16]}"


def requirements() -> list[str]:
    """What svcplane[lab] asks of pip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["lab"]]


def built(suite: str) -> Path:
    """The folder of a release's image, after building it if it is not there; about a minute. root.

    Safe to call from several processes; a folder appears whole or not at all. Raises CalledProcessError.
    """
    folder = image_folder(suite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            print(f"building a {suite} image into {folder}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as workshop:
                _build(suite, Path(workshop))
                os.rename(Path(workshop, "done"), folder)
    return folder


def _build(suite: str, workshop: Path) -> None:
    root, done = workshop / "root", workshop / "done"
    done.mkdir()
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "svcplane vm", "-f", done / "key")
    retries = '--aptopt=Acquire::Retries "5"'
    _run("mmdebstrap", "--quiet", "--variant=minbase", retries, f"--include={','.join(PACKAGES)}", suite, root)
    _customize(root, (done / "key.pub").read_text())
    _run("make", "--no-print-directory", "-C", ROOT, "wheels", f"WHEELS={done}/wheels", f"WHEELS_FOR={SUITES[suite]}")
    for wheel in (done / "wheels").glob("svcplane-*"):
        wheel.unlink()
    _install_dependencies(root, done / "wheels")
    for name in ("vmlinuz", "initrd.img"):
        (kernel,) = (root / "boot").glob(f"{name}-*")
        shutil.copyfile(kernel, done / name)
    image = done / "root.ext4"
    _run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, image, SIZE)


def _customize(root: Path, public_key: str) -> None:
    _run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "vagrant")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/sudoers.d/vagrant").chmod(0o440)
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    # mmdebstrap's copy is of this machine; the machine's own comes with its DHCP lease.
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    for unit in (*MASKED, *MASKED_TOO):
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for home in ("root", "home/vagrant"):
        keys = root / home / ".ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        keys.write_text(public_key)
    _run("chroot", root, "chown", "-R", "vagrant:vagrant", "/home/vagrant")


def _install_dependencies(root: Path, wheels: Path) -> None:
    shutil.copytree(wheels, root / "wheels")
    _run("chroot", root, "python3", "-m", "venv", "/opt/svcplane")
    pip = ("chroot", root, "/opt/svcplane/bin/pip", "--isolated", "--no-cache-dir", "--quiet")
    _run(*pip, "install", "--no-index", "--find-links=/wheels", *requirements())
    shutil.rmtree(root / "wheels")


def _run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the image that the vm tests start from.")
    parser.add_argument("suite", nargs="?", choices=SUITES, default=next(iter(SUITES)))
    print(built(parser.parse_args().suite))
    return 0


if __name__ == "__main__":
    sys.exit(main())
