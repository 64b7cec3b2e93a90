# Part of provision.sh: Kubernetes by kubeadm, without kube-proxy and CoreDNS; svcplane's services in their place.
# shellcheck shell=bash disable=SC2154
ADMIN=/etc/kubernetes/admin.conf
export KUBECONFIG=$ADMIN

# kubeadm's form of a token: six and sixteen characters.
token=${SVCPLANE_SECRET:0:6}.${SVCPLANE_SECRET:6:16}

provision_control() {
    kubernetes
    install_units agent dns
    credentials --kubeadm
    [ -e "$ADMIN" ] || kubeadm init --apiserver-advertise-address="$address" --service-cidr=10.96.0.0/12 \
        --token="$token" --token-ttl=0 --skip-phases=addon/kube-proxy,addon/coredns --ignore-preflight-errors=NumCPU,Mem
    await "the API server is ready" kubectl get --raw /readyz
    # Users with certificates, in the places of the service accounts of a DaemonSet and a Deployment. kube-proxy's
    # own user has its rights from the API server.
    kubectl apply -f "$source/deploy/kustomize/base/dns/rbac.yaml" -n kube-system >/dev/null
    kubectl create clusterrolebinding svcplane-dns-hosts --clusterrole=svcplane-dns --user=svcplane-dns \
        --dry-run=client -o yaml | kubectl apply -f - >/dev/null
    dns_service
    SVCPLANE_ROLE=node credentials
    services agent
}

provision_node() {
    kubernetes
    install_units agent dns
    credentials
    [ -e /etc/kubernetes/kubelet.conf ] || kubeadm join "$SVCPLANE_CONTROL:6443" --token="$token" \
        --discovery-token-unsafe-skip-ca-verification --ignore-preflight-errors=NumCPU,Mem
    services agent dns
}

services() {
    local unit forward=
    if grep -q '^nameserver' /etc/resolv.conf; then forward=--forward=/etc/resolv.conf; fi
    flags SVCPLANE_AGENT_FLAGS agent.env "--hostname-override=$name"
    flags SVCPLANE_DNS_FLAGS dns.env "--listen=$address:53" "--http=$address:9153" --ttl=30 --pods=insecure $forward
    start "$@"
    for unit in "$@"; do
        await "svcplane-$unit is active" systemctl is-active --quiet "svcplane-$unit"
    done
}

# containerd, kubelet, kubeadm and kubectl; pods on a bridge, and routes to the other machines' pods.
kubernetes() {
    local sources=/etc/apt/sources.list.d/kubernetes.list key=/etc/apt/keyrings/kubernetes.gpg number third
    printf '%s\n' overlay br_netfilter >/etc/modules-load.d/kubernetes.conf
    modprobe -a overlay br_netfilter
    printf '%s\n' net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 >/etc/sysctl.d/kubernetes.conf
    sysctl -q -p /etc/sysctl.d/kubernetes.conf
    swapoff -a
    if ! command -v kubeadm >/dev/null; then
        if [ -z "${SVCPLANE_KUBERNETES_APT:-}" ]; then
            echo "SVCPLANE_KUBERNETES_APT is not set: the URL of Kubernetes' apt repository, as its page" \
                "'Installing kubeadm' names it, with its Release.key" >&2
            exit 1
        fi
        packages gpg
        mkdir -p "${key%/*}"
        curl -fsSL "${SVCPLANE_KUBERNETES_APT%/}/Release.key" | gpg --dearmor --yes -o "$key"
        echo "deb [signed-by=$key] ${SVCPLANE_KUBERNETES_APT%/}/ /" >"$sources"
        packages kubelet kubeadm kubectl
    fi
    packages containerd containernetworking-plugins
    if ! grep -q 'SystemdCgroup = true' /etc/containerd/config.toml; then
        containerd config default |
            sed -e 's/SystemdCgroup = false/SystemdCgroup = true/' -e 's|"/opt/cni/bin"|"/usr/lib/cni"|' >/etc/containerd/config.toml
        systemctl restart containerd
    fi
    echo "KUBELET_EXTRA_ARGS=--node-ip=$address" >/etc/default/kubelet
    number=${address##*.}
    mkdir -p /etc/cni/net.d
    cat >/etc/cni/net.d/10-bridge.conf <<END
{"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
 "ipam": {"type": "host-local", "subnet": "$PODS.$number.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}
END
    {
        printf '[Unit]\nDescription=routes to the pods of the other machines\nAfter=network-online.target\n'
        printf 'Wants=network-online.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n'
        for other in "$SVCPLANE_CONTROL" $(tr " " "\n" <<<"$SVCPLANE_NODES" | cut -d= -f2); do
            third=${other##*.}
            [ "$other" = "$address" ] || echo "ExecStart=/sbin/ip route replace $PODS.$third.0/24 via $other"
        done
        printf '[Install]\nWantedBy=multi-user.target\n'
    } >/etc/systemd/system/svcplane-vagrant-routes.service
    systemctl daemon-reload
    systemctl enable --quiet svcplane-vagrant-routes
    systemctl restart svcplane-vagrant-routes
}

# COLLECTION NAME OBJECT: it is there, or is created now.
made() {
    kubectl get --raw "$1/$2" || kubectl create --raw "$1" -f - <<<"$3"
}
