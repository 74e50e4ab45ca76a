"""Image names with a meaning; any other is only a name beside its command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER_READY = "wakegate.test/never-ready"
"""The Pod is bound and stays Pending, as with an image that cannot be pulled."""

PAUSE = "wakegate.test/pause"
"""The Pod is Running and Ready without a process: for a hundred targets on two cores."""

PRODUCT = "wakegate"
"""The product's own image, of any registry and tag: its commands are those of this checkout."""

PRODUCT_COMMANDS = {"wakegate": "activator", "wakegate-gateway": "gateway"}
"""Commands that the image installs -> the packages that they run."""


def local_command(image: str, command: Sequence[str]) -> list[str]:
    """What to run on this machine for a command line in an image."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    if name == PRODUCT and command[0] in PRODUCT_COMMANDS:
        return [sys.executable, "-m", PRODUCT_COMMANDS[command[0]], *command[1:]]
    return list(command)
