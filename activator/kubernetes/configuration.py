"""Where the API server is and who we are: in-cluster, or the kubeconfig that everybody uses; tokens kept fresh.

Only this file imports kubernetes_asyncio, inside its functions: `wakegate --help` and the laptop demo never pay for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from activator.errors import SettingsError
from activator.kubernetes.lazy_import import import_lazily

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from aiohttp.client_proto import ResponseHandler
    from kubernetes_asyncio.client import ApiClient, Configuration

log = logging.getLogger(__name__)

CREDENTIALS_CHECKED_EVERY = timedelta(seconds=60)
"""How often a kubeconfig's token is looked at again; exec plugins run only when their token is about to expire."""
IDLE_SECONDS = 55.0
"""How long an idle connection is kept: with aiohttp's 15 s most wakes would need a new one; a balancer often closes its
own after a minute, and an API server after 90 s (`IdleTimeout` of its HTTP server)."""
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""Seconds, seconds, probes: a peer that is gone without a word is known to be within 11 s, and not by the wake that it
would have kept for as long as a call may take. A system that does not know one of them has its own."""
_LARGEST_LINE = 2**21
"""Bytes: a watch tells an object as one line, and etcd takes 1.5 MiB."""
_CREDENTIALS_DEADLINE = timedelta(seconds=20)
"""An exec plugin may ask a cloud provider for a token."""
_CANCELLED_DEADLINE = timedelta(seconds=1)
"""How long a connection may go on being made after whoever asked for it was cancelled, so that it can be cut."""


async def load(environment: Mapping[str, str] = os.environ) -> Configuration:
    """Find the API server: KUBECONFIG where it is set, else in-cluster, else ~/.kube/config.

    KUBECONFIG wins over the Pod's own account because somebody set it on purpose.

    Raises:
        SettingsError: there is no usable configuration; the message says what was tried.
    """
    import_lazily()
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415 - see the module's docstring
    from kubernetes_asyncio.config import load_incluster_config, load_kube_config  # noqa: PLC0415

    configuration = Configuration()
    # The CAs of EKS and MicroK8s lack extensions that Python 3.13 and later insist on.
    configuration.disable_strict_ssl_verification = True
    in_cluster = "KUBECONFIG" not in environment and "KUBERNETES_SERVICE_HOST" in environment
    kubeconfig = environment.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not in_cluster:
        _check_there_is_one(kubeconfig)
    try:
        if in_cluster:
            load_incluster_config(configuration, environ=environment)  # type: ignore[no-untyped-call]
            return configuration  # with a hook of its own that reads the token file again every minute
        loader = await asyncio.wait_for(
            load_kube_config(config_file=kubeconfig, client_configuration=configuration, persist_config=False),
            _CREDENTIALS_DEADLINE.total_seconds(),
        )
    except Exception as error:
        where = "the Pod's service account" if in_cluster else f"kubeconfig {kubeconfig}"
        raise SettingsError(f"{where} cannot be used: {str(error) or type(error).__name__}") from error
    _strip_token(configuration)
    configuration.refresh_api_key_hook = _refresher(loader.load_and_set)
    return configuration


def _check_there_is_one(kubeconfig: str) -> None:
    if not any(Path(path).expanduser().is_file() for path in kubeconfig.split(os.pathsep) if path):
        raise SettingsError(
            "no Kubernetes cluster: not in a Pod (KUBERNETES_SERVICE_HOST is not set) and no kubeconfig at "
            f"{kubeconfig}; set KUBECONFIG"
        )


def new_api_client(configuration: Configuration, connections: int) -> ApiClient:
    """Make a REST client with a connection pool of its own and wakegate's User-Agent. Needs a running event loop."""
    import aiohttp  # noqa: PLC0415 - see the module's docstring
    from kubernetes_asyncio.client import ApiClient  # noqa: PLC0415 - see the module's docstring

    configuration.connection_pool_maxsize = connections
    configuration.proxy = configuration.proxy or _proxy(str(configuration.host))
    api = ApiClient(configuration)
    api.user_agent = f"wakegate/{_version()}"
    # The session that it has made trusts the environment: before every single request a thread looks into ~/.netrc and
    # another asks for the proxy. That is two thirds of what a PATCH costs us, and a wake waits for it.
    connector = api.rest_client.pool_manager.connector
    # aiohttp documents this method for overriding; the connector is the library's, so that its TLS settings stay, and
    # the library has no option for how long idle connections are kept.
    connect = connector._create_connection  # type: ignore[union-attr]  # noqa: SLF001
    connector._create_connection = _cut_when_closed(connect)  # type: ignore[union-attr, method-assign]  # noqa: SLF001
    connector._keepalive_timeout = IDLE_SECONDS  # type: ignore[union-attr]  # noqa: SLF001
    api.rest_client.pool_manager.detach()
    api.rest_client.pool_manager = aiohttp.ClientSession(connector=connector, read_bufsize=_LARGEST_LINE)
    return api


