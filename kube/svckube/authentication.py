"""The door to the `kubernetes` package: a process of its own that finds out what to send to an API server, and ends.

    python -m svckube.authentication FD {"kubeconfig": "/root/.kube/config", "context": "", "server": ""}

In: a descriptor to write to, and a `Wanted` as JSON. Out: a `Found` as JSON: credentials, or what is wrong and whose
fault it is. The package reads all that a kubeconfig may hold, starts exec plugins, renews what auth providers keep in
the file, and knows the proxies of the environment. It takes 17 MiB and a third of a second, so that a program that
runs for months asks here (`credentials`) in place of importing it. Standard streams are the caller's, for the plugins.

The package hides a failing plugin in a log line; those lines are collected and become the error.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config import ConfigException, kube_config

from svckube.kubeconfig import Credentials, Found, Pem, Wanted


def found(wanted: Wanted) -> Found:
    """What the package makes of it."""
    complaints: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.module == "kube_config":
                complaints.append(record.getMessage())

    keeping = Keeping()
    logging.getLogger().addHandler(keeping)
    try:
        credentials = _credentials(wanted)
    except (ConfigException, OSError) as error:
        return Found(error=str(error))
    except Exception as error:  # the package checks neither the syntax nor the shape of the file
        return Found(error=f"cannot be read: {error!r}")
    finally:
        logging.getLogger().removeHandler(keeping)
    return Found(error="; ".join(complaints), fault="credentials") if complaints else Found(credentials)


def _credentials(wanted: Wanted) -> Credentials:
    configuration, expires = Configuration(), 0.0
    if wanted.kubeconfig:
        merged = kube_config.KubeConfigMerger(wanted.kubeconfig)
        if merged.config is None:
            raise ConfigException("Invalid kube-config file. No configuration found.")
        loader = kube_config.KubeConfigLoader(
            merged.config,
            active_context=wanted.context or None,
            config_base_path=None,  # each part's own file
            config_persister=merged.save_changes,
        )
        loader.load_and_set(configuration)
        expires = loader.expiry.timestamp() if hasattr(loader, "expiry") else 0.0
    if wanted.server:
        configuration.host = wanted.server  # the environment's proxy is chosen by it
    proxy = configuration.proxy or ""
    if proxy and should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        proxy = ""
    return Credentials(
        server=configuration.host,
        authorization=next(iter(configuration.api_key.values()), ""),  # its key is another one in each few releases
        authority=_pem(configuration.ssl_ca_cert),
        certificate=_pem(configuration.cert_file),
        key=_pem(configuration.key_file),
        verify=configuration.verify_ssl,
        server_name=configuration.tls_server_name or "",
        proxy=proxy,
        expires=expires,
    )


def _pem(path: Any) -> Pem | None:
    """A file, or what is in one that the package made and removes when this process ends."""
    if not path:
        return None
    is_made = path in kube_config._temp_files.values()  # the package tells it in no other way
    return Pem(data=Path(path).read_bytes()) if is_made else Pem(str(path))


if __name__ == "__main__":
    said = msgspec.json.encode(found(msgspec.json.decode(sys.argv[2], type=Wanted)))
    with os.fdopen(int(sys.argv[1]), "wb") as out:
        out.write(said)
