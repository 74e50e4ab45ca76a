"""The one place that knows every concrete class: what is joined to what, in which order it starts and ends.

One file a mode; `parts.py` has what all of them need: the real clock, and supervision, so that one task that breaks
is started again and is never the end of the process.
"""

from activator.wiring.parts import Clock, Pushes, new_ids, running, supervise

__all__ = ["Clock", "Pushes", "new_ids", "running", "supervise"]
