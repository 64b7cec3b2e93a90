#!/bin/bash
# `vagrant up` of the shipped Vagrantfile, by vagrant-libvirt with an emulated processor, and what it says to try.
#
#   vagrant.sh IMAGE KUBECTL      the folder that `PYTHONPATH=tests python -m vm.image` prints; a kubectl. root
#
# libvirt gets namespaces of its own for network, mounts and processes: it changes nothing of this machine, and all of it
# ends with this script, kill -9 included.
set -euo pipefail
here=$(realpath "$(dirname "$0")") image=$(realpath "$1") kubectl=$(realpath "$2")

outside() {
    local status=0 old
    work=${image%/*}/vagrant.$$ inside='' slirp=''
    for old in "${image%/*}"/vagrant.*; do  # of runs that were killed
        [ -d "/proc/${old##*.}" ] || rm -rf "$old"
    done
    mkdir "$work"
    # shellcheck disable=SC2086 # one word or none
    trap 'kill -9 $inside $slirp 2>/dev/null || true; wait; rm -rf "$work"' EXIT
    setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$image" "$kubectl" "$work" &
    inside=$!
    until [ "$(readlink "/proc/$inside/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
    setpriv --pdeathsig KILL slirp4netns --configure --mtu=1500 --disable-host-loopback \
        --netns-type=path "/proc/$inside/ns/net" up0 >"$work/slirp.log" 2>&1 &
    slirp=$!
    wait "$inside" || status=$?
    inside=
    return "$status"
}

began=$SECONDS
say() { echo "== $((SECONDS - began)) s: $*"; }

inside() {
    local work=$1
    say "libvirt"
    mount -t tmpfs tmpfs /run
    mkdir -p "$work"/{etc,lib,cache,log,home}
    cp -a /etc/libvirt/. "$work/etc/"
    printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'cgroup_controllers = []' \
        'namespaces = []' 'remember_owner = 0' >"$work/etc/qemu.conf"
    mount --bind "$work/etc" /etc/libvirt
    mount --bind "$work/lib" /var/lib/libvirt
    mount --bind "$work/cache" /var/cache/libvirt
    mount --bind "$work/log" /var/log/libvirt
    echo nameserver 10.0.2.3 >"$work/resolv.conf"
    mount --bind "$work/resolv.conf" /etc/resolv.conf
    export HOME=$work/home
    ip link set lo up
    until ip -4 address show up0 2>/dev/null | grep -q inet; do sleep 0.1; done
    virtlogd -d
    libvirtd -d

    say "the box"
    mkdir "$work/box"
    echo '{"provider":"libvirt","format":"qcow2","virtual_size":4}' >"$work/box/metadata.json"
    cp "$here/box.rb" "$work/box/Vagrantfile"
    cp "$image"/{vmlinuz,initrd.img,key} "$work/box/"
    qemu-img convert -O qcow2 "$image/root.ext4" "$work/box/box.img"
    tar -C "$work/box" -cf "$work/debian.box" metadata.json Vagrantfile vmlinuz initrd.img key box.img
    vagrant box add --name debian/bookworm64 "$work/debian.box"
    rm -r "$work/box" "$work/debian.box"

    rsync -a --exclude=.git --exclude=.venv --exclude='.*_cache' --exclude=.vagrant "$here/../../" "$work/checkout/"
    cd "$work/checkout"
    export SVCPLANE_WHEELS=dist/wheels
    vagrant validate
    say "vagrant up"
    vagrant up --provider=libvirt
    say "what it says to try"
    vagrant ssh control -c 'sudo cat /etc/svcplane/admin.kubeconfig' 2>/dev/null >"$work/admin.kubeconfig"
    export KUBECONFIG=$work/admin.kubeconfig
    "$kubectl" get nodes -o wide
    "$kubectl" create deployment web --image=nginx --replicas=2
    "$kubectl" expose deployment web --port=80 --type=NodePort
    "$kubectl" wait deployment/web --for=condition=Available --timeout=200s
    local port node
    port=$("$kubectl" get service web -o jsonpath='{.spec.ports[0].nodePort}')
    for node in 192.168.56.11 192.168.56.12; do
        curl -sS --fail --retry 20 --retry-connrefused --max-time 20 "http://$node:$port" | grep -i -m1 nginx
    done
    vagrant ssh node1 -c 'sudo iptables -t nat -L KUBE-SERVICES -n' | grep default/web
    vagrant ssh node1 -c 'systemctl is-active svcplane-agent svcplane-dns svcplane-kubelet'
    say "vagrant provision, once more"
    vagrant provision node1
    curl -sS --fail --retry 20 --retry-connrefused --max-time 20 "http://192.168.56.11:$port" >/dev/null
    say "vagrant destroy"
    vagrant destroy -f
    say "the machines came up, served and went"
}

if [ $# = 2 ]; then outside; else inside "$3"; fi
