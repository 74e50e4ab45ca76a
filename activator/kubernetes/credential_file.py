"""A ClusterTriggerAuthentication's `filePath`: one JSON object of parameters in a file that the operator has mounted.

Source: KEDA, "Authentication", filePath. A message names the file, and never what is in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from activator.errors import SpecError
from activator.specs.authentication import FILE

if TYPE_CHECKING:
    from pathlib import Path

    from activator.kubernetes.client import Document

LARGEST_BYTES = 2**20
"""As large as a Secret may be."""
_SETTING = "WAKEGATE_AUTHENTICATION_FILE_ROOT"


def read_credential_file(root: Path | None, name: str) -> Document | SpecError | None:
    """Read a file below the root; blocks.

    Args:
        root: None: the operator has mounted none.
        name: as `filePath` says, relative to the root or below it.

    Returns:
        An object with `kind` FILE and its parameters in `data`; None: there is no such file; what is wrong.
    """
    place = f"{FILE} {name}"
    if root is None:
        return SpecError(place, None, f"no file may be read: the operator has set no {_SETTING}")
    base = root.resolve()
    path = (base / name).resolve()
    # Resolved before it is compared: a link, or enough `..`, would lead to our own token.
    if not path.is_relative_to(base):
        return SpecError(place, None, f"it is not below {_SETTING}")
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        found = json.loads(content) if len(content) <= LARGEST_BYTES else None
    except OSError as error:
        return SpecError(place, None, f"it cannot be read: {error.strerror}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        return SpecError(place, None, "it is no JSON object of strings, by KEDA's parameter names")
    return {"kind": FILE, "data": found}
