"""Runs the codec's fuzz tests for as long as is wanted.

python -m tests.gateway.cloudevents.fuzz --seconds 300
"""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import HealthCheck, settings

from tests.gateway.cloudevents import test_fuzz, test_round_trip

TESTS = (
    test_fuzz.test_structured,
    test_fuzz.test_batch,
    test_fuzz.test_bytes,
    test_fuzz.test_binary,
    test_round_trip.test_structured_to_structured,
    test_round_trip.test_binary_to_structured,
)
_EXAMPLES = 2000


def main() -> None:
    """Run the tests in turn, with new examples each time, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    end = time.monotonic() + parser.parse_args().seconds
    long = settings(max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    tests = [long(test) for test in TESTS]
    rounds = 0
    while time.monotonic() < end:
        for test in tests:
            test()
        rounds += 1
        sys.stdout.write(
            f"round {rounds}: {rounds * len(TESTS) * _EXAMPLES} examples, no crash, nothing invalid taken\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
