"""What the doctor asks for is what the manifests grant."""

from __future__ import annotations

from itertools import product

import pytest

from activator.doctor.needs import of_installer
from activator.settings import read
from activator.wiring.installation import environment_of, needs
from tests.manifests.support import OVERLAYS, of_kind, rendered


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_permission_is_granted_and_asked_for(overlay: str) -> None:
    """The doctor asks for each verb that a role of an overlay grants, and for none that it does not."""
    objects = rendered(overlay)
    (deployment,) = [item for item in of_kind(objects, "Deployment") if item["metadata"]["name"] == "wakegate"]
    settings = read(environment=environment_of(deployment, {}))
    granted = {
        (group, resource, verb)
        for role in of_kind(objects, "Role", "ClusterRole")
        for rule in role["rules"]
        for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }
    asked = {(permission.group, permission.resource, permission.verb) for permission in needs(settings)}
    # The one ConfigMap is granted by Kubernetes' own Role, to which an overlay only binds.
    assert asked == granted | {("", "configmaps", "get")}


def test_an_installer_is_asked_for_every_kind_that_the_manifests_hold() -> None:
    """Each kind of the overlay is made by `kubectl apply`, and no other is asked for."""
    kinds = {item["kind"].lower() for item in rendered("kubernetes")}
    asked = {permission.resource.removesuffix("s") for permission in of_installer()}
    assert asked == kinds
