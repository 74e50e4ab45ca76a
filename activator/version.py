"""Which wakegate this is."""

from __future__ import annotations


def version() -> str:
    """Return the version of the installed distribution; ``0+source`` where the tree runs without being installed."""
    from importlib import metadata  # noqa: PLC0415 - `wakegate --help` does not need it, and it is slow to import

    try:
        return metadata.version("wakegate")
    except metadata.PackageNotFoundError:
        return "0+source"
