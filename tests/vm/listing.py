"""All that an installation could leave on a machine, one line each; /opt/svcplane aside, which the image has before."""

from __future__ import annotations

from vm.machines import Machine

# eth0 is QEMU's own network, which announces IPv6 when it likes.
# One shell: each SSH command costs an emulated machine a second.
# A busy one keeps systemctl waiting longer than its usual 25 s.
COMMANDS = r"""
export SYSTEMD_BUS_TIMEOUT=600
for tables in iptables-save ip6tables-save; do $tables | grep -v '^[#:]' | sed "s/^/$tables /"; done
nft list tables | sed 's/^/table /'
ip -o link | awk -F': ' '{print "link", $2}'
ip route show table all | grep -v 'dev eth0' | sed -E 's/ (expires|metric) [^ ]+//; s/^/route /'
ip -o netns list | sed 's/^/namespace /'
awk '{print "mount", $5}' /proc/self/mountinfo
systemctl list-unit-files --no-legend --no-pager | awk '{print "unit", $1, $2}'
systemctl list-units --all --no-legend --no-pager 'svcplane*' 'kube*' | sed 's/^/loaded /'
sed 's/^/user /' /etc/passwd
sed 's/^/group /' /etc/group
ps -eo args= | grep -E '/opt/svcplane|svclab|svcplane-' | grep -v grep | sed 's/^/process /'
find /etc /opt /root /home /usr/local /var/lib /var/cache -xdev -path /opt/svcplane -prune -o -print | sed 's/^/file /'
find /run /tmp /var/tmp -maxdepth 2 | sed 's/^/file /'
"""
# What every machine makes by itself.
NOISE = (
    *("file /var/lib/systemd/", "file /var/lib/dhcp/", "file /run/systemd/"),
    *("file /run/user", "file /run/udev", "file /tmp/systemd-private", "file /var/tmp/systemd-private"),
    *("mount /run/user", "file /tmp/vagrant-shell", "mount /run/credentials"),
    "file /run/xtables.lock",  # of all users of iptables: without it two could write at once, so uninstall.sh keeps it
)


def of(machine: Machine) -> set[str]:
    return set(machine.run(COMMANDS).splitlines())


def difference(before: set[str], after: set[str]) -> list[str]:
    """Lines that came and went, marked + and -, without noise."""
    changes = [("+", line) for line in after - before] + [("-", line) for line in before - after]
    return sorted(f"{sign}{line}" for sign, line in changes if not line.startswith(NOISE))
