"""What can go wrong in the testbed, each with the sentence a developer needs."""

from __future__ import annotations


class TestbedError(Exception):
    """A part could not be had, started or reached; the message says which, why and what to do."""

    __test__ = False  # pytest would otherwise collect it by its name


class MissingToolError(TestbedError):
    """A program that builds or runs a part is not on PATH."""


class BuildFailedError(TestbedError):
    """A build command ended with an error; the message carries the end of its log."""


class PartFailedError(TestbedError):
    """A part ended by itself or was not ready in time; the message carries the end of its log."""


class ApiError(TestbedError):
    """The API server refused a request.

    Attributes:
        status: HTTP status code.
        reason: Kubernetes' machine-readable reason, such as `NotFound`.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"API server answered {status} {reason}: {message}")
        self.status = status
        self.reason = reason
