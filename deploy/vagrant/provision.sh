#!/bin/bash
# Makes a fresh Debian 12 machine part of the cluster of ../../Vagrantfile; may be run again. root.
#
# Environment: SVCPLANE_PLANE embedded | kubeadm; SVCPLANE_ROLE control | node; SVCPLANE_CONTROL, the control machine's
# address; SVCPLANE_NODES "name=address ..."; SVCPLANE_SECRET, shared by all machines; SVCPLANE_SOURCE, the checkout;
# SVCPLANE_WHEELS, a folder of it that `make wheels` made: nothing is asked of a package index then.
set -euo pipefail
: "${SVCPLANE_PLANE:?}" "${SVCPLANE_ROLE:?}" "${SVCPLANE_CONTROL:?}" "${SVCPLANE_NODES:?}" "${SVCPLANE_SECRET:?}"
source=${SVCPLANE_SOURCE:-/vagrant}
name=$(hostname -s)
DNS_SERVICE=10.96.0.10
PODS=10.244  # and a third number for each node

say() { echo "svcplane: $*"; }
fail() { say "$*" >&2; exit 1; }

# The first network card is Vagrant's own, with 10.0.2.15 on every machine: the node is known by its address on the
# network that the control machine is on.
private_address() {
    ip -4 -o address show scope global |
        awk -v network="${SVCPLANE_CONTROL%.*}." 'index($4, network) == 1 { sub("/.*", "", $4); print $4; exit }'
}

packages() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# VARIABLE FILE FLAG...: the flags of one unit, in its file of /etc/svcplane.
flags() {
    echo "$1=${*:3}" >"/etc/svcplane/$2"
}

await() {
    local what=$1 tries
    shift
    for tries in {1..300}; do
        "$@" >/dev/null 2>&1 && return
        sleep 1
    done
    fail "not within $tries tries: $what"
}

start() {
    # Without waiting: an agent is ready when the API server has answered, which may be after the other machines' start.
    for unit in "$@"; do
        systemctl restart --no-block "svcplane-$unit"
    done
}

install_units() {
    "$source/deploy/systemd/install.sh" ${SVCPLANE_WHEELS:+--wheels "$source/$SVCPLANE_WHEELS"} "$@"
}

credentials() {
    /opt/svcplane/bin/python "$source/deploy/vagrant/credentials.py" "$SVCPLANE_ROLE" \
        --name "$name" --control "$SVCPLANE_CONTROL" "$@"
}

# Cluster DNS is a service of the nodes themselves: a Service without selector, and its endpoints by hand. Nobody takes
# one out while its machine is down, so every node asks its own.
dns_service() {
    local services=/api/v1/namespaces/kube-system/services slices=/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices
    local ports='{"name":"dns","port":53,"protocol":"UDP"},{"name":"dns-tcp","port":53,"protocol":"TCP"}'
    local node addresses=
    for node in $SVCPLANE_NODES; do
        addresses="$addresses${addresses:+,}{\"addresses\":[\"${node#*=}\"],\"nodeName\":\"${node%=*}\"}"
    done
    await "Service kube-dns is made" made $services kube-dns \
        '{"apiVersion":"v1","kind":"Service","metadata":{"name":"kube-dns","labels":{"k8s-app":"kube-dns"}},
          "spec":{"clusterIP":"'$DNS_SERVICE'","internalTrafficPolicy":"Local","ports":['"$ports"']}}'
    await "its endpoints are made" made $slices kube-dns-nodes \
        '{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4","metadata":{"name":"kube-dns-nodes",
          "labels":{"kubernetes.io/service-name":"kube-dns"}},"ports":['"$ports"'],"endpoints":['"$addresses"']}'
}

. "$source/deploy/vagrant/$SVCPLANE_PLANE.sh"

address=$(private_address)
[ -n "$address" ] || fail "no address on ${SVCPLANE_CONTROL%.*}.0/24: has this machine the private network?"
say "$name is $SVCPLANE_ROLE at $address, control plane $SVCPLANE_PLANE"
packages python3-venv iptables iproute2 curl ca-certificates conntrack util-linux
"provision_$SVCPLANE_ROLE"

case " $SVCPLANE_NODES" in
*" $name=$address") ;;  # the last node
*) exit 0 ;;
esac
cat <<END

The cluster is up. On your machine:

    vagrant ssh control -c 'sudo cat $ADMIN' 2>/dev/null > admin.kubeconfig
    export KUBECONFIG=\$PWD/admin.kubeconfig
    kubectl get nodes -o wide
    kubectl create deployment web --image=nginx --replicas=2
    kubectl expose deployment web --port=80 --type=NodePort
    curl http://$address:\$(kubectl get service web -o jsonpath='{.spec.ports[0].nodePort}')

On a node:

    vagrant ssh $name -c 'sudo iptables -t nat -L KUBE-SERVICES -n'
    vagrant ssh $name -c 'sudo svcplane-agent status'
    vagrant ssh $name -c 'sudo svcplane-agent trace 10.96.0.1:443'
    vagrant ssh $name -c 'systemctl status svcplane-agent svcplane-dns'

END
