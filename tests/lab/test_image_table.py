"""Which program stands for which image."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from svclab.errors import LabError
from svclab.images import Image, InvalidImageError, UnknownImageError, known, parse, read, resolve
from svclab.images.table import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4

REFERENCES = {
    "plain": ("nginx", Reference("nginx", "latest")),
    "tag": ("nginx:1.27", Reference("nginx", "1.27")),
    "docker hub": ("docker.io/library/nginx:1.27", Reference("nginx", "1.27")),
    "digest": (f"nginx@{DIGEST}", Reference("nginx", "latest")),
    "tag and digest": (f"nginx:1.27@{DIGEST}", Reference("nginx", "1.27")),
    "registry": ("registry.k8s.io/e2e-test-images/agnhost:2.53", Reference("e2e-test-images/agnhost", "2.53")),
    "registry with a port": ("mirror:5000/library/busybox", Reference("busybox", "latest")),
    "localhost": ("localhost/busybox", Reference("busybox", "latest")),
    "organisation": ("minjulee226/myweb", Reference("minjulee226/myweb", "latest")),
    "underscores": ("a/serve_hostname", Reference("a/serve_hostname", "latest")),
}


@pytest.mark.parametrize(("text", "reference"), REFERENCES.values(), ids=REFERENCES)
def test_references(text: str, reference: Reference) -> None:
    assert parse(text) == reference


INVALID = {
    "capitals": ("Nginx", "repository name (Nginx) must be lowercase"),
    "empty": ("", "invalid reference format"),
    "empty tag": ("nginx:", "invalid reference format"),
    "two slashes": ("a//b", "invalid reference format"),
    "a space": ("nginx 1", "invalid reference format"),
    "a host path that is relative": ("exec://sleep", "absolute path"),
}


@pytest.mark.parametrize(("text", "why"), INVALID.values(), ids=INVALID)
def test_no_reference(text: str, why: str) -> None:
    with pytest.raises(InvalidImageError) as caught:
        resolve(text, {})
    assert why in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize("text", ["example.com/shop/cart:3", "bitnami/nginx", "library"])
def test_an_unknown_image_says_how_to_map_it(text: str) -> None:
    with pytest.raises(UnknownImageError, match="--images") as caught:
        resolve(text, {})
    assert not isinstance(caught.value, InvalidImageError)
    assert f"{parse(text).path}: {{exec: [" in str(caught.value)


@pytest.mark.parametrize("name", known())
def test_every_row_runs_something_that_is_there(name: str) -> None:
    image = resolve(name, {})
    argv = image.argv()
    assert argv
    assert "PATH" in image.environment
    for word in argv:
        if word.startswith("/"):
            assert Path(word).exists(), word


RUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "neither": ((), (), ("in", "cmd")),
    "args": ((), ("a",), ("in", "a")),
    "command": (("c",), (), ("c",)),
    "both": (("c",), ("a",), ("c", "a")),
}


@pytest.mark.parametrize(("command", "arguments", "argv"), RUNS.values(), ids=RUNS)
def test_entrypoint_and_command(command: tuple[str, ...], arguments: tuple[str, ...], argv: tuple[str, ...]) -> None:
    assert Image(("in",), ("cmd",)).argv(command, arguments) == argv


def test_host_command() -> None:
    assert resolve("exec:///usr/bin/top", {}).argv((), ("-b",)) == ("/usr/bin/top", "-b")


def test_the_tag_is_the_version_shown() -> None:
    assert "1.28" in resolve("nginx:1.28", {}).argv()


def test_the_dns_server_runs_with_the_interpreter_that_runs_us() -> None:
    image = resolve("svcplane-dns", {})
    assert image.argv((), ("run", "--in-cluster")) == (sys.executable, "-m", "svcdns.cli", "run", "--in-cluster")


def test_own_images(tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(
        "shop/cart: {exec: [/bin/cart], command: [--port, 80], env: {A: 1}, ports: [80]}\nnginx:old: {command: [ls]}\n"
    )
    extra = read(path)
    cart = resolve("quay.example/shop/cart:3", extra)
    assert (cart.argv(), cart.environment["A"], cart.ports) == (("/bin/cart", "--port", "80"), "1", (80,))
    assert resolve("nginx:old", extra).argv() == ("ls",)
    assert resolve("nginx:new", extra).argv() != ("ls",)


BAD_FILES = {
    "a list": ("- a\n", "at the top"),
    "no YAML": ("a: [\n", "no YAML"),
    "a word": ("a: sh\n", "image 'a': write a mapping"),
    "a typo": ("a: {exce: [sh]}\n", "image 'a': 'exce' is unknown"),
    "nothing to run": ("a: {env: {B: c}}\n", "image 'a': `exec` or `command`"),
    "a command that is no list": ("a: {exec: sh}\n", "image 'a': exec is a list"),
    "env that is a list": ("a: {exec: [sh], env: [B]}\n", "image 'a': env is a mapping"),
    "a port that is none": ("a: {exec: [sh], ports: [70000]}\n", "image 'a': ports"),
    "a relative folder": ("a: {exec: [sh], workingDir: tmp}\n", "image 'a': workingDir"),
}


@pytest.mark.parametrize(("text", "why"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_name_the_entry(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(text)
    with pytest.raises(LabError) as caught:
        read(path)
    assert why in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="--images"):
        read(tmp_path / "none")


def test_an_empty_file_is_no_images(tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text("")
    assert read(path) == {}
