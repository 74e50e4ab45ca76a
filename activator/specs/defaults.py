"""What the operator's settings say for what a workload or a ScaledObject leaves out."""

from __future__ import annotations

from dataclasses import dataclass

from activator.core.model import Handover


@dataclass(frozen=True, slots=True)
class AnnotationDefaults:
    """The addresses that may be named, and what holds where nothing is said."""

    bootstrap_servers: str = ""
    allowed_bootstrap_servers: frozenset[str] = frozenset()
    """The only HOST:PORT addresses that may be named; empty: any."""
    handoff: Handover = Handover.AUTO
    dry_run: bool = False

    def refused(self, servers: str) -> str:
        """Return those of some addresses, comma-separated, that may not be named; empty: all may."""
        if not self.allowed_bootstrap_servers:
            return ""
        return ",".join(server for server in servers.split(",") if server not in self._may_be_named())

    def in_words(self) -> str:
        """Name the addresses that may be named."""
        return ", ".join(sorted(self._may_be_named()))

    def _may_be_named(self) -> frozenset[str]:
        return self.allowed_bootstrap_servers | {server for server in self.bootstrap_servers.split(",") if server}


NO_DEFAULTS = AnnotationDefaults()
