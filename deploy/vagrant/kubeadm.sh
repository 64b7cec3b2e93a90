# Part of provision.sh: Kubernetes by kubeadm, without kube-proxy and CoreDNS; svcplane's services in their place.
# shellcheck shell=bash disable=SC2154
ADMIN=/etc/kubernetes/admin.conf
UNFINISHED=/etc/kubernetes/svcplane.yaml  # kubeadm's configuration, until it has come to its end
export KUBECONFIG=$ADMIN

# kubeadm's form of a token: six and sixteen characters.
token=${SVCPLANE_SECRET:0:6}.${SVCPLANE_SECRET:6:16}

provision_control() {
    kubernetes
    install_units --lab agent
    credentials --kubeadm
    [ -e "$ADMIN" ] || init
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
    install_units --lab agent dns
    credentials
    [ -e /etc/kubernetes/kubelet.conf ] || join
    services agent dns
}

# A machine may be slow, and a node may be there before the control machine is: more time than kubeadm gives by itself.
init() {
    configuration <<END
kind: InitConfiguration
bootstrapTokens: [{token: "$token", ttl: 0s}]
localAPIEndpoint: {advertiseAddress: $address}
nodeRegistration: {ignorePreflightErrors: [NumCPU, Mem]}
skipPhases: [addon/kube-proxy, addon/coredns]
timeouts: {controlPlaneComponentHealthCheck: 20m, kubeletHealthCheck: 10m, kubernetesAPICall: 20m}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
encryptionAlgorithm: ECDSA-P256
kubernetesVersion: $(kubeadm version -o short)
networking: {serviceSubnet: 10.96.0.0/12}
END
    kubeadm init --config="$UNFINISHED"
    rm "$UNFINISHED"
}

join() {
    configuration <<END
kind: JoinConfiguration
discovery:
  bootstrapToken: {apiServerEndpoint: "$SVCPLANE_CONTROL:6443", token: "$token", unsafeSkipCAVerification: true}
nodeRegistration: {ignorePreflightErrors: [NumCPU, Mem]}
timeouts: {discovery: 30m, tlsBootstrap: 20m, kubeletHealthCheck: 10m, kubernetesAPICall: 20m}
END
    kubeadm join --config="$UNFINISHED"
    rm "$UNFINISHED"
}

configuration() {
    mkdir -p "${UNFINISHED%/*}"
    (umask 077; { echo "apiVersion: kubeadm.k8s.io/v1beta4"; cat; } >"$UNFINISHED")
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

# containerd, kubelet, kubeadm and kubectl, and the network of the pods.
kubernetes() {
    local sources=/etc/apt/sources.list.d/kubernetes.list key=/etc/apt/keyrings/kubernetes.gpg pause
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
    # What an init or a join left that failed would pass for a cluster.
    [ ! -e "$UNFINISHED" ] || kubeadm reset --force
    if ! grep -qs 'SystemdCgroup = true' /etc/containerd/config.toml; then
        pause=$(kubeadm config images list --kubernetes-version="$(kubeadm version -o short)" | grep /pause:)
        containerd config default |
            sed -e 's/SystemdCgroup = false/SystemdCgroup = true/' -e 's|"/opt/cni/bin"|"/usr/lib/cni"|' \
                -e "s|sandbox_image = .*|sandbox_image = \"$pause\"|" >/etc/containerd/config.toml
        systemctl restart containerd
    fi
    echo "KUBELET_EXTRA_ARGS=--node-ip=$address" >/etc/default/kubelet
    pod_network /
    cat >/etc/systemd/system/pod-network.service <<END
[Unit]
Description=pods of this machine and of the others: masquerade and routes
After=network-online.target
Wants=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/pod-network
[Install]
WantedBy=multi-user.target
END
    systemctl daemon-reload
    systemctl enable --quiet pod-network
    systemctl restart pod-network
}

# ROOT: pods on a bridge, what they need of the host, and routes to the other machines' pods; as files below ROOT.
pod_network() {
    local root=${1%/} own=$PODS.${address##*.}.0/24 other
    mkdir -p "$root/etc/cni/net.d" "$root/usr/local/sbin"
    # Without a hairpin, a pod that meets itself behind a Service has no answer: the bridge takes DNAT's packets back.
    cat >"$root/etc/cni/net.d/10-bridge.conf" <<END
{"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
 "ipam": {"type": "host-local", "subnet": "$own", "routes": [{"dst": "0.0.0.0/0"}]}}
END
    # The plugin's own masquerade (ipMasq) would hide pods from those of other machines too.
    cat >"$root/usr/local/sbin/pod-network" <<END
#!/bin/sh -e
rule='POSTROUTING -s $own ! -d $PODS.0.0/16 -j MASQUERADE'
iptables -w -t nat -C \$rule 2>/dev/null || iptables -w -t nat -A \$rule
$(for other in "$SVCPLANE_CONTROL" $(tr " " "\n" <<<"$SVCPLANE_NODES" | cut -d= -f2); do
    [ "$other" = "$address" ] || echo "ip route replace $PODS.${other##*.}.0/24 via $other"
done)
END
    chmod +x "$root/usr/local/sbin/pod-network"
}

# COLLECTION NAME OBJECT: it is there, or is created now.
made() {
    kubectl get --raw "$1/$2" || kubectl create --raw "$1" -f - <<<"$3"
}
