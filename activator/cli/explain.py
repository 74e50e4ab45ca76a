"""`wakegate explain NS/NAME`: why a workload has the replicas it has, from the record to the trace."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from activator.cli.output import DASHBOARD, add_dashboard, add_output, print_json, print_lines

if TYPE_CHECKING:
    from activator.views.explain import Explanation

_PARTS = (2, 3)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the workload and the flags."""
    parser.epilog = (
        "example:\n"
        "  wakegate explain shop/orders\n"
        "  wakegate explain shop/orders-7c5f9d-x2x4j         # also by one of its Pods, or by its HPA\n"
        "  wakegate explain shop/statefulset/orders          # where two kinds share a name\n"
        "  wakegate explain --local default/pizza            # of `wakegate local` or `wakegate demo`\n\n"
        "It is told from the objects of the cluster: workload, ScaleTarget, HPA, Events. The record and every step\n"
        "are in the memory of a replica, which is asked too where its dashboard is reached:\n"
        "  kubectl -n wakegate-system port-forward deployment/wakegate 8081 &\n"
        "  wakegate explain shop/orders --dashboard-url http://127.0.0.1:8081"
    )
    parser.add_argument("workload", type=_workload, metavar="NS/NAME", help="the workload, one of its Pods, or its HPA")
    add_dashboard(parser)
    add_output(parser, "json")


def execute(arguments: argparse.Namespace) -> int:
    """Explain it; return 0."""
    from activator.views import explain  # noqa: PLC0415 - see activator.cli

    told = asyncio.run(_gather(arguments))
    if arguments.output == "json":
        print_json(explain.document(told))
    else:
        print_lines(explain.lines(told))
    return 0


async def _gather(arguments: argparse.Namespace) -> Explanation:
    from activator.web.dashboard_client import DashboardClient  # noqa: PLC0415 - see activator.cli
    from activator.wiring.inspection import Clock, Inspection, local_explanation, open_client  # noqa: PLC0415

    now = Clock().now
    namespace, kind, name = arguments.workload
    if arguments.local:
        return await local_explanation(
            DashboardClient(arguments.dashboard_url or DASHBOARD), namespace, kind, name, now()
        )
    client = await open_client()
    try:
        inspection = Inspection(client, now)
        asked = arguments.dashboard_url or (DASHBOARD if inspection.in_pod else "")
        return await inspection.explanation(namespace, kind, name, DashboardClient(asked) if asked else None)
    finally:
        await client.close()


def _workload(text: str) -> tuple[str, str, str]:
    parts = text.split("/")
    if len(parts) not in _PARTS or not all(parts):
        raise argparse.ArgumentTypeError(
            f"{text!r}; allowed: NAMESPACE/NAME or NAMESPACE/KIND/NAME, such as shop/orders"
        )
    return parts[0], parts[1] if len(parts) == max(_PARTS) else "", parts[-1]
