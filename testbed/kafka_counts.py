"""How many requests a broker has answered, by its own count: what a client says of itself is another matter."""

from __future__ import annotations

import subprocess
from importlib import resources

from testbed.errors import PartFailedError

SECONDS = 60.0


def requests_answered(process_id: int) -> dict[str, int]:
    """Ask the broker with this process id for its counters; return API -> requests since its start, all versions.

    The names are those of `kafka.network:type=RequestMetrics`. Every Fetch is there twice, the second time as
    FetchConsumer or FetchFollower.

    Raises:
        PartFailedError: the broker's JVM let nobody in; carries what was said.
    """
    with resources.as_file(resources.files("testbed") / "templates" / "RequestCounts.java") as source:
        command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", str(source), str(process_id)]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if asked.returncode:
        said = asked.stderr.splitlines()[:1]
        raise PartFailedError(f"the counters of the broker with process id {process_id}: {''.join(said)}")
    return {api: int(count) for api, count in map(str.split, asked.stdout.splitlines())}
