"""`wakegate status`, `explain` and `doctor` as a person types them: what is printed where, exit codes, bad input."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from activator.cli import main
from activator.web.board import Board
from activator.web.dashboard import Dashboard
from tests.cli.test_demo import output, read_until, wakegate
from tests.fakes.facts import START, evaluation, wake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WOKEN = wake()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The dashboard of a local mode with one target that was woken by a record."""
    board = Board()
    board.record(evaluation())
    board.record(WOKEN)
    dashboard = Dashboard(("127.0.0.1", 0), board=board, now=lambda: START)
    await dashboard.start()
    yield f"http://127.0.0.1:{dashboard.port}"
    await dashboard.close()


async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run a verb to its end."""
    async with wakegate(*arguments, **environment) as process:
        return await output(process)


async def test_status_of_local_mode(url: str) -> None:
    """Phases on stdout, nothing on stderr, exit code 0; plain where stdout is no terminal."""
    code, out, errors = await run("status", "--local", "--dashboard-url", url)
    assert (code, errors) == (0, "")
    assert out.startswith("wakegate   ok       runs here, without a cluster\nworkloads  1")
    assert "\x1b" not in out
    document = json.loads((await run("status", "--local", "--dashboard-url", url, "-o", "json"))[1])
    assert (document["success"], document["workloads"]["total"]) == (True, 1)


async def test_watching_goes_on_until_it_is_interrupted(url: str) -> None:
    """Each look is printed below the last where stdout is no terminal; Ctrl-C is how it ends, with exit code 0."""
    async with wakegate("status", "--local", "--watch", "--dashboard-url", url) as process:
        await read_until(process, "workloads")
        await read_until(process, "workloads")
        process.send_signal(signal.SIGINT)
        code, _, errors = await output(process)
    assert (code, errors) == (0, "")


def test_waiting_in_vain(capsys: pytest.CaptureFixture[str]) -> None:
    """What is waited for is said once; when the time is over it is a failure."""
    assert main(["status", "--local", "--wait", "0.2", "--dashboard-url", "http://127.0.0.1:1"]) == 1
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.count("dashboard http://127.0.0.1:1") == 2


async def test_explain_of_local_mode(url: str) -> None:
    """The record, the steps and the trace of the wake; another name is told with those that are managed."""
    name = f"{WOKEN.ref.namespace}/{WOKEN.ref.name}"
    code, out, errors = await run("explain", "--local", name, "--dashboard-url", url)
    assert (code, errors) == (0, "")
    assert out.startswith(f"Deployment {name}: ")
    assert "seen by the tail" in out
    assert out.rstrip().endswith(f"last change  {WOKEN.ids.trace_id}")
    code, out, errors = await run("explain", "--local", "shop/nothing", "--dashboard-url", url)
    assert (code, out) == (1, "")
    assert errors == f"wakegate explain: shop/nothing is not managed here; managed: {name}\n"


def test_a_dashboard_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one sentence with its address."""
    for verb in (["status"], ["explain", "shop/orders"]):
        assert main([*verb, "--local", "--dashboard-url", "http://127.0.0.1:1"]) == 1
        out, errors = capsys.readouterr()
        assert out == ""
        assert errors.startswith(f"wakegate {verb[0]}: dashboard http://127.0.0.1:1: ")
        assert errors.count("\n") == 1


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what is allowed."""
    assert main(["status", "--local", "--dashboard-url", "8081"]) == 2
    assert "allowed: a URL such as http://127.0.0.1:8081" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explain", "orders"], "'orders'; allowed: NAMESPACE/NAME"),
        (["explain", "a/b/c/d"], "allowed: NAMESPACE/NAME"),
        (["status", "--wait", "soon"], "'soon'; allowed: a number of seconds"),
        (["status", "--wait", "--watch"], "not allowed with"),
        (["status", "-o", "yaml"], "invalid choice"),
        (["doctor", "-o", "yaml"], "invalid choice"),
        (["docter"], "did you mean doctor?"),
    ],
)
def test_bad_input(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2; what was wrong and what is allowed, on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, errors = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert says in errors


@pytest.mark.parametrize("verb", [["status"], ["explain", "shop/orders"], ["doctor"], ["doctor", "--pre"]])
def test_without_a_cluster(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and what was looked for, because nothing was asked yet."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(verb) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.startswith(f"wakegate {verb[0]}: no Kubernetes cluster: ")


@pytest.mark.parametrize("verb", ["status", "explain", "doctor"])
def test_help_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` is enough to use it."""
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert "example:" in out
    assert f"wakegate {verb}" in out


async def test_help_is_quick() -> None:
    """Neither a Kafka client nor a Kubernetes client is imported for it."""
    code = "import sys; from activator.cli import main\ntry: main(['doctor', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'aiokafka', 'kubernetes_asyncio', 'aiohttp', 'opentelemetry'} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().rstrip().endswith("[]")
