"""Where the API server says that it is, when nobody tells it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.site import lone_host
from svclab.certificates import Authority

pytestmark = pytest.mark.netns


def test_a_loopback_address_is_not_advertised(tmp_path: Path) -> None:
    pair = Authority("test").server("kube-apiserver", ["localhost"])
    for name, text in (("crt", pair.certificate), ("key", pair.key)):
        (tmp_path / name).write_text(text)
    flags = (f"--tls-cert-file={tmp_path}/crt", f"--tls-private-key-file={tmp_path}/key")
    program = Path(sys.executable).parent / "svcplane-lab"
    with lone_host("address") as host, host.entered():  # loopback, and no way out
        done = subprocess.run(
            [program, "apiserver", "--bind-address=127.0.0.1", "--secure-port=0", *flags],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert "bound to 127.0.0.1, and there is no route to the outside: say --advertise-address" in done.stderr
    assert "Traceback" not in done.stderr
