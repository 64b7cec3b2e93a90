"""Where the API server is and who we are: found out, and found out anew.

In: a kubeconfig, a URL with files, or a pod's service account. Out: `Credentials`. What takes no more than reading
files is read here. For the rest the `kubernetes` package is asked, in a process that ends when it has answered
(`authentication`): for exec and auth-provider plugins, for kubeconfigs in several files, where the environment
names proxies, and for what is wrong with a file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from svckube.kubeconfig import Credentials, Found, Pem, Wanted, plain

PLUGIN_SECONDS = 60.0  # for the package and the plugins it starts
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

Fault: TypeAlias = Literal["server", "network", "credentials", "config"]


_found = msgspec.json.Decoder(Found)  # made here and not in some thread: see `stream`


class CredentialsError(Exception):
    """Credentials that cannot be had, and whose fault it is."""

    def __init__(self, message: str, fault: Fault = "config") -> None:
        super().__init__(message)
        self.fault: Fault = fault


def of_kubeconfig(path: str, context: str = "", server: str = "") -> Credentials:
    """`path` may be a list like $KUBECONFIG; `server` overrides the URL. Raises CredentialsError."""
    files = [file for file in (Path(one).expanduser() for one in path.split(os.pathsep) if one) if file.exists()]
    if not files:
        raise CredentialsError("no such file; name one with --kubeconfig or KUBECONFIG")
    if len(files) == 1 and not _proxies():
        try:
            text = files[0].read_text(errors="replace")
        except OSError as error:
            raise CredentialsError(str(error)) from error
        found = plain(text, str(files[0].absolute().parent), context)
        if found is not None and all(Path(one).is_file() for one in _files(found)):
            return msgspec.structs.replace(found, server=server or found.server)
    return _asked(Wanted(path, context, server))


def at_server(server: str, certificate: str = "", key: str = "", authority: str = "") -> Credentials:
    """The server at this URL, with files of PEM if any; "" where not given. Raises CredentialsError."""
    pems = [Pem(path) if path else None for path in (certificate, key, authority)]
    found = Credentials(server, certificate=pems[0], key=pems[1], authority=pems[2])
    missing = [path for path in _files(found) if not Path(path).is_file()]
    if missing:
        raise CredentialsError(f"no such file: {', '.join(missing)}")
    return _by_proxy(found)


def in_cluster(directory: str = SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ) -> Credentials:
    """A pod's service account. Raises CredentialsError."""
    host, port = (environment.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not host or not port:
        raise CredentialsError("KUBERNETES_SERVICE_HOST and _PORT are not set. Outside a pod, give a kubeconfig.")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    found = Credentials(server, token_file=f"{directory}/token", authority=Pem(f"{directory}/ca.crt"))
    for path in _files(found):
        try:
            if not Path(path).read_text().strip():
                raise CredentialsError(f"{path} is empty")
        except OSError as error:
            raise CredentialsError(f"{error}. Outside a pod, give a kubeconfig.") from error
    return _by_proxy(found)


def token_in(path: str) -> str:
    """The header's value by a file's token; "" if there is none in it now, or no file."""
    with suppress(OSError):
        token = Path(path).read_text().strip()
        return f"Bearer {token}" if token else ""
    return ""


def _files(found: Credentials) -> list[str]:
    pems = (one.path for one in (found.authority, found.certificate, found.key) if one is not None)
    return [path for path in (found.token_file, *pems) if path]


def _proxies() -> bool:
    return any(value for name, value in os.environ.items() if name.lower().endswith("_proxy"))


def _by_proxy(found: Credentials) -> Credentials:
    if not _proxies():
        return found
    return msgspec.structs.replace(found, proxy=_asked(Wanted(server=found.server)).proxy)


def _asked(wanted: Wanted) -> Credentials:
    """What the package says. It may ask a person in between, by a plugin that has the terminal."""
    # A group of its own, so that a plugin that hangs can be ended too; with a terminal it would not be let at that.
    is_apart = not sys.stdout.isatty()
    with os.fdopen(os.memfd_create("credentials"), "rb") as answer:
        module = (sys.executable, "-P", "-m", "svckube.authentication")
        process = subprocess.Popen(
            (*module, str(answer.fileno()), msgspec.json.encode(wanted).decode()),
            pass_fds=(answer.fileno(),),
            process_group=0 if is_apart else None,
        )
        try:
            process.wait(PLUGIN_SECONDS)
        except subprocess.TimeoutExpired:
            raise CredentialsError(
                f"the plugin that is to give credentials does not answer within {PLUGIN_SECONDS:.0f} s; try it by hand",
                "credentials",
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL) if is_apart else process.kill()
                process.wait()
        answer.seek(0)
        said = answer.read()
    try:
        found = _found.decode(said)
    except msgspec.DecodeError as error:
        raise CredentialsError(f"{' '.join(module)} ended with status {process.returncode}") from error
    if found.error:
        raise CredentialsError(found.error, found.fault)
    return found.credentials
