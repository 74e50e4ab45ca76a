"""Sends events to the gateway with nothing but the standard library, and tries again as its answers allow.

    python send.py --gateway http://localhost:8080 --topic orders --count 10

The id of an event is chosen once and kept over all attempts: where an attempt's answer got lost the event may be in
Kafka twice, and its consumers tell so by `source` and `id`.
"""
# ruff: noqa: INP001 - a script to copy, not a package

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import Any

ATTEMPTS = 6
TOO_SLOW = 408
ANSWER_SECONDS = 30


def main() -> int:
    """Send some events and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default="http://localhost:8080")
    parser.add_argument("--topic", default="orders")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--token", help="bearer token, where the route asks for one")
    options = parser.parse_args()
    for number in range(options.count):
        order = {"number": number, "total": "9.50"}
        answer = send(f"{options.gateway}/topics/{options.topic}", order, f"customer-{number % 3}", options.token)
        sys.stdout.write(f"order {number}: partition {answer['partition']}, offset {answer['offset']}\n")
    return 0


def send(url: str, data: dict[str, Any], key: str, token: str | None) -> dict[str, Any]:
    """Send one event in structured mode. Raises HTTPError where trying again is no use, or was not."""
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/examples/python",
        "type": "order.created",
        "time": datetime.now(UTC).isoformat(),  # noqa: TID251 - a producer stamps its events
        "partitionkey": key,
        "data": data,
    }
    headers = {"Content-Type": "application/cloudevents+json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, json.dumps(event).encode(), headers)  # noqa: S310 - the user's own URL
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - the same
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            # 429 and 503 say when; 408 is a slow body; after other 4xx it would be refused again.
            wait = error.headers.get("Retry-After", "1" if error.code == TOO_SLOW else None)
            if wait is None or attempt == ATTEMPTS:
                sys.stderr.write(f"{error.code}: {error.read().decode()}\n")
                raise
        except OSError as error:
            if attempt == ATTEMPTS:
                raise
            sys.stderr.write(f"{error}; trying again\n")
            wait = "1"
        time.sleep(int(wait) * random.uniform(0.5, 1.5) * attempt)  # noqa: S311 - spreads senders over time
    raise AssertionError("the last attempt returns or raises")


if __name__ == "__main__":
    sys.exit(main())
