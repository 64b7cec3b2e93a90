"""Rows 8, 13 and 14: names. Short ones by the search path, others' names, and what is outside the cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from svclab.cluster.plan import CLUSTER_DOMAIN
from svclab.demo.stage import CheckError, Stage, example, ip_of, name_of

RNG_PATH = "/sixeyed/kiamol/master/ch03/numbers/rng"
DIG = ("dig", "+tries=1", "+time=8")


def names(stage: Stage) -> None:
    other = f"{stage.namespace}-other"
    with stage.step("a pod's resolver: the cluster's DNS, the search path, ndots:5"):
        stage.kubectl("create", "namespace", other)
        stage.kubectl("create", "deployment", "web", "--image=nginx")
        stage.kubectl("expose", "deployment", "web", "--port=80")
        stage.kubectl("run", "client", "--image=kiamol/ch03-sleep")
        stage.kubectl("run", "client", "--image=kiamol/ch03-sleep", namespace=other)
        web = stage.pods("app=web", 1)[0]
        stage.pods("run=client", 1)
        stage.pods("run=client", 1, namespace=other)
        text = stage.printed("pod/client", "cat", "/etc/resolv.conf")
        stage.show("client$ cat /etc/resolv.conf", text)
        wanted = f"search {stage.namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}"
        for line in (wanted, f"nameserver {stage.lab.plan.dns_service}", "options ndots:5"):
            stage.expect(line in text, line, text)
    address, full = stage.cluster_ip("web"), f"web.{stage.namespace}.svc.{CLUSTER_DOMAIN}"
    with stage.step("a Service by short and longer names, from its own namespace"):
        for name in ("web", f"web.{stage.namespace}", full):
            _check_name(stage, "pod/client", name, address)
        said = stage.until(lambda: stage.curl("pod/client", "http://web/hostname").strip(), "an answer")
        stage.expect(said == name_of(web), f"curl http://web/ reaches {name_of(web)}", said)
        stage.show("client$ curl http://web/hostname", f"  {said}")
    with stage.step("another namespace's Service needs the longer name"):
        place = f"pod/{other}/client"
        stage.expect(not _resolved(stage, place, "web"), "no such name", _resolved(stage, place, "web"))
        for name in (f"web.{stage.namespace}", full):
            _check_name(stage, place, name, address)
    with stage.step("a pod without a Service has no name, and an unknown one is NXDOMAIN"):
        for name in (f"client.{stage.namespace}.svc.{CLUSTER_DOMAIN}", f"no-such.{CLUSTER_DOMAIN}", "no-such.example"):
            # Another row may silence the upstream for a moment: that is SERVFAIL.
            stage.until(lambda name=name: _denied(stage, name), f"{name} is NXDOMAIN")  # type: ignore[misc]  # a default binds it
            stage.show(f"client$ dig {name}: NXDOMAIN")


def _denied(stage: Stage, name: str) -> bool:
    status = _status(stage.printed("pod/client", *DIG, name))
    if status not in ("NXDOMAIN", "SERVFAIL"):
        raise CheckError("NXDOMAIN", status)
    return status == "NXDOMAIN"


def _check_name(stage: Stage, place: str, name: str, address: str) -> None:
    found = stage.until(lambda: _resolved(stage, place, name), f"{name} resolves")
    stage.show(f"{place.rpartition('/')[2]}$ getent ahostsv4 {name}: {found}")
    stage.expect(found == address, address, found)


def _resolved(stage: Stage, place: str, name: str) -> str:
    """The address by the C library, as any program has it; empty for no such name."""
    done = stage.run(place, "getent", "ahostsv4", name)
    return done.stdout.split()[0] if done.returncode == 0 and done.stdout else ""


def _status(shown: str) -> str:
    found = re.search(r"status: (\w+)", shown)
    if found is None:
        raise CheckError("an answer of the DNS server", shown)
    return found[1]


def _answers(stage: Stage, name: str, *server: str) -> list[str]:
    """The records of the answer, as `TYPE DATA`."""
    full = f"{name}.{stage.namespace}.svc.{CLUSTER_DOMAIN}"
    shown = stage.printed("pod/client", *DIG, "+noall", "+answer", *server, full)
    return [" ".join(line.split()[3:]) for line in shown.splitlines() if line and not line.startswith(";")]


def external_names(stage: Stage) -> None:
    with stage.step("ExternalName: a CNAME from cluster DNS, its target resolved outside"):
        stage.apply("external-names.yaml")
        stage.kubectl("run", "client", "--image=kiamol/ch03-sleep")
        stage.kubectl("create", "deployment", "numbers-web", "--image=kiamol/ch03-numbers-web")
        stage.pods("run=client", 1)
        for service, target in _TARGETS.items():
            answers = stage.until(lambda service=service: _answers(stage, service), "an answer")  # type: ignore[misc]  # a default binds it
            stage.show(f"client$ dig {service}: {', '.join(answers)}")
            stage.expect(answers[0] == f"CNAME {target}.", f"CNAME {target}. first", answers)
            stage.expect(any(line.startswith("A ") for line in answers), "an address at the end", answers)
    with stage.step("a web server that checks Host refuses the alias and accepts its own name"):
        for service, target in _TARGETS.items():
            alias = stage.curl("pod/client", f"http://{service}/", "-w", " [%{http_code}]")
            own = stage.curl("pod/client", f"http://{service}/", "-w", " [%{http_code}]", "-H", f"Host: {target}")
            stage.show(f"client$ curl http://{service}/", f"  {' '.join(alias.split())}")
            stage.show(f"client$ curl -H 'Host: {target}' http://{service}/", f"  {' '.join(own.split())}")
            stage.expect(bool(re.search(r"\[4\d\d\]$", alias)), "a refusal of the alias", alias)
            stage.expect(own.endswith("[200]"), "status 200 for its own name", own)
    with stage.step("the page of numbers-web asks again with the right name, and has its number"):
        page = stage.pods("app=numbers-web", 1)[0]
        said = stage.curl(stage.nodes[0], f"http://{ip_of(page)}/", "-d", "")
        number = re.search(r"Here it is: \d+", said)
        stage.expect(number is not None, "Here it is: a number", said)
        stage.show(number[0] if number else "")
    with stage.step("the upstream DNS away: the CNAME alone, and no hang"):
        with _upstream_silent(stage):
            began = time.monotonic()
            # Asked itself: the node's cache still knows the address.
            answers = _answers(stage, "db", f"@{stage.lab.plan.dns_upstream}")
            seconds = time.monotonic() - began
        stage.show(f"client$ dig db: {', '.join(answers)} after {seconds:.1f} s")
        stage.expect(answers == [f"CNAME {_TARGETS['db']}."], "the CNAME alone", answers)
        stage.expect(seconds < 7, "an answer within 7 s", f"{seconds:.1f} s")


_TARGETS = {"search": "www.google.com", "numbers-api": "raw.githubusercontent.com", "db": "app.database.io"}


@contextmanager
def _upstream_silent(stage: Stage) -> Iterator[None]:
    """Whoever asks the lab's internet for a name gets no answer meanwhile."""
    rules = [["INPUT", "-p", protocol, "--dport", "53", "-j", "DROP"] for protocol in ("udp", "tcp")]
    try:
        for rule in rules:
            stage.printed("internet", "iptables", "-w", "5", "-I", *rule)
        yield
    finally:
        for rule in rules:
            stage.run("internet", "iptables", "-w", "5", "-D", *rule)


