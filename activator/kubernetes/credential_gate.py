"""Between a catalog and the loop: a policy whose credentials cannot be had is no valid one, and says so.

Any catalog's workloads pass through, whatever names their credentials. While those have not been read yet the policy
passes: its source is unreadable until then, which holds what is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from activator.specs.authentication import for_target, refusal
from activator.specs.keda.scaled_object import container_of_packed

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.model import Cluster, Policy, TargetRef, Workload
    from activator.errors import SpecError
    from activator.kubernetes.secrets import SecretStore
    from activator.ports import CatalogListener, ManagedWorkload


class CredentialGate:
    """A `CatalogListener` in front of another one.

    Args:
        store: where the credentials are.
        listener: what workloads are handed on to.
        trusted_servers: HOST:PORT that the operator has named.
        look: asked to look at a target whose credentials have changed.
    """

    def __init__(
        self,
        store: SecretStore[Any],
        listener: CatalogListener,
        trusted_servers: frozenset[str],
        look: Callable[[TargetRef], None],
    ) -> None:
        self._store = store
        self._listener = listener
        self._trusted_servers = trusted_servers
        self._look = look
        self._managed: dict[TargetRef, ManagedWorkload] = {}
        store.changed = self.changed

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload that is new or changed, and hand it on as its credentials allow."""
        self._store.environments.seen(managed.workload.ref, managed.workload.scale.resource_version)
        self._managed[managed.workload.ref] = managed
        self._listener.upsert(self._checked(managed))

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Hand on that a workload is no longer managed."""
        self._managed.pop(ref, None)
        self._store.name(ref, ())
        self._store.environments.forget(ref)
        self._listener.remove(ref, workload)

    def synced(self) -> None:
        """Hand on that everything has been delivered."""
        self._listener.synced()

    def changed(self, ref: TargetRef) -> None:
        """Deliver a target again: its credentials have changed, or what is wrong with them."""
        if (managed := self._managed.get(ref)) is not None:
            self._listener.upsert(self._checked(managed))
            self._look(ref)

    def _checked(self, managed: ManagedWorkload) -> ManagedWorkload:
        if managed.policy is None:
            return managed  # and the last valid policy stays in force, with what it names
        policy = self._of_target(managed, managed.policy)
        # As it was read too: whether it takes variables may change.
        named = [*_clusters(managed.policy), *_clusters(policy)]
        self._store.name(managed.workload.ref, (cluster.credential for cluster in named))
        problems = [problem for cluster in _clusters(policy) for problem in self._problems(cluster)]
        return replace(managed, policy=None if problems else policy, problems=tuple(problems) or managed.problems)

    def _of_target(self, managed: ManagedWorkload, policy: Policy) -> Policy:
        if not any(self._store.takes_variables(cluster.credential) for cluster in _clusters(policy)):
            return policy  # nearly always: nothing to unpack
        container = container_of_packed(managed.annotations)
        return for_target(policy, managed.workload.ref, container, self._store.takes_variables)

    def _problems(self, cluster: Cluster) -> tuple[SpecError, ...]:
        refused = refusal(cluster, self._trusted_servers)
        return (refused,) if refused is not None else self._store.problems(cluster.credential)


def _clusters(policy: Policy) -> list[Cluster]:
    """Return each cluster that is logged in to with credentials of its own, once."""
    return list(dict.fromkeys(trigger.cluster for trigger in policy.triggers if trigger.cluster.credential))
