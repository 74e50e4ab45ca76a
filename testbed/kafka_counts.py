"""How many requests a broker has answered, by its own count: what a client says of itself is another matter."""

from __future__ import annotations

import subprocess
from importlib import resources

from testbed import builds
from testbed.errors import PartFailedError
from testbed.kafka import java_command

SECONDS = 60.0


def requests_answered(process_id: int) -> dict[str, int]:
    """Ask the broker with this process id for its counters; return API -> requests since its start, all versions.

    The names are those of `kafka.network:type=RequestMetrics`. Every Fetch is there twice, the second time as
    FetchConsumer or FetchFollower.

    Raises:
        MissingToolError: there is no JDK: a Java runtime alone lets nobody into another one.
        PartFailedError: the broker's JVM let nobody in; carries what was said.
    """
    builds.require_tools("the counters of Kafka", ["java", "javac"])
    where = f"the counters of the broker with process id {process_id}"
    with resources.as_file(resources.files("testbed") / "templates" / "RequestCounts.java") as source:
        command = [*java_command(str(source.parent), heap_megabytes=128), str(source), str(process_id)]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        except subprocess.TimeoutExpired as error:
            raise PartFailedError(f"{where}: no answer within {SECONDS:.0f} s") from error
        except subprocess.CalledProcessError as error:
            raise PartFailedError(f"{where}: {''.join(error.stderr.splitlines()[:1])}") from error
    return {api: int(count) for api, count in map(str.split, asked.stdout.splitlines())}
