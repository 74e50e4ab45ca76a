"""The contract of every Scaler, on local processes; that others write through /scale is a matter of a cluster."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from activator.core.model import TargetRef
from activator.local.manifests import ContainerSpec, WorkloadSpec
from activator.local.process import Reaper
from activator.local.processes import LocalReplicas
from tests.contracts.test_scaler import (
    test_a_cycle_down_and_up_again,
    test_a_recreated_object_is_not_hit,
    test_an_object_that_changed_since_is_a_conflict,
    test_of_two_who_saw_the_same_one_succeeds,
    test_setting_what_is_there_changes_nothing,
    test_the_count_is_read_as_it_is,
    test_what_does_not_exist_is_not_found,
)

if TYPE_CHECKING:
    from activator.ports import Scaler

__all__ = [
    "test_a_cycle_down_and_up_again",
    "test_a_recreated_object_is_not_hit",
    "test_an_object_that_changed_since_is_a_conflict",
    "test_of_two_who_saw_the_same_one_succeeds",
    "test_setting_what_is_there_changes_nothing",
    "test_the_count_is_read_as_it_is",
    "test_what_does_not_exist_is_not_found",
]


class LocalWorld:
    """As much of `tests.contracts.kubernetes_worlds.KubernetesWorld` as a Scaler is asked about; nothing is started."""

    namespace = "default"

    def __init__(self) -> None:
        self._replicas = LocalReplicas(Reaper(), os.environ, output=lambda *_: None, say=lambda _: None)
        self._specs: dict[TargetRef, WorkloadSpec] = {}

    async def add(self, name: str, *, replicas: int = 1) -> TargetRef:
        """Put a workload into the folder."""
        ref = TargetRef(self.namespace, "Deployment", name)
        nothing: MappingProxyType[str, str] = MappingProxyType({})
        self._put(WorkloadSpec(ref, nothing, replicas, ContainerSpec("c", ("true",)), timedelta(0), "f:1", lines={}))
        return ref

    async def delete(self, ref: TargetRef) -> None:
        """Take a workload out of the folder."""
        self._replicas.remove(ref)

    async def scale(self, ref: TargetRef, replicas: int, _manager: str) -> None:
        """Write another count into the file."""
        self._put(replace(self._specs[ref], replicas=replicas))

    def scaler(self) -> Scaler:
        """The one there is."""
        return self._replicas

    def _put(self, spec: WorkloadSpec) -> None:
        self._specs[spec.ref] = spec
        self._replicas.apply(spec)


@pytest.fixture
def world() -> LocalWorld:
    """Return an empty folder."""
    return LocalWorld()
