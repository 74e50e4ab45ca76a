"""Holds a running gateway against its OpenAPI document by schemathesis: `make openapi`.

The gateway writes to the embedded broker, so that a 202 is one. Both listeners of the document are driven, each as a
server of its own; an answer that the document does not name, a body of another shape or a 500 is a failure, and the
exit code is schemathesis'.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.gateway.live import running

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "openapi" / "gateway.yaml"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
PARAMETERS = '[parameters]\n"path.topic" = "orders"\n'
"""Else no drawn topic is ever one that exists."""
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


async def drive(port: int, paths: str, options: argparse.Namespace, *, config: Path | None = None) -> int:
    """Drive the operations whose paths match; return schemathesis' exit code."""
    process = await asyncio.create_subprocess_exec(
        str(SCHEMATHESIS),
        *(() if config is None else ("--config-file", str(config))),
        *("run", str(DOCUMENT), "--url", f"http://127.0.0.1:{port}", "--include-path-regex", paths),
        *("--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-time", str(options.seconds)),
        *("--max-examples", str(options.examples), "--suppress-health-check", "all"),
        *(() if options.seed is None else ("--seed", str(options.seed))),
    )
    return await process.wait()


async def main(options: argparse.Namespace) -> int:
    """Drive both listeners, the door with a topic that exists and with any; return the worst exit code."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "schemathesis.toml"
        config.write_text(PARAMETERS, encoding="utf-8")
        async with running() as gateway:
            codes = [
                await drive(gateway.door.port, "^/topics", options, config=config),
                await drive(gateway.door.port, "^/topics", options),
                await drive(gateway.management.port, "^/(?!topics)", options),
            ]
            accepted = gateway.metrics.registry.get_sample_value(
                "wakegate_gateway_requests_total", {"route": "topics", "status": "202"}
            )
    sys.stdout.write(f"{accepted or 0:.0f} requests were answered 202\n")
    return max(*codes, 0 if accepted else 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="at most, for each of three runs")
    parser.add_argument("--examples", type=int, default=300, help="generated for each operation")
    parser.add_argument("--seed", type=int, default=None, help="the seed that a run has printed")
    sys.exit(asyncio.run(main(parser.parse_args())))
