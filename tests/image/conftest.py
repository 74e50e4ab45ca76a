"""The image is built once for all tests of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.image.built import build

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """The root of the image: /opt as the build stage makes it, for all to read and nobody to write."""
    folder = Path(tempfile.mkdtemp(prefix="wakegate-image-"))
    folder.chmod(0o755)
    try:
        build(folder)
        subprocess.run(["/bin/chmod", "-R", "a-w,a+rX", str(folder)], check=True)  # noqa: S603 - our own folder
        yield folder
    finally:
        subprocess.run(["/bin/chmod", "-R", "u+w", str(folder)], check=True)  # noqa: S603 - our own folder
        shutil.rmtree(folder)