def outside_endpoints(stage: Stage) -> None:
    with stage.step("a Service without a selector, and Endpoints by hand: mirrored to an EndpointSlice"):
        stage.apply("numbers-api-endpoints.yaml")
        stage.kubectl("run", "client", "--image=kiamol/ch03-sleep")
        stage.pods("run=client", 1)
        stage.until(lambda: _mirrored(stage) == ["192.168.123.234"], "a slice with 192.168.123.234",
                    lambda: _mirrored(stage))  # fmt: skip
        stage.kubectl("get", "endpoints,endpointslices", shown=True)
    with stage.step("connections go to the address outside the cluster"):
        url = f"http://numbers-api{RNG_PATH}"
        said = stage.until(lambda: stage.curl("pod/client", url).strip(), "an answer from outside")
        stage.show(f"client$ curl {url}", f"  {said}")
        stage.expect(said == "42", "42", said)
        stage.show(*stage.chains(stage.nodes[0], "KUBE-SERVICES", "numbers-api"))
    with stage.step("apply turns it into an ExternalName and back: DNS flips between A and CNAME"):
        _check_flips(stage)
    with stage.step("reachability is not checked; loopback and link-local are refused, in the API's words"):
        patch = '{"subsets":[{"addresses":[{"ip":"192.168.123.99"}],"ports":[{"port":80}]}]}'
        stage.kubectl("patch", "endpoints", "numbers-api", "--type=merge", "-p", patch)
        stage.until(lambda: _mirrored(stage) == ["192.168.123.99"], "a slice with 192.168.123.99",
                    lambda: _mirrored(stage))  # fmt: skip
        stage.refused(
            'The Endpoints "inside" is invalid: \n'
            '* subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
            "::1/128)\n"
            '* subsets[0].addresses[1].ip: Invalid value: "169.254.1.1": may not be in the link-local range '
            "(169.254.0.0/16, fe80::/10)",
            "apply",
            "-f",
            example("wrong-endpoints.yaml"),
        )


def _mirrored(stage: Stage) -> list[str]:
    slices = stage.listed("endpointslices", "kubernetes.io/service-name=numbers-api")
    return [address for each in slices for one in each.get("endpoints") or [] for address in one["addresses"]]


def _check_flips(stage: Stage) -> None:
    for file, wanted in (
        ("numbers-api-external.yaml", "CNAME raw.githubusercontent.com."),
        ("numbers-api-endpoints.yaml", "A "),
    ):
        stage.apply(file)

        def flipped(wanted: str = wanted) -> list[str] | None:
            answers = _answers(stage, "numbers-api")
            return answers if answers and answers[0].startswith(wanted) else None

        answers = stage.until(flipped, f"an answer that begins with {wanted}", lambda: _answers(stage, "numbers-api"))
        stage.show(f"$ kubectl apply -f {example(file)}", f"client$ dig numbers-api: {', '.join(answers)}")
    address = stage.cluster_ip("numbers-api")
    stage.expect(answers == [f"A {address}"], f"A {address} alone", answers)
