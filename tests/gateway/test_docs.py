"""The docs say what the code does, and their examples work."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gateway
from gateway.metrics import Metrics
from gateway.routes import Rules
from gateway.routes_file import ROUTE_KEYS, RULE_KEYS, read_routes
from gateway.settings import Settings, descriptions, environment_name, flag
from tests.gateway.live import running

if TYPE_CHECKING:
    from gateway.wiring import Gateway

ROOT = Path(gateway.__file__).parents[1]
TEXT = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples" / "gateway"
COMMANDS = re.findall(r"```sh\n# (\d{3})\n(.*?)```", TEXT, re.DOTALL)


def address_of(made: Gateway) -> str:
    """Where it takes events."""
    return f"127.0.0.1:{made.door.port}"


async def output(*command: str, **environment: str) -> tuple[int, str]:
    """Run a command."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode()


@pytest.mark.real  # it needs curl
@pytest.mark.parametrize(("status", "command"), COMMANDS)
async def test_curl(status: str, command: str) -> None:
    """Each curl command of the page is answered as the page says."""
    async with running() as made:
        assert command.startswith("curl -i ")
        asked = command.replace("localhost:8080", address_of(made)).replace(
            "curl -i", "curl -s -o /dev/null -w '%{http_code}'"
        )
        assert await output("sh", "-c", asked) == (0, status)


@pytest.mark.real  # it needs curl
async def test_examples() -> None:
    """The producers in the examples deliver."""
    async with running() as made:
        code, out = await output("sh", str(EXAMPLES / "send.sh"), GATEWAY=f"http://{address_of(made)}")
        assert (code, out.count('"offset": ')) == (0, 4), out
        script = str(EXAMPLES / "send.py")
        code, out = await output(sys.executable, script, "--gateway", f"http://{address_of(made)}", "--count", "3")
        assert (code, out.splitlines()[-1]) == (0, "order 2: partition 0, offset 6"), out


def test_example_routes() -> None:
    """The example of a routes file is a right one."""
    table = read_routes(EXAMPLES / "routes.yaml", Rules())
    assert [route.path for route in table.routes] == ["/shop/orders", "/partner", "/devices"]


def shown(value: Any) -> str:
    """A default as a user would write it."""
    if isinstance(value, tuple):
        return f"{value[0]}:{value[1]}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_settings() -> None:
    """The page has a row for each setting, as it is described in the code."""
    rows = ["| flag | default | meaning |", "| --- | --- | --- |"]
    for setting in fields(Settings):
        default = f"`{shown(setting.default)}`" if shown(setting.default) else ""
        rows.append(f"| `{flag(setting.name)}` | {default} | {descriptions()[setting.name]} |")
    assert "\n".join(rows) in TEXT, "docs/gateway.md is stale; its table of settings should be:\n" + "\n".join(rows)
    assert environment_name("bootstrap_servers") in TEXT


def test_route_keys() -> None:
    """The page has a row for each key of a routes file."""
    for key in ROUTE_KEYS:
        assert f"| `{key.name}` | {key.doc} |" in TEXT
    for key in RULE_KEYS:
        assert f"| `{key.name}` | `{key.default}` | {key.doc} |" in TEXT


def test_metrics() -> None:
    """The page names each metric."""
    metrics = Metrics()
    for family in metrics.registry.collect():
        name = family.name if family.type == "histogram" else f"{family.name}_total"
        assert f"`{name}`" in TEXT
