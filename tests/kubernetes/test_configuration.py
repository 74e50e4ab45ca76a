"""Where the API server is, who we are, and that a token is renewed while we run."""

from __future__ import annotations

import json
import stat
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from activator.errors import SettingsError
from activator.kubernetes import configuration

if TYPE_CHECKING:
    from pathlib import Path

    from kubernetes_asyncio.client import Configuration


def kubeconfig(path: Path, user: dict[str, Any], server: str = "http://127.0.0.1:1") -> dict[str, str]:
    """Write a kubeconfig; return the environment that names it."""
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        ),
        encoding="utf-8",
    )
    return {"KUBECONFIG": str(path)}


async def token(loaded: Configuration) -> str | None:
    """Return the token that the next request would bear."""
    auth: dict[str, dict[str, str]] = await loaded.auth_settings()
    return auth["BearerToken"]["value"] if auth else None


async def test_the_kubeconfig_that_is_named_is_used(tmp_path: Path) -> None:
    """Also inside a Pod: somebody set it on purpose."""
    environment = kubeconfig(tmp_path / "config", {"token": "sesame"}, server="http://127.0.0.1:4711")
    loaded = await configuration.load({**environment, "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert loaded.host == "http://127.0.0.1:4711"
    assert await token(loaded) == "Bearer sesame"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "no Kubernetes cluster", id="not there"),
        pytest.param("{", "cannot be used", id="no YAML"),
        pytest.param("kind: Config", "cannot be used", id="no clusters"),
        pytest.param("a", "cannot be used", id="no mapping"),
    ],
)
async def test_what_cannot_be_used_is_said_with_its_place(tmp_path: Path, content: str | None, said: str) -> None:
    """The path, and what is wrong with it, in one line."""
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=said) as raised:
        await configuration.load({"KUBECONFIG": str(path)})
    assert str(path) in str(raised.value)


async def test_old_certificate_authorities_are_accepted(tmp_path: Path) -> None:
    """Python 3.13 is stricter than the CAs of EKS and MicroK8s are."""
    loaded = await configuration.load(kubeconfig(tmp_path / "config", {"token": "sesame"}))
    assert loaded.disable_strict_ssl_verification


async def test_a_token_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Service account tokens are rotated under a running process; the line end is no part of them."""
    (tmp_path / "token").write_text("first\n", encoding="utf-8")
    loaded = await configuration.load(kubeconfig(tmp_path / "config", {"tokenFile": str(tmp_path / "token")}))
    assert await token(loaded) == "Bearer first"
    (tmp_path / "token").write_text("second\n", encoding="utf-8")
    assert await token(loaded) == "Bearer first"
    monkeypatch.setattr(configuration, "CREDENTIALS_CHECKED_EVERY", timedelta(0))
    assert await token(loaded) == "Bearer second"


async def test_an_exec_plugin_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud tokens live for minutes; while the plugin fails, the token that there is stays."""
    plugin, word = tmp_path / "plugin", tmp_path / "word"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    plugin.write_text(
        f"#!{sys.executable}\nimport json\n"
        f"print(json.dumps({{**{credential!r}, 'status': {{'token': open({str(word)!r}).read()}}}}))\n",
        encoding="utf-8",
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    word.write_text("first", encoding="utf-8")
    user = {"exec": {"apiVersion": credential["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}}
    loaded = await configuration.load(kubeconfig(tmp_path / "config", user))
    monkeypatch.setattr(configuration, "CREDENTIALS_CHECKED_EVERY", timedelta(0))
    word.write_text("second", encoding="utf-8")
    assert await token(loaded) == "Bearer second"
    word.unlink()
    assert await token(loaded) == "Bearer second"


async def test_in_a_pod_the_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the files that the kubelet keeps there."""
    from kubernetes_asyncio.config import incluster_config  # noqa: PLC0415 - after load() has made it lazy

    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("sesame", encoding="utf-8")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    loaded = await configuration.load(environment)
    assert loaded.host == "https://[fd00::1]:443"
    assert await token(loaded) == "Bearer sesame"
    assert loaded.ssl_ca_cert == str(tmp_path / "ca.crt")


async def test_a_pod_without_service_account_is_told_what_is_missing() -> None:
    """automountServiceAccountToken: false is the usual reason."""
    with pytest.raises(SettingsError, match="service account cannot be used: Service token file does not exist"):
        await configuration.load({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"})


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128", id="for TLS"),
        pytest.param({"HTTP_PROXY": "http://proxy:3128"}, None, id="for another scheme"),
        pytest.param(
            {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "api.shop.example"}, None, id="not for this host"
        ),
    ],
)
async def test_the_environment_may_name_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    """It is asked once and for this server, not before every request."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    server = "https://api.shop.example:6443"
    loaded = await configuration.load(kubeconfig(tmp_path / "config", {"token": "sesame"}, server=server))
    api = configuration.new_api_client(loaded, 1)
    assert api.rest_client.proxy == proxy
    await api.close()
