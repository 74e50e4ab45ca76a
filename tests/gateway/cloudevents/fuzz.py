"""Runs the codec's fuzz tests and round trips for as long as is wanted: `make fuzz`.

Each round draws new examples, and spoils messages of the conformance table (`mutation.py`). What breaks a rule is
printed, shrunk where hypothesis made it, and ends the run.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from hypothesis import HealthCheck, settings

from tests.gateway import test_intake
from tests.gateway.cloudevents import test_fuzz, test_round_trip
from tests.gateway.cloudevents.mutation import Message, check, mutated

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
_EXAMPLES = 50
_SPOILT = 40_000


def main() -> None:
    """Run the tests in turn, with new examples each time, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="when the last round may begin")
    parser.add_argument("--seed", type=int, default=None, help="of the spoilt messages; default: a new one, printed")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed  # noqa: S311 - nothing to guess
    drawn = random.Random(seed)  # noqa: S311 - the same
    _tell(f"seed {seed}")
    # Not derandomized: where the variable CI is set, hypothesis would draw the same examples in each round.
    long = settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    tests = [long(test) for test in TESTS]
    began, rounds, taken = time.monotonic(), 0, 0
    while not rounds or time.monotonic() - began < options.seconds:
        for test in tests:
            test()
        for number in range(_SPOILT):
            taken += _accepted(seed, rounds * _SPOILT + number, mutated(drawn))
        rounds += 1
        _tell(
            f"{time.monotonic() - began:.0f} s: {rounds * len(TESTS) * _EXAMPLES:,} generated examples, "
            f"{rounds * _SPOILT:,} spoilt messages of which {taken:,} were still valid: "
            "no crash, nothing invalid taken, no byte lost"
        )


def _accepted(seed: int, number: int, message: Message) -> bool:
    try:
        return check(message)
    except BaseException:
        _tell(f"seed {seed}, message {number}: {message}")
        raise


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
