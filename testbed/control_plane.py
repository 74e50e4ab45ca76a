"""A Kubernetes control plane without nodes: etcd, kube-apiserver and kube-controller-manager."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.error import URLError

from testbed import audit, builds, control_plane_flags
from testbed.api import ApiClient
from testbed.certificates import CertificateAuthority, write_signing_key
from testbed.control_plane_flags import ControlPlaneFiles, ControlPlanePorts, HpaFlags
from testbed.errors import ApiError
from testbed.kubeconfig import Credentials
from testbed.ports import LOOPBACK, ReservedPorts
from testbed.processes import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from testbed.certificates import KeyPair

READY_SECONDS = 90.0
STOP_SECONDS = 5.0
API_SERVER_STOP_SECONDS = 3.0
"""Without etcd, or with open watches, SIGTERM drains for up to a minute: nobody waits for that."""
TOKEN_SECONDS = 86_400
EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"


@dataclass
class ControlPlane:
    """etcd, kube-apiserver and kube-controller-manager on loopback.

    RBAC, the aggregation layer and the audit log are on, as is OwnerReferencesPermissionEnforcement (OpenShift's
    default). There is no kubelet and no kube-proxy: pods stay Pending unless `node.Node` runs them.

    Args:
        run_directory: where certificates, data and logs go.
        hpa: the HPA controller's times and pace; `HpaFlags.stock()` for Kubernetes' own.
        controllers: which controllers run.
        api_server_flags: added to kube-apiserver's command line.
        controller_manager_flags: added to kube-controller-manager's command line.
    """

    run_directory: Path
    hpa: HpaFlags = field(default_factory=HpaFlags)
    controllers: Sequence[str] = control_plane_flags.CONTROLLERS
    api_server_flags: Sequence[str] = ()
    controller_manager_flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Take the ports and write certificates, so that addresses are known before the start."""
        self.run_directory.mkdir(parents=True, exist_ok=True)
        self._reserved = ReservedPorts(3)
        self._ports = ControlPlanePorts(*self._reserved.ports)
        self._files = _write_files(self.run_directory)
        self._tokens = {user: secrets.token_urlsafe(24) for user in control_plane_flags.ADMINISTRATORS}
        control_plane_flags.write_token_file(self._files.tokens, self._tokens)
        self._authority_pem = self._files.ca.read_text()
        self.kubeconfig = self._credentials(self._tokens["admin"]).write(self.run_directory / "admin.kubeconfig")
        self._parts: list[ManagedProcess] = []
        self.etcd: ManagedProcess
        self.api_server: ManagedProcess
        self.controller_manager: ManagedProcess

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://{LOOPBACK}:{self._ports.api_server}"

    @property
    def front_proxy_client(self) -> KeyPair:
        """What the aggregator shows to aggregated APIs: a test that shows it is answered as the HPA controller is."""
        return self._files.front_proxy_client

    @property
    def api(self) -> ApiClient:
        """A client with all rights."""
        return ApiClient(self._credentials(self._tokens["admin"]))

    def start(self) -> Self:
        """Start the three parts and wait until the controllers work.

        Raises:
            MissingToolError, BuildFailedError: they could not be had.
            PartFailedError: one did not come up; carries the end of its log.
        """
        binaries = builds.ensure(builds.CONTROL_PLANE) / "bin"
        self._describe(binaries)
        try:
            self.etcd.start()
            self.api_server.start()
            self.api_server.wait_ready(self.is_ready, within_seconds=READY_SECONDS)
            self.controller_manager.start()
            self.controller_manager.wait_ready(self._controllers_work, within_seconds=READY_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the parts, those first that need the others, and free the ports."""
        for part in self._parts:
            part.stop()
        self._reserved.close()

    def kill(self) -> None:
        """SIGKILL all parts."""
        for part in self._parts:
            part.kill()

    def is_ready(self) -> bool:
        """Whether the API server answers /readyz with ok."""
        try:
            return self.api.request("GET", "/readyz").get("text") == "ok"
        except (ApiError, OSError, URLError):
            return False

    def wait_ready(self) -> None:
        """Wait until the API server is ready (again)."""
        self.api_server.wait_ready(self.is_ready, within_seconds=READY_SECONDS)

    def kubeconfig_for_user(self, user: str) -> Path:
        """Kubeconfig of a static administrator: `admin` or `kubelet` (its own name in the audit log)."""
        return self._credentials(self._tokens[user]).write(self.run_directory / f"{user}.kubeconfig")

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Make sure that a service account exists and return a kubeconfig with a token for it (24 hours)."""
        account = {"name": service_account, "namespace": namespace}
        self.api.create_namespaces([namespace])
        self.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        answer = self.api.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": TOKEN_SECONDS},
            },
        )
        path = self.run_directory / f"{namespace}-{service_account}.kubeconfig"
        return self._credentials(answer["status"]["token"]).write(path)

    def audit_events(self) -> Iterator[audit.AuditEvent]:
        """Requests that the API server has completed so far, oldest first."""
        return audit.read(self._files.audit_log)

    def aggregate(
        self,
        namespace: str,
        service: str,
        port: int,
        *,
        ca_bundle: bytes | None = None,
        api_service: str = EXTERNAL_METRICS,
    ) -> None:
        """Route an aggregated API to a TLS server on this loopback port.

        Without kube-proxy a Service of type ExternalName to `localhost` does it. Call it again to move to another port.

        Args:
            namespace: namespace of the Service, made when missing.
            service: name of the Service.
            port: loopback port of the TLS server.
            ca_bundle: PEM of who signed its certificate; without it, verification is off.
            api_service: name of the APIService, `VERSION.GROUP`.
        """
        self.api.create_namespaces([namespace])
        self.api.apply(*control_plane_flags.aggregation_objects(namespace, service, port, ca_bundle, api_service))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _credentials(self, token: str) -> Credentials:
        return Credentials(self.url, self._authority_pem, token)

    def _describe(self, binaries: Path) -> None:
        """Say how each part is run; `_parts` is in the order in which they are stopped."""
        logs = self.run_directory
        self.etcd = ManagedProcess(
            "etcd",
            [binaries / "etcd", *control_plane_flags.etcd(self._ports, self._files)],
            log=logs / "etcd.log",
            grace_seconds=STOP_SECONDS,
        )
        api_server_flags = control_plane_flags.api_server(self._ports, self._files)
        self.api_server = ManagedProcess(
            "kube-apiserver",
            [binaries / "kube-apiserver", *api_server_flags, *self.api_server_flags],
            log=logs / "kube-apiserver.log",
            grace_seconds=API_SERVER_STOP_SECONDS,
        )
        manager_kubeconfig = self.kubeconfig_for_user("controller-manager")
        manager_flags = control_plane_flags.controller_manager(
            self._files, manager_kubeconfig, self.hpa, self.controllers
        )
        self.controller_manager = ManagedProcess(
            "kube-controller-manager",
            [binaries / "kube-controller-manager", *manager_flags, *self.controller_manager_flags],
            log=logs / "kube-controller-manager.log",
            grace_seconds=STOP_SECONDS,
        )
        self._parts = [self.controller_manager, self.api_server, self.etcd]

    def _controllers_work(self) -> bool:
        """Whether the service account controller has done its first work; the manager serves no health port here."""
        try:
            self.api.get("/api/v1/namespaces/default/serviceaccounts/default")
        except (ApiError, OSError):
            return False
        return True


def _write_files(folder: Path) -> ControlPlaneFiles:
    """Make certificates, keys and policies anew."""
    certificates = folder / "certificates"
    shutil.rmtree(certificates, ignore_errors=True)
    authority = CertificateAuthority(certificates / "cluster", "testbed Kubernetes CA")
    front_proxy = CertificateAuthority(certificates / "front-proxy", "testbed front-proxy CA")
    files = ControlPlaneFiles(
        folder=folder,
        ca=authority.certificate,
        serving=authority.issue("kube-apiserver"),
        front_proxy_ca=front_proxy.certificate,
        front_proxy_client=front_proxy.issue("front-proxy-client"),
        service_accounts=write_signing_key(certificates / "service-accounts", "service-accounts"),
    )
    files.audit_policy.write_text(control_plane_flags.AUDIT_POLICY)
    return files
