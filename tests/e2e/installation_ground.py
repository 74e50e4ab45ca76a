"""A healthy installation from the shipped manifests, with one consumer that sleeps, and the ways to spoil it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it exports them without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from activator.core.naming import ANNOTATION_PREFIX
from activator.doctor.checks import examine, problems
from activator.wiring.inspection import Clock, Inspection, open_client
from testbed import workloads
from testbed.errors import ApiError
from testbed.install import API_SERVICE, NAMESPACE, Installation
from testbed.stage import Stage, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.doctor.checks import Result
    from testbed.stage import Consumer

ACLS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""What has no ACL is everybody's; what has one is theirs alone whom it names."""
WAKEGATE = "User:ANONYMOUS"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
APISERVICE = f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaletargets.wakegate.dev"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/wakegate-metrics"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/wakegate"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/wakegate"
SPOILT = "spoilt"


@dataclass
class Ground:
    """A healthy installation, and the ways to spoil it."""

    installation: Installation
    stage: Stage
    consumer: Consumer
    clock_off: timedelta = timedelta(0)
    closed_port: int = 0
    _mends: list[Callable[[], object]] = field(default_factory=list)

    @property
    def api(self) -> Any:
        """The API server, as administrator."""
        return self.stage.api

    @property
    def topic(self) -> str:
        """The consumer's topic, and its group."""
        return self.stage.topic_of(self.consumer)

    def results(self) -> tuple[Result, ...]:
        """What the doctor says, as the administrator asks it."""
        return examine(asyncio.run(self._facts()))

    async def _facts(self) -> Any:
        clock = Clock()
        client = await open_client()
        try:
            return await Inspection(client, lambda: clock.now() + self.clock_off, environment={}).facts()
        finally:
            await client.close()

    def named(self) -> list[str]:
        """The ids of the checks that found something."""
        return [result.check.id for result in problems(self.results())]

    def mend(self) -> None:
        """Undo what was spoilt."""
        while self._mends:
            self._mends.pop()()
        self.clock_off = timedelta(0)

    def mended_by(self, *mends: Callable[[], object]) -> None:
        """Note what undoes something; the last one is done first."""
        self._mends += mends

    # ------------------------------------------------------------------------------------------------- what spoils

    def deletes(self, path: str) -> None:
        """Delete an object of the installation."""
        before = self.api.get(path)
        self.api.delete(path)
        self._mends.append(partial(self._make_again, path, before))

    def patches(self, path: str, body: dict[str, Any]) -> None:
        """Patch an object of the installation."""
        before = self.api.get(path)
        self.api.patch(path, body)
        self._mends.append(partial(self._put_back, path, before))

    def _make_again(self, path: str, before: dict[str, Any]) -> None:
        server_made = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")
        metadata = {key: value for key, value in before["metadata"].items() if key not in server_made}
        again = {**before, "metadata": metadata}
        until("its name is free", lambda: self._is_gone(path), 30)
        self.api.request("POST", path.rpartition("/")[0], again)
        self._settle(path)

    def _put_back(self, path: str, before: dict[str, Any]) -> None:
        def put() -> bool:
            version = self.api.get(path)["metadata"]["resourceVersion"]
            with contextlib.suppress(ApiError):  # somebody wrote in between
                self.api.request("PUT", path, {**before, "metadata": before["metadata"] | {"resourceVersion": version}})
                return True
            return False

        until("it is put back", put, 30)
        self._settle(path)

    def _is_gone(self, path: str) -> bool:
        try:
            self.api.get(path)
        except ApiError:
            return True
        return False

    def _settle(self, path: str) -> None:
        """Where it was the Deployment: its Pods have other addresses now."""
        if path == DEPLOYMENT:
            until("both Pods are ready", lambda: len(self.installation.ready_pods()) == 2, 90)
            self.installation.route_metrics_api()

    def sets(self, **settings: str) -> None:
        """Put settings into the ConfigMap, which running Pods do not read again."""
        data = {f"WAKEGATE_{name.upper()}": value for name, value in settings.items()}
        metadata = {"name": "wakegate", "namespace": NAMESPACE}
        self.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        self._mends.append(partial(self.api.delete, f"/api/v1/namespaces/{NAMESPACE}/configmaps/wakegate"))

    def target(self, **annotations: str) -> None:
        """Create an annotated workload that does nothing, as `kubectl create` would."""
        written = {
            "topic": self.topic,
            "consumer-group": self.topic,
            "bootstrap-servers": self.stage.bed.kafka.bootstrap_servers,
            "offset-reset-policy": "earliest",
            **{key.replace("_", "-"): value for key, value in annotations.items()},
        }
        document = workloads.deployment(
            SPOILT,
            {"image": workloads.PAUSE},
            namespace=self.stage.namespace,
            annotations={ANNOTATION_PREFIX + key: value for key, value in written.items()},
        )
        path = f"/apis/apps/v1/namespaces/{self.stage.namespace}/deployments"
        self.api.request("POST", path, document)
        self._mends.append(partial(self.api.delete, f"{path}/{SPOILT}"))

    def topic_named(self, name: str) -> str:
        """Create a topic."""
        with contextlib.suppress(Exception):  # it is there from an earlier case
            self.stage.bed.kafka.create_topic(name, partitions=1)
        return name

    def allows(self, kind: ResourceType, name: str, operation: AclOperation, user: str = WAKEGATE) -> None:
        """Make a topic or group theirs alone whom this ACL names."""
        admin = AdminClient({"bootstrap.servers": self.stage.bed.kafka.bootstrap_servers})
        pattern = ResourcePatternType.LITERAL
        binding = AclBinding(kind, name, pattern, user, "*", operation, AclPermissionType.ALLOW)
        for created in admin.create_acls([binding]).values():
            created.result(timeout=30)
        every = AclBindingFilter(kind, name, pattern, user, "*", operation, AclPermissionType.ALLOW)
        self._mends.append(lambda: [gone.result(timeout=30) for gone in admin.delete_acls([every]).values()])
