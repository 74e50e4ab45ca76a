"""Who writes the annotations of the targets, for good and for a while, and takes them away."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.model import TargetRef
    from tests.world.kubernetes import ApiServer
    from tests.world.oracle import Oracle


class Author:
    """Of every target's annotations; several strikes may want something of one at once."""

    def __init__(self, server: ApiServer, oracle: Oracle) -> None:
        self._server = server
        self._oracle = oracle
        self._put_away: dict[TargetRef, dict[str, str]] = {}
        self._written: dict[tuple[TargetRef, str], list[str | None]] = {}
        """What strikes under way have written into an annotation, after what its author wrote."""

    def unmanage(self, ref: TargetRef) -> Callable[[], None] | None:
        """Take the annotations away; returns how to put them back, None where they are away already."""
        stored = self._server.workloads.get(ref)
        if stored is None or ref in self._put_away:
            return None
        self._put_away[ref] = dict(stored.annotations)
        self._oracle.left(ref)
        self._server.unannotate(ref)

        def back() -> None:
            self._oracle.came_back(ref)
            written = self._put_away.pop(ref)
            if ref in self._server.workloads:
                self._server.annotate(ref, written)

        return back

    def annotation(self, ref: TargetRef, key: str) -> str | None:
        """Return what the user wants an annotation to be, also while all are away."""
        stored = self._server.workloads.get(ref)
        written = self._put_away.get(ref, stored.annotations if stored else {})
        return written.get(key)

    def annotate(self, ref: TargetRef, key: str, value: str | None) -> None:
        """Write an annotation, or take it away; while all are away, only once they are back.

        A mistake that is corrected while they are away would else come back with them.
        """
        if ref in self._put_away:
            written = {**self._put_away[ref], key: value}
            self._put_away[ref] = {name: text for name, text in written.items() if text is not None}
        elif ref in self._server.workloads:
            self._server.annotate(ref, {key: value})

    def annotate_for_a_while(self, ref: TargetRef, key: str, value: str | None) -> Callable[[], bool]:
        """Write an annotation; returns how to end that, which tells whether nobody else has written it meanwhile.

        Of two who write one annotation, the second must not put back for good what the first wrote for a while.
        """
        written = self._written.setdefault((ref, key), [self.annotation(ref, key)])
        written.append(value)
        self.annotate(ref, key, value)

        def end() -> bool:
            written.reverse()
            written.remove(value)  # the newest of its kind; the author's own stands last
            written.reverse()
            self.annotate(ref, key, written[-1])
            if len(written) > 1:
                return False
            del self._written[ref, key]
            return True

        return end
