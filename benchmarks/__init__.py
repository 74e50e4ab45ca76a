"""Benchmarks on the real parts: each measures its floor in the same run, prints a table and writes JSON.

    python -m benchmarks              # lists them
    python -m benchmarks wake --help  # says what it measures, and its options
    python -m benchmarks all          # runs one after the other

Not part of any test: a figure is a figure of one machine at one moment, and the ratio to the floor is what holds.
"""
