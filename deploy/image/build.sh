#!/bin/sh
# Builds the image where no registry of images can be reached: the base is made by mmdebstrap, the rest by buildah.
#
#   build.sh [TAG]      default: localhost/svcplane:0.1.0. Needs root, mmdebstrap and buildah.
set -eu
cd "$(dirname "$0")/../.."
tag=${1:-localhost/svcplane:0.1.0}
base=localhost/svcplane-base:bookworm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    mmdebstrap --quiet --variant=minbase --include=python3,iptables,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*' \
        bookworm "$work/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/base.tar" / >/dev/null
    buildah commit --quiet --rm "$container" "$base" >/dev/null
fi
# This machine's certificates, for who stands behind a proxy that has its own.
buildah build --quiet --isolation chroot --pull-never --build-arg "BASE=$base" \
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro \
    --file deploy/image/Dockerfile --tag "$tag" .
