"""What the ServiceAccount has to be allowed, and what whoever installs it; a test holds it against the manifests."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from activator.doctor.facts import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANAGED: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("apps", ("deployments", "statefulsets"), ("list", "watch")),
    ("apps", ("deployments/scale", "statefulsets/scale"), ("get", "patch")),
    ("autoscaling", ("horizontalpodautoscalers",), ("list", "watch", "create", "patch", "delete")),
    ("wakegate.dev", ("scaletargets",), ("list", "create", "patch", "delete")),
    ("wakegate.dev", ("scaletargets/status",), ("patch",)),
    ("", ("events",), ("create", "patch")),
)
"""In every namespace that is managed: group, resources, verbs."""

_SCALED_OBJECTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("keda.sh", ("scaledobjects",), ("list", "watch", "patch")),
    ("keda.sh", ("scaledobjects/status",), ("patch",)),
)
"""Besides, where ScaledObjects are managed."""

FRONT_PROXY = Permission("", "configmaps", "get", "kube-system", "extension-apiserver-authentication")
"""By which certificate the API server is known to the metrics API."""

KEDA_LEASE_NAME = "operator.keda.sh"
"""Listed by this name alone, over all namespaces."""
API_SERVICE_NAME = "v1beta1.external.metrics.k8s.io"

_INSTALLED: tuple[tuple[str, str], ...] = (
    ("", "namespaces"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("apps", "deployments"),
    ("coordination.k8s.io", "leases"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
)
"""What the overlay for Kubernetes makes."""


def of_account(
    lease: tuple[str, str],
    watch_namespace: tuple[str, ...],
    shared_certificate: tuple[str, str] | None = None,
    *,
    scaled_objects: bool = False,
) -> Iterator[Permission]:
    """Name everything that the account is to be allowed.

    Args:
        lease: namespace and name.
        watch_namespace: the namespaces that it manages; none: all of them.
        shared_certificate: namespace and name of the Secret that replicas share a certificate through, if they do.
        scaled_objects: whether KEDA's ScaledObjects are managed too.
    """
    for namespace in watch_namespace or ("",):
        for group, resources, verbs in (*_MANAGED, *(_SCALED_OBJECTS if scaled_objects else ())):
            for resource, verb in product(resources, verbs):
                yield Permission(group, resource, verb, namespace)
    leases = "coordination.k8s.io"
    yield Permission(leases, "leases", "create", lease[0])
    yield Permission(leases, "leases", "get", *lease)
    yield Permission(leases, "leases", "update", *lease)
    if not watch_namespace:  # of the cluster itself: an installation for one namespace does without
        yield Permission("apiregistration.k8s.io", "apiservices", "get", name=API_SERVICE_NAME)
        yield Permission(leases, "leases", "list", name=KEDA_LEASE_NAME)
    if shared_certificate is not None:
        yield Permission("", "secrets", "get", *shared_certificate)
        yield Permission("", "secrets", "update", *shared_certificate)
        yield Permission("apiregistration.k8s.io", "apiservices", "patch", name=API_SERVICE_NAME)
    yield FRONT_PROXY


def of_secret(namespace: str, name: str) -> Permission:
    """Name what is needed of a Secret with Kafka credentials."""
    return Permission("", "secrets", "get", namespace, name)


def of_installer() -> Iterator[Permission]:
    """Name what `kubectl apply -k manifests/overlays/kubernetes` needs."""
    for group, resource in _INSTALLED:
        for verb in ("create", "patch"):
            yield Permission(group, resource, verb)
