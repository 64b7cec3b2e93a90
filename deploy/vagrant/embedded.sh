# Part of provision.sh: the lab's API server, controllers and kubelet. Pods are processes of the node; no images.
# shellcheck shell=bash disable=SC2154
ADMIN=/etc/svcplane/admin.kubeconfig

provision_control() {
    install_units apiserver controllers
    credentials
    local pki=/etc/svcplane/pki
    flags SVCPLANE_APISERVER_FLAGS apiserver.env \
        "--advertise-address=$address" "--tls-cert-file=$pki/apiserver.crt" "--tls-private-key-file=$pki/apiserver.key" \
        "--client-ca-file=$pki/ca.crt" "--service-account-key-file=$pki/service-accounts.key"
    flags SVCPLANE_CONTROLLERS_FLAGS controllers.env "--cluster-cidr=$PODS.0.0/16" "--root-ca-file=$pki/ca.crt"
    start apiserver controllers
    await "the API server is ready" api GET /readyz
    dns_service
}

provision_node() {
    install_units agent dns kubelet
    credentials
    local forward=
    if grep -q '^nameserver' /etc/resolv.conf; then forward=--forward=/etc/resolv.conf; fi
    flags SVCPLANE_AGENT_FLAGS agent.env "--hostname-override=$name"
    flags SVCPLANE_DNS_FLAGS dns.env "--listen=$address:53" "--http=$address:9153" --ttl=30 --pods=insecure $forward
    flags SVCPLANE_KUBELET_FLAGS kubelet.env "--hostname-override=$name" "--node-ip=$address" "--cluster-dns=$DNS_SERVICE"
    start kubelet agent dns
    local unit
    for unit in kubelet agent dns; do
        await "svcplane-$unit is active" systemctl is-active --quiet "svcplane-$unit"
    done
}

api() {
    local pki=/etc/svcplane/pki
    curl -sS --fail-with-body --max-time 10 --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" \
        -H 'Content-Type: application/json' -X "$1" "https://$SVCPLANE_CONTROL:6443$2" "${@:3}"
}

# COLLECTION NAME OBJECT: it is there, or is created now.
made() {
    api GET "$1/$2" || api POST "$1" -d "$3"
}
