"""Runs the codec's fuzz tests and round trips for as long as is wanted: `make fuzz`.

Each round draws new examples. An example that breaks a rule is shrunk, printed with its traceback, and ends the run.
"""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import HealthCheck, settings

from tests.gateway import test_intake
from tests.gateway.cloudevents import test_fuzz, test_round_trip

TESTS = (
    test_fuzz.test_structured,
    test_fuzz.test_batch,
    test_fuzz.test_bytes,
    test_fuzz.test_binary,
    test_round_trip.test_binary_to_binary,
    test_round_trip.test_binary_to_structured,
    test_round_trip.test_structured_to_binary,
    test_round_trip.test_structured_to_structured,
    test_round_trip.test_batch_to_binary,
    test_round_trip.test_json_data_keeps_its_bytes,
    test_intake.test_any_message,
)
_EXAMPLES = 500


def main() -> None:
    """Run the tests in turn, with new examples each time, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="when the last round may begin")
    began = time.monotonic()
    end = began + parser.parse_args().seconds
    # Not derandomized: where the variable CI is set, hypothesis would draw the same examples in each round.
    long = settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    tests = [long(test) for test in TESTS]
    rounds = 0
    while not rounds or time.monotonic() < end:
        for test in tests:
            test()
        rounds += 1
        if rounds % 10 == 0:
            _tell(rounds, time.monotonic() - began)
    _tell(rounds, time.monotonic() - began)


def _tell(rounds: int, seconds: float) -> None:
    examples = rounds * len(TESTS) * _EXAMPLES
    sys.stdout.write(f"{seconds:.0f} s, {examples:,} examples: no crash, nothing invalid taken, no byte lost\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
