#!/bin/sh
# Installs svcplane as systemd services: programs in /opt/svcplane, configuration in /etc/svcplane, units.
#
#   install.sh [--programs DIR] [--wheels DIR] [--lab] [--root DIR] UNIT...
#   UNIT: agent dns nodelocal apiserver controllers kubelet
#
# --programs DIR   use svcplane's programs in DIR instead of making /opt/svcplane from this checkout
# --wheels DIR     what `make wheels` made, svcplane included: no package index is asked, and nothing is built
# --lab            with what svcplane-lab needs, which units of the lab have anyway
# --root DIR       put the files below DIR and start nothing; with --programs
#
# It may be repeated: what is there is replaced, but for files in /etc/svcplane, which are left as they are.
set -eu

root= programs= wheels= extra= units=
while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$2; shift ;;
    --wheels) wheels=$2; shift ;;
    --lab) extra='[lab]' ;;
    --root) root=$2; shift ;;
    agent | dns | nodelocal | apiserver | controllers | kubelet) units="$units $1" ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
[ -n "$units" ] || { echo "install.sh: which units? agent dns nodelocal apiserver controllers kubelet" >&2; exit 2; }
[ -z "$root" ] || [ -n "$programs" ] || { echo "install.sh: --root needs --programs" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }

[ -z "$wheels" ] || wheels=$(realpath "$wheels")
cd "$(dirname "$0")"

need() {
    command -v "$1" >/dev/null || { echo "install.sh: $1 is not installed (apt-get install $2)" >&2; exit 1; }
}
case $units in *agent* | *nodelocal* | *kubelet*) need iptables iptables ;; esac
case $units in *kubelet*) need ip iproute2 ;; esac

if [ -z "$programs" ]; then
    need python3 python3-venv
    case $units in *apiserver* | *controllers* | *kubelet*) extra='[lab]' ;; esac
    /opt/svcplane/bin/python -c 'import pip' 2>/dev/null || python3 -m venv /opt/svcplane ||
        { echo "install.sh: no Python 3.11 with venv (apt-get install python3-venv)" >&2; exit 1; }
    pip="/opt/svcplane/bin/pip --quiet --disable-pip-version-check"
    if [ -n "$wheels" ]; then
        # pip would keep what has the same version, changed or not.
        [ ! -e /opt/svcplane/bin/svcplane-agent ] || $pip uninstall --yes svcplane
        $pip install --no-index --find-links="$wheels" --upgrade "svcplane$extra"
    else
        # A copy, since the build writes beside what it builds.
        source=$(mktemp -d)
        trap 'rm -rf "$source"' EXIT
        tar -C ../.. -cf - README.md pyproject.toml kube net agent dns lab | tar -C "$source" -xf -
        $pip install --upgrade "svcplane$extra @ file://$source"
    fi
    programs=/opt/svcplane/bin
    for name in agent dns lab; do
        ln -sf "$programs/svcplane-$name" "/usr/local/bin/svcplane-$name"
    done
fi

mkdir -p "$root/etc/systemd/system"
[ -d "$root/etc/svcplane" ] || mkdir -m 0700 "$root/etc/svcplane"
for unit in $units; do
    sed "s|/opt/svcplane/bin|$programs|" "svcplane-$unit.service" >"$root/etc/systemd/system/svcplane-$unit.service"
    for file in etc/"$unit".*; do
        [ -e "$root/etc/svcplane/${file#etc/}" ] || install -m 0600 "$file" "$root/etc/svcplane/"
    done
done

# Nothing to start where systemd does not run: an image, a container.
[ -z "$root" ] && [ -d /run/systemd/system ] || { echo "installed, nothing started:$units"; exit 0; }
# One reload for all: each makes systemd read every unit of the machine again.
for unit in $units; do
    systemctl enable --quiet --no-reload "svcplane-$unit"
done
systemctl daemon-reload
for unit in $units; do
    case $unit in
    apiserver) credentials=/etc/svcplane/pki/apiserver.crt ;;
    nodelocal) credentials=/etc/svcplane/nodelocal.Corefile ;;
    *) credentials=/etc/svcplane/$unit.kubeconfig ;;
    esac
    if [ ! -e "$credentials" ]; then
        echo "svcplane-$unit is enabled and waits for $credentials; then: systemctl start svcplane-$unit"
        continue
    fi
    # Ready may be long after: when the API server has answered.
    systemctl restart --no-block "svcplane-$unit"
    echo "svcplane-$unit is starting: journalctl -u svcplane-$unit"
done