def _cut_when_closed(
    connect: Callable[..., Coroutine[Any, Any, ResponseHandler]],
) -> Callable[..., Coroutine[Any, Any, ResponseHandler]]:
    """Let connections end at once where they are given up: a call that is cancelled, or past its deadline; a watch.

    TLS would wait 30 s for the farewell of a peer that has just shown that it does not answer, and whatever ends sooner
    (a process, a test) would leave the connection open. HTTP knows by itself where an answer is cut short.
    """

    async def connect_to_be_cut(*arguments: Any) -> ResponseHandler:
        connecting = asyncio.create_task(connect(*arguments))
        try:
            protocol = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            # In the two turns in which TLS has just been agreed, asyncio itself would say farewell and wait.
            connecting.add_done_callback(_cut)
            try:
                await asyncio.wait({connecting}, timeout=_CANCELLED_DEADLINE.total_seconds())
            finally:
                connecting.cancel()
            raise
        protocol.close = protocol.abort  # type: ignore[method-assign]
        _probe_while_idle(protocol)
        return protocol

    return connect_to_be_cut


def _probe_while_idle(protocol: ResponseHandler) -> None:
    """Let the kernel ask now and then whether the peer is still there: a node without power says no farewell."""
    if protocol.transport is not None:
        connection = protocol.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _cut(connecting: asyncio.Task[ResponseHandler]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().abort()


def _proxy(server: str) -> str | None:
    """Return the proxy that the environment names for the API server (HTTPS_PROXY, NO_PROXY), as aiohttp would."""
    address = urlsplit(server)
    if address.hostname is None or proxy_bypass(address.hostname):
        return None
    return getproxies().get(address.scheme)


def _refresher(load_and_set: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """Return the hook that kubernetes_asyncio awaits before every request: one request a minute reloads the token.

    The others go out with the token there is, which is good for minutes yet: plugins renew five minutes early.
    """
    checked_at = time.monotonic()

    async def refresh(configuration: Any) -> None:
        nonlocal checked_at
        if time.monotonic() - checked_at < CREDENTIALS_CHECKED_EVERY.total_seconds():
            return
        checked_at = time.monotonic()
        try:
            await asyncio.wait_for(load_and_set(configuration), _CREDENTIALS_DEADLINE.total_seconds())
            _strip_token(configuration)
        except Exception as error:  # noqa: BLE001 - plugins fail in any way; the token there is may still be good
            log.warning("the kubeconfig's credentials could not be renewed, the old ones stay: %s", error)

    return refresh


def _strip_token(configuration: Any) -> None:
    """Take the line end off a token that came from a file: no header may hold one."""
    if token := configuration.api_key.get("BearerToken"):
        configuration.api_key["BearerToken"] = token.strip()


def _version() -> str:
    try:
        return version("wakegate")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
