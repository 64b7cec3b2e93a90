#!/bin/sh
# A kind cluster whose Services and DNS are svcplane's: image, cluster, manifests. Needs docker, kind and kubectl.
#
#   deploy/kind/up.sh                  again after a change: the image is built anew, and the pods take it
#   kind delete cluster --name svcplane
set -eu
cd "$(dirname "$0")/../.."
image=localhost/svcplane:0.1.0

for program in docker kind kubectl; do
    command -v "$program" >/dev/null || { echo "up.sh: $program is not on PATH" >&2; exit 1; }
done
docker build --file deploy/image/Dockerfile --tag "$image" .
kind get clusters | grep -qx svcplane || kind create cluster --name svcplane --config deploy/kind/cluster.yaml
kind load docker-image "$image" --name svcplane

on() {
    kubectl --context kind-svcplane "$@"
}
on apply -k deploy/kind
# An image of the same name is taken by new pods only.
on -n svcplane-system rollout restart daemonset/svcplane-agent
on -n kube-system rollout restart deployment/svcplane-dns
on -n svcplane-system rollout status daemonset/svcplane-agent --timeout 180s
on -n kube-system rollout status deployment/svcplane-dns --timeout 180s
# kind brings CoreDNS; both stand behind the Service kube-dns until here.
on -n kube-system scale deployment coredns --replicas 0

echo "Try:"
echo "  kubectl --context kind-svcplane create deployment web --image nginx --replicas 2"
echo "  kubectl --context kind-svcplane expose deployment web --port 80 --type NodePort"
echo "  docker exec svcplane-worker iptables -t nat -L KUBE-SERVICES -n"
