"""Reading a cluster for `wakegate doctor`, `status` and `explain`: what cannot be read is a value that says why."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from activator.core.model import TargetRef
from activator.core.naming import ANNOTATION_PREFIX, hpa_name, scale_target_name
from activator.doctor.facts import FieldOwner, Permission, Target, TopicOfTarget, Unknown
from activator.errors import DeniedError, NotFoundError, WakegateError
from activator.kubernetes import hpa_object, paths, scale_target_object
from activator.kubernetes.referenced_objects import data_of, path_of
from activator.specs.keda.environment import unread
from activator.specs.keda.scaled_object import (
    hpa_name_of_scaled_object,
    is_packed,
    objects_needed_by,
    pack,
    target_of,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from activator.core.model import Policy
    from activator.errors import SpecError
    from activator.kubernetes.client import Document, KubernetesClient
    from activator.specs.authentication import Reference

    Parse = Callable[[Mapping[str, str], TargetRef], tuple[Policy | None, tuple[SpecError, ...]]]

APPS = "apps/v1"
WORKLOADS = (("Deployment", "deployments"), ("StatefulSet", "statefulsets"))
KEDA = "keda.sh/v1alpha1"
SELECTOR = "app.kubernetes.io/name=wakegate,app.kubernetes.io/component=activator"
"""What the manifests label the Deployment and its Pods with."""

_REVIEWS_AT_ONCE = 8
_SELF_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_AUTHORIZATION = "authorization.k8s.io/v1"


async def read(
    client: KubernetesClient, path: str, query: Mapping[str, str] | None = None
) -> Document | Unknown | None:
    """Read an object; None: it does not exist."""
    try:
        return await client.get(path, query)
    except NotFoundError:
        return None
    except DeniedError:
        return Unknown("you may not read it")
    except WakegateError as error:
        return Unknown(str(error))


async def items(
    client: KubernetesClient,
    api_version: str,
    plural: str,
    namespaces: Sequence[str] = (),
    selector: str = "",
    name: str = "",
) -> tuple[Document, ...] | Unknown:
    """List the objects of some namespaces (none named: of all); none where their kind is not served.

    Args:
        client: who asks.
        api_version: of the kind.
        plural: of the kind.
        namespaces: which.
        selector: labels that they have.
        name: what they are called.
    """
    query = {"labelSelector": selector, "fieldSelector": f"metadata.name={name}" if name else ""}
    query = {key: value for key, value in query.items() if value}
    found: list[Document] = []
    try:
        for path in paths.followed(api_version, plural, namespaces):
            async with aclosing(client.list_pages(path, query)) as pages:
                async for page in pages:
                    found.extend(page.get("items") or ())
    except NotFoundError:
        return ()
    except DeniedError:
        return Unknown(f"you may not list {plural}")
    except WakegateError as error:
        return Unknown(str(error))
    return tuple(found)


async def user_name(client: KubernetesClient) -> str:
    """Tell as whom the API server knows us; empty: it does not tell (before Kubernetes 1.28)."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await client.create(_SELF_REVIEW, body)
    except WakegateError:
        return ""
    return str(answer.get("status", {}).get("userInfo", {}).get("username", ""))


async def allowed(
    client: KubernetesClient, wanted: Iterable[Permission], account: str = ""
) -> dict[Permission, bool] | Unknown:
    """Ask whether an account may do each of these; empty: we ourselves.

    Asking about another needs the right to create SubjectAccessReviews, which administrators have.
    """
    limit = asyncio.Semaphore(_REVIEWS_AT_ONCE)
    permissions = list(wanted)

    async def ask(permission: Permission) -> bool:
        async with limit:
            answer = await client.create(*_review(permission, account))
        return bool(answer.get("status", {}).get("allowed"))

    try:
        answers = await asyncio.gather(*map(ask, permissions))
    except DeniedError:
        return Unknown("you may not create SubjectAccessReviews; ask as the account itself, from a Pod, or as an admin")
    except WakegateError as error:
        return Unknown(str(error))
    return dict(zip(permissions, answers, strict=True))


def _review(permission: Permission, account: str) -> tuple[str, Document]:
    resource, _, subresource = permission.resource.partition("/")
    attributes = {
        "group": permission.group,
        "resource": resource,
        "subresource": subresource,
        "verb": permission.verb,
        "namespace": permission.namespace,
        "name": permission.name,
    }
    spec: dict[str, Any] = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    if not account:
        return f"/apis/{_AUTHORIZATION}/selfsubjectaccessreviews", _of_kind("SelfSubjectAccessReview", spec)
    namespace = account.split(":")[2]
    # What every ServiceAccount is a member of: roles may be bound to these groups too.
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    return f"/apis/{_AUTHORIZATION}/subjectaccessreviews", _of_kind(
        "SubjectAccessReview", {**spec, "user": account, "groups": groups}
    )


def _of_kind(kind: str, spec: dict[str, Any]) -> Document:
    return {"apiVersion": _AUTHORIZATION, "kind": kind, "spec": spec}


