# svcplane. `make test` and `make lab` set themselves up: Debian or Ubuntu, as root, is all they need.
SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help
.PHONY: help setup packages lint types unit netns test peers peers-test lab lab-packages lab-down soak dns-soak bench \
	release wheels vm vagrant clean

VENV := .venv
PYTEST := $(VENV)/bin/pytest
# python3 of Debian 12 is 3.11; a machine with several may have an older one first.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
# command it is for : Debian package
PACKAGES := iptables-nft:iptables iptables-legacy:iptables ip:iproute2 conntrack:conntrack dig:bind9-dnsutils \
	nft:nftables dnsperf:dnsperf drill:ldnsutils musl-gcc:musl-tools setpriv:util-linux curl:curl \
	systemd-analyze:systemd /usr/lib/cni/bridge:containernetworking-plugins
LAB_PACKAGES := iptables:iptables ip:iproute2 conntrack:conntrack dig:bind9-dnsutils curl:curl wget:wget \
	ping:iputils-ping nsenter:util-linux umount:mount

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

# Installs what is not there of the list in $(1).
define install
	@missing=$$(for pair in $(1); do command -v "$${pair%%:*}" >/dev/null || echo "$${pair#*:}"; done | sort -u); \
	if [ -n "$$missing" ]; then \
		echo "installing" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

packages:
	$(call install,$(PACKAGES))

lab-packages:
	$(call install,$(LAB_PACKAGES))

define venv
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (apt-get install python3-venv)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
endef

$(VENV)/ready: pyproject.toml
	$(venv)
	@$(VENV)/bin/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/ready-lab

# What the lab needs is a part of that, and much less.
$(VENV)/ready-lab: pyproject.toml
	$(venv)
	@$(VENV)/bin/pip install -q --disable-pip-version-check -e '.[lab]'
	@touch $@

setup: packages $(VENV)/ready  ## install what is missing

lint: setup  ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup  ## mypy, strict
	$(VENV)/bin/mypy

unit: setup  ## pure tests: no root, seconds
	$(PYTEST) -q -m "not netns and not peers and not vm"

netns: setup  ## real packets in network namespaces; root
	$(PYTEST) -q -m netns

test: setup  ## everything that needs no Go: lint, types, unit, netns
	$(MAKE) --no-print-directory lint types unit netns

peers: setup  ## build the real Kubernetes and CoreDNS binaries (Go, once, about ten minutes)
	$(VENV)/bin/python tests/peers/build.py

peers-test: peers  ## tests beside the real kube-apiserver, kube-proxy, CoreDNS
	$(PYTEST) -q -m peers

WHEELS ?= dist/wheels
WHEELS_FOR ?= 3.11
wheels: setup  ## svcplane and what it needs, for SVCPLANE_WHEELS: WHEELS=dist/wheels WHEELS_FOR=3.11 (Python there)
	rm -rf $(WHEELS)
	$(VENV)/bin/pip wheel -q --no-deps -w $(WHEELS) .
	$(VENV)/bin/pip download -q --only-binary=:all: --python-version $(WHEELS_FOR) --find-links $(WHEELS) \
		-d $(WHEELS) 'svcplane[lab]'

lab: lab-packages $(VENV)/ready-lab  ## a cluster on this machine, and the proof that it works; root, no Go
	@$(VENV)/bin/svcplane-lab up
	@$(VENV)/bin/svcplane-lab demo

lab-down:  ## remove the cluster and everything it made
	@$(VENV)/bin/svcplane-lab down

VM_PACKAGES := qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mmdebstrap:mmdebstrap mke2fs:e2fsprogs \
	ssh:openssh-client rsync:rsync setpriv:util-linux curl:curl
VAGRANT_PACKAGES := vagrant:vagrant libvirtd:libvirt-daemon-system virsh:libvirt-clients dnsmasq:dnsmasq-base \
	slirp4netns:slirp4netns unshare:util-linux
SUITE ?= bookworm

vm: setup peers  ## the Vagrantfile's cluster in emulated Debian machines: SUITE=bookworm or trixie; root
	$(call install,$(VM_PACKAGES))
	$(PYTEST) -q -s -m vm --vm-suite=$(SUITE)

vagrant: setup peers wheels  ## `vagrant up` itself, with libvirt and the same machines; root
	$(call install,$(VM_PACKAGES) $(VAGRANT_PACKAGES))
	@dpkg -s vagrant-libvirt libvirt-daemon-driver-qemu >/dev/null 2>&1 || \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends vagrant-libvirt libvirt-daemon-driver-qemu >/dev/null
	image=$$(PYTHONPATH=tests $(VENV)/bin/python -m vm.image); \
	tests/vm/vagrant.sh "$$image" "$$($(VENV)/bin/python tests/peers/build.py kubectl | head -1)/kubectl"

SEED ?= 1
STEPS ?= 2000
soak: peers  ## random histories before kube-proxy and ours, rules compared: SEED=1 STEPS=2000
	PYTHONPATH=tests:lab $(VENV)/bin/python -m peers.soak --seed $(SEED) --steps $(STEPS)

QUESTIONS ?= 20000
dns-soak: peers  ## random objects and questions before CoreDNS and ours, replies compared: SEED=1 QUESTIONS=20000
	PYTHONPATH=tests:lab $(VENV)/bin/python -m peers.dns_soak --seed $(SEED) --questions $(QUESTIONS)

BENCH ?=
bench: peers  ## svcplane beside kube-proxy and CoreDNS, for hours: BENCH="--rounds 10 --seconds 10" for less
	$(VENV)/bin/python tests/bench/cluster_dns.py
	@mkdir -p figures
	$(VENV)/bin/python tests/bench/agent.py --json figures/agent.json --svg figures/agent.svg $(BENCH)

# What the image holds is what requirements.txt pins; the wheel leaves its users the choice.
release: setup  ## dist/: wheel, sdist, bill of materials, checksums; each program is tried from the wheel
	@$(VENV)/bin/pip install -q --disable-pip-version-check -e '.[release]'
	@rm -rf dist && $(VENV)/bin/python -m hatchling build -d dist
	@$(VENV)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file dist/svcplane.cdx.json deploy/image/requirements.txt
	@cd dist && sha256sum -- * >SHA256SUMS
	@tried=$$(mktemp -d) && trap 'rm -rf "$$tried"' EXIT && export PIPX_HOME=$$tried PIPX_BIN_DIR=$$tried/bin PIPX_MAN_DIR=$$tried && \
		$(VENV)/bin/pipx install --quiet --python "$(CURDIR)/$(VENV)/bin/python" "$$(ls dist/*.whl)[lab]" && \
		for program in agent dns lab; do "$$tried/bin/svcplane-$$program" --version; done
	@cat dist/SHA256SUMS

clean:  ## remove what was made here; the binaries in ~/.cache/svcplane stay
	rm -rf $(VENV) dist figures .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
