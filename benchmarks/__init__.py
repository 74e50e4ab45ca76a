"""Benchmarks on the real parts: each measures its floor in the same run, prints a table and writes JSON.

    python -m benchmarks              # lists them
    python -m benchmarks wake --help  # says what it measures, and its options
    python -m benchmarks all          # runs one after the other

Not part of any test: a figure is a figure of one machine at one moment, and the ratio to the floor is what holds.
"""

from __future__ import annotations

import sys

# While `python -m` looks for its module, `sys.argv` is "-m" and what stands behind the module's name.
_started = sys.orig_argv[-len(sys.argv)] if sys.argv[:1] == ["-m"] else ""
_package, _, _name = _started.removeprefix("-m").partition(".")
if _package == __name__ and _name not in {"", "__main__"}:
    # Python would run the module, which only defines what the dispatcher calls, and end well.
    sys.stderr.write(f"benchmarks.{_name} measures nothing by itself; run: python -m benchmarks {_name}\n")
    sys.exit(2)
