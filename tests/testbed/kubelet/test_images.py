"""What an image's name means."""

from __future__ import annotations

import sys

import pytest

from testbed.kubelet import images


@pytest.mark.parametrize(
    ("image", "command", "expected"),
    [
        ("wakegate:0.1.0", ["wakegate", "run"], [sys.executable, "-m", "activator", "run"]),
        ("registry.test:5000/team/wakegate@sha256:ab", ["wakegate-gateway"], [sys.executable, "-m", "gateway"]),
        ("wakegate", ["sh", "-c", "true"], ["sh", "-c", "true"]),
        ("wakegate.test/consumer", ["wakegate", "run"], ["wakegate", "run"]),
        ("", ["true"], ["true"]),
    ],
)
def test_commands_of_the_products_image_are_this_checkouts(image: str, command: list[str], expected: list[str]) -> None:
    """Of any registry and tag; any other image, and any other command, is left alone."""
    assert images.local_command(image, command) == expected
