"""The last value of every external metric, in memory: what the loop publishes and the HPA is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.core.model import TargetRef
    from activator.ports import MetricSample
    from activator.web.selector import Selector

_Key = tuple[str, str]
"""Namespace, and the metric's name in lower case."""


class InMemoryMetricStore:
    """`ports.MetricStore` that can be asked by namespace, name and label selector.

    Names match whatever their case, as KEDA's do: the API server hands on the path as it was typed. Samples are
    indexed by name, so that one answer costs the same with three thousand targets as with three.
    """

    def __init__(self) -> None:
        self._by_name: dict[_Key, dict[TargetRef, tuple[MetricSample, ...]]] = {}
        self._keys: dict[TargetRef, frozenset[_Key]] = {}

    def publish(self, ref: TargetRef, samples: Sequence[MetricSample]) -> None:
        """Replace all samples of a target."""
        grouped: dict[_Key, list[MetricSample]] = {}
        for sample in samples:
            grouped.setdefault(_key(sample.namespace, sample.name), []).append(sample)
        for gone in self._keys.get(ref, frozenset()) - grouped.keys():
            self._drop(gone, ref)
        for key, of_name in grouped.items():
            self._by_name.setdefault(key, {})[ref] = tuple(of_name)
        self._keys[ref] = frozenset(grouped)

    def withdraw(self, ref: TargetRef) -> None:
        """Forget a target."""
        for key in self._keys.pop(ref, frozenset()):
            self._drop(key, ref)

    def lookup(self, namespace: str, name: str, selector: Selector) -> tuple[MetricSample, ...]:
        """Return the samples of this name in this namespace whose labels the selector matches."""
        found = self._by_name.get(_key(namespace, name), {})
        return tuple(sample for samples in found.values() for sample in samples if selector.matches(sample.selector))

    def _drop(self, key: _Key, ref: TargetRef) -> None:
        of_name = self._by_name[key]
        del of_name[ref]
        if not of_name:
            del self._by_name[key]


def _key(namespace: str, name: str) -> _Key:
    return namespace, name.lower()
