"""A loopback address for each Pod, so that two Pods may listen on the same port as they may in a cluster.

The whole of 127.0.0.0/8 leads to this machine. A process must listen on its Pod's address for it (`status.podIP` by the
downward API): one that listens on 0.0.0.0 takes the port of all.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def pod_ip(pod: Mapping[str, Any]) -> str:
    """The address of a Pod, the same for all of its life: 127.A.B.C made from its uid."""
    digest = hashlib.sha256(pod["metadata"]["uid"].encode()).digest()
    # 127.0.0.0/16 stays the machine's own; .0 and .255 at the end look like a network's.
    return f"127.{1 + digest[0] % 255}.{digest[1]}.{1 + digest[2] % 254}"