async def annotated(client: KubernetesClient, namespaces: Sequence[str]) -> list[tuple[TargetRef, Document]] | Unknown:
    """List the workloads that carry an annotation of ours."""
    found: list[tuple[TargetRef, Document]] = []
    for kind, plural in WORKLOADS:
        documents = await items(client, APPS, plural, namespaces)
        if isinstance(documents, Unknown):
            return documents
        for document in documents:
            metadata = document["metadata"]
            if any(key.startswith(ANNOTATION_PREFIX) for key in metadata.get("annotations") or {}):
                found.append((TargetRef(metadata["namespace"], kind, metadata["name"]), document))
    return found


async def targets(
    client: KubernetesClient, namespaces: Sequence[str], parse: Parse
) -> tuple[tuple[Target, ...], tuple[Policy, ...]] | Unknown:
    """Look at every workload of ours: what its annotations or its ScaledObject say, and who else sets its replicas."""
    workloads = await annotated(client, namespaces)
    if isinstance(workloads, Unknown):
        return workloads
    hpas = await items(client, hpa_object.API_VERSION, hpa_object.PLURAL, namespaces)
    scaled_objects = await items(client, KEDA, "scaledobjects", namespaces)
    others = [
        *(() if isinstance(hpas, Unknown) else hpas),
        *(() if isinstance(scaled_objects, Unknown) else scaled_objects),
    ]
    found, policies = [], []
    followed = [(ref, document, annotations_of(document)) for ref, document in workloads]
    followed += await _driven(client, namespaces, () if isinstance(scaled_objects, Unknown) else scaled_objects)
    for ref, document, written in followed:
        policy, problems = parse(written, ref)
        policies += [policy] if policy else []
        found.append(
            Target(
                name=str(ref),
                triggers=tuple(
                    TopicOfTarget(
                        trigger.cluster.bootstrap_servers, trigger.topic, trigger.group, trigger.cluster.credential
                    )
                    for trigger in (policy.triggers if policy else ())
                ),
                problems=tuple(map(str, problems)),
                guards_offsets=policy is not None and policy.offset_guard.value == "on",
                rivals=tuple(_rivals(ref, others, written)),
                replicas_owners=tuple(_replicas_owners(document)),
            )
        )
    return tuple(found), tuple(policies)


def annotations_of(document: Document) -> dict[str, str]:
    """Return a workload's annotations of ours."""
    written = document["metadata"].get("annotations") or {}
    return {key: value for key, value in written.items() if key.startswith(ANNOTATION_PREFIX)}


async def _driven(
    client: KubernetesClient, namespaces: Sequence[str], scaled_objects: Sequence[Document]
) -> list[tuple[TargetRef, Document, dict[str, str]]]:
    """Return the workloads that ScaledObjects of ours drive, with the ScaledObject in the place of annotations.

    Ours are those that wakegate keeps a ScaleTarget for, and those that ask for it: the others may be KEDA's.
    """
    kept = await items(client, scale_target_object.API_VERSION, scale_target_object.PLURAL, namespaces)
    ours = {
        (entry["metadata"]["namespace"], entry["metadata"]["name"])
        for entry in (() if isinstance(kept, Unknown) else kept)
    }
    plurals = dict(WORKLOADS)
    found = []
    for document in scaled_objects:
        ref = target_of(document)
        if ref is None or ref.kind not in plurals:
            continue
        asks = (document["metadata"].get("annotations") or {}).get(f"{ANNOTATION_PREFIX}adopt") == "true"
        if not asks and (ref.namespace, scale_target_name(ref)) not in ours:
            continue
        workload = await read(client, paths.member(APPS, plurals[ref.kind], ref.namespace, ref.name))
        if isinstance(workload, dict) and not annotations_of(workload):
            found.append((ref, workload, await _packed(client, document, workload)))
    return found


async def _packed(client: KubernetesClient, document: Document, workload: Document) -> dict[str, str]:
    """Return a ScaledObject in the place of annotations, with what its parameters take from Secrets and ConfigMaps."""
    data: dict[Reference, Mapping[str, str] | str | None] = {}
    for reference in objects_needed_by(document, workload):
        answer = await read(client, path_of(reference))
        data[reference] = f"{reference}: {answer.reason}" if isinstance(answer, Unknown) else data_of(answer)
    return pack(document, workload, lambda reference: data.get(reference, unread(reference)))


def _rivals(ref: TargetRef, others: Iterable[Document], annotations: Mapping[str, str]) -> Iterable[str]:
    """Name who else drives a workload; a ScaledObject that drives it for us, and its HPA, are not others."""
    for document in others:
        if is_packed(annotations) and _is_of(document, annotations):
            continue
        metadata, driven = document["metadata"], document.get("spec", {}).get("scaleTargetRef") or {}
        kind = "ScaledObject" if "kind" not in driven or "triggers" in document["spec"] else "HorizontalPodAutoscaler"
        same = (metadata["namespace"], driven.get("kind", "Deployment"), driven.get("name"))
        if same == (ref.namespace, ref.kind, ref.name) and metadata["name"] != hpa_name(ref):
            yield f"{kind} {metadata['name']}"


def _is_of(document: Document, packed: Mapping[str, str]) -> bool:
    scaled_object = unpack(packed)
    names = {scaled_object["metadata"]["name"], hpa_name_of_scaled_object(scaled_object)}
    return document["metadata"]["name"] in names


def _replicas_owners(document: Document) -> Iterable[FieldOwner]:
    for entry in document["metadata"].get("managedFields") or ():
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}):
            yield FieldOwner(entry.get("manager", ""), entry.get("operation", ""))
