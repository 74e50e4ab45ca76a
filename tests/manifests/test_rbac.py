"""What wakegate may do: little, each verb for a reason that names a file, and nothing that could be used otherwise."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

import pytest
import yaml

from activator.kubernetes.referenced_objects import READER_ROLE
from tests.manifests.support import MANIFESTS, OVERLAYS, namespace_of, of_kind, rendered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.manifests.support import Object

REPOSITORY = MANIFESTS.parent
SOURCES = sorted([*(MANIFESTS / "base").glob("rbac*.yaml"), *(MANIFESTS / "components").glob("*/rbac*.yaml")])
SECRETS_READER = MANIFESTS / "components" / "secrets-reader" / "rbac.yaml"
REASON = re.compile(r"^\s+# (create|delete|get|list|patch|update|watch) +(\S+\.py): ", re.MULTILINE)


def granted(objects: list[Object]) -> Iterator[tuple[str, str, str]]:
    """Every (group, resource, verb) of every role."""
    for role in of_kind(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            yield from product(rule["apiGroups"], rule["resources"], rule["verbs"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_granted_by_a_wildcard(overlay: str) -> None:
    """No group, resource or verb is a star."""
    assert [grant for grant in granted(rendered(overlay)) if "*" in grant] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_workload_is_written_through_its_scale_alone(overlay: str) -> None:
    """No permission to change a Deployment, whose image could be changed with it, nor to make or see Pods."""
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    grants = set(granted(rendered(overlay)))
    assert {(resource, verb) for group, resource, verb in grants if group == "apps" and verb in writes} == {
        ("deployments/scale", "patch"),
        ("statefulsets/scale", "patch"),
    }
    assert not [grant for grant in grants if grant[1].split("/")[0] == "pods"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_of_others_is_readable(overlay: str) -> None:
    """The one Secret in reach is that of our own certificate, by name; nobody is let grant more than it has."""
    objects = rendered(overlay)
    about_secrets = [
        (role["kind"], rule["resourceNames"], rule["verbs"])
        for role in of_kind(objects, "Role", "ClusterRole")
        for rule in role["rules"]
        if "secrets" in rule["resources"]
    ]
    own = [("Role", ["wakegate-metrics-certificate"], ["get", "update"])]
    assert about_secrets == (own if overlay == "kubernetes" else [])
    resources = {resource for _, resource, _ in granted(objects)}
    assert resources.isdisjoint({"configmaps", "serviceaccounts", "serviceaccounts/token"})
    verbs = {verb for _, _, verb in granted(rendered(overlay))}
    assert verbs.isdisjoint({"escalate", "bind", "impersonate"})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_service_is_reached_by_name_alone(overlay: str) -> None:
    """It may look at who owns external metrics, and put its CA there where it makes its certificate; no other."""
    rules = [
        (rule["resourceNames"], rule["verbs"])
        for role in of_kind(rendered(overlay), "Role", "ClusterRole")
        for rule in role["rules"]
        if "apiservices" in rule["resources"]
    ]
    name = ["v1beta1.external.metrics.k8s.io"]
    looked_at = [] if overlay == "namespaced" else [(name, ["get"])]
    assert sorted(rules) == sorted([*looked_at, *([(name, ["patch"])] if overlay == "kubernetes" else [])])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_role_is_bound_to_our_account(overlay: str) -> None:
    """Each role is bound once, to the ServiceAccount that the Pods run under; one more is Kubernetes' own."""
    objects = rendered(overlay)
    account = {"kind": "ServiceAccount", "name": "wakegate", "namespace": namespace_of(objects)}
    bindings = of_kind(objects, "RoleBinding", "ClusterRoleBinding")
    assert all(binding["subjects"] == [account] for binding in bindings)
    roles = {(role["kind"], role["metadata"]["name"]) for role in of_kind(objects, "Role", "ClusterRole")}
    bound = {(binding["roleRef"]["kind"], binding["roleRef"]["name"]) for binding in bindings}
    assert bound == roles | {("Role", "extension-apiserver-authentication-reader")}


def test_secrets_are_read_by_name_where_a_namespace_binds_it() -> None:
    """The role is bound to nobody, and lets its holder get, not list or watch: a binding of single names will do."""
    (role,) = yaml.safe_load_all(SECRETS_READER.read_text())
    assert {verb for _, _, verb in granted([role])} == {"get"}
    component = yaml.safe_load((SECRETS_READER.parent / "kustomization.yaml").read_text())
    assert component["resources"] == [SECRETS_READER.name]
    example = yaml.safe_load((REPOSITORY / "examples" / "authentication" / "rolebinding.yaml").read_text())
    assert example["kind"] == "RoleBinding"
    assert example["roleRef"]["name"] == role["metadata"]["name"] == READER_ROLE


def test_one_namespace_gets_the_same_rules() -> None:
    """The Role of the overlay for one namespace grants what the ClusterRole grants, word for word."""
    (role,) = [
        item for item in rendered("namespaced") if (item["kind"], item["metadata"]["name"]) == ("Role", "wakegate")
    ]
    (cluster_role,) = [
        item
        for item in rendered("kubernetes")
        if (item["kind"], item["metadata"]["name"]) == ("ClusterRole", "wakegate")
    ]
    assert role["rules"] == cluster_role["rules"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_each_verb_names_the_file_that_needs_it(source: Path) -> None:
    """In the comments of a rule stand exactly its verbs, each with a file that exists."""
    text = source.read_text()
    for document in text.split("\n---\n"):
        parsed = yaml.safe_load(document)
        if parsed["kind"] not in {"Role", "ClusterRole"}:
            continue
        _, *blocks = re.split(r"^  - apiGroups:", document, flags=re.MULTILINE)
        assert len(blocks) == len(parsed["rules"])
        for block, rule in zip(blocks, parsed["rules"], strict=True):
            reasons = REASON.findall(block)
            assert sorted(verb for verb, _ in reasons) == sorted(rule["verbs"]), rule
            missing = [file for _, file in reasons if not (REPOSITORY / file).is_file()]
            assert missing == []
