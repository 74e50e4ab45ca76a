"""Ask pip-audit whether a locked package has a known vulnerability, and say so where nobody answered.

Run as ``python -m scripts.audit [--answer-needed] [OPTIONS OF PIP-AUDIT]``, by ``make check`` and ``make audit``.
Exit codes: 0 none is known, or nobody answered and no answer was needed; 1 one is known; 3 a needed answer is missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK_FILES = ("constraints.txt", "constraints-dev.txt")
REQUEST_SECONDS = 5
SECONDS = 90
"""For all packages; pip-audit asks about one after the other."""
UNANSWERED = 3


def command(options: list[str]) -> list[str]:
    """Return pip-audit's command line; a package that it knows nothing of makes it end without an answer."""
    audit = [str(Path(sys.executable).with_name("pip-audit")), "--strict", "--disable-pip", "--require-hashes"]
    files = [part for file in LOCK_FILES for part in ("--requirement", str(REPOSITORY / file))]
    return [*audit, "--progress-spinner", "off", "--timeout", str(REQUEST_SECONDS), *files, *options]


def audit(asked: list[str], seconds: float) -> int:
    """Run a command line of pip-audit, tell its answer, and return 0, 1 for a finding, or UNANSWERED."""
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return _unanswered(f"no answer within {seconds:g} s")
    if done.returncode == 0:
        sys.stdout.write(done.stderr)
        return 0
    # It ends with 1 for a finding and for a service that is away alike: only a finding comes with a table.
    if not done.stdout.strip():
        return _unanswered((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0])
    sys.stderr.write(done.stderr + done.stdout)
    return 1


def _unanswered(why: str) -> int:
    sys.stderr.write(f"whether the locked packages have known vulnerabilities was not checked: {why}\n")
    return UNANSWERED


def main() -> int:
    """Audit the lock files of this repository."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answer-needed", action="store_true", help="fail where nobody answers, as before a release")
    arguments, options = parser.parse_known_args()
    code = audit(command(options), SECONDS)
    return 0 if code == UNANSWERED and not arguments.answer_needed else code


if __name__ == "__main__":
    sys.exit(main())
