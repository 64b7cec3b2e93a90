#!/bin/sh
# Removes what install.sh made, with all configuration and state, and what the programs wrote into the kernel.
#
#   uninstall.sh [--root DIR]
#
# It may be repeated, and removes what an interrupted install left. Before it, kube-proxy may be started: the rules that
# it shares with the agent would go, and come back with its next sync. Sysctls stay as they are, and so does
# /run/xtables.lock, which belongs to all users of iptables: two could write at once after it was removed.
set -eu

root=
case ${1-} in
'') ;;
--root) root=$2 ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || { echo "uninstall.sh: run it as root" >&2; exit 1; }

# The programs that a unit names: they may be elsewhere than in /opt.
program() {
    sed -n "s|^ExecStart=\([^ ]*/svcplane-[a-z]*\) .*|\1|p" "$root/etc/systemd/system/svcplane-$1.service" 2>/dev/null || true
}

# FAMILY IPTABLES: tables without any rule, which iptables makes again when it needs them. One with a chain, a set or a
# policy of somebody's stays, and iptables refuses to take a chain that was filled meanwhile.
drop_empty_tables() {
    { "$2-save" 2>/dev/null || true; } | awk '
        /^\*/ { table = substr($1, 2); chains = ""; empty = /nat|filter|mangle|raw/ }
        /^:/ { if ($2 == "ACCEPT") chains = chains " " substr($1, 2); else empty = 0 }
        /^-A/ { empty = 0 }
        /^COMMIT/ { if (empty) print table chains }' |
        while read -r table chains; do
            for chain in $chains; do
                "$2" -t "$table" -X "$chain" 2>/dev/null || true
            done
            if [ "$(nft list table "$1" "$table" 2>/dev/null | tr -d ' \n')" = "table$1$table{}" ]; then
                nft delete table "$1" "$table" || true
            fi
        done
}

agent=$(program agent) lab=$(program kubelet)
units=$(cd "$root/etc/systemd/system" 2>/dev/null && ls svcplane-*.service 2>/dev/null) || true

if [ -z "$root" ]; then
    if [ -d /run/systemd/system ] && [ -n "$units" ]; then
        # shellcheck disable=SC2086 # several words
        systemctl disable --quiet --no-reload --now $units
    fi
    if [ -x "$lab" ]; then "$lab" kubelet --cleanup; fi
    if [ -x "$agent" ]; then "$agent" cleanup; fi
    drop_empty_tables ip iptables-nft
    drop_empty_tables ip6 ip6tables-nft
fi
for unit in $units; do
    rm -f "$root/etc/systemd/system/$unit"
done
for name in agent dns lab; do
    link=$root/usr/local/bin/svcplane-$name
    if [ "$(readlink "$link" || true)" = "/opt/svcplane/bin/svcplane-$name" ]; then rm "$link"; fi
done
rm -rf "$root/opt/svcplane" "$root/etc/svcplane" "$root/var/lib/svcplane" "$root/var/lib/svcplane-lab/kubelet"
rmdir "$root/var/lib/svcplane-lab" 2>/dev/null || true
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # shellcheck disable=SC2086
    [ -z "$units" ] || systemctl reset-failed $units 2>/dev/null || true
fi
echo "svcplane is removed"
