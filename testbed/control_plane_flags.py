"""Command lines, policies and manifests of the control plane: data, no processes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from testbed.certificates import KeyPair

ADMINISTRATORS = ("admin", "controller-manager", "kubelet")
"""Static users of the group system:masters; a name each, so that the audit log tells them apart."""

CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
)
"""Those that workloads, autoscaling and owner references need. Each fetches a token for its own service account at 20
requests a second: all of them take five seconds longer to start than these."""

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  # What tests ask about: who scaled what to which number, and what the HPA and the custom resources said.
  - level: RequestResponse
    verbs: [create, update, patch, delete]
    resources:
      - {group: apps, resources: ["*/scale"]}
      - {group: autoscaling}
      - {group: wakegate.dev}
      - {group: keda.sh}
  # What the HPA controller saw when it decided: its status.replicas is what the tolerance is measured against.
  - level: RequestResponse
    users: ["system:serviceaccount:kube-system:horizontal-pod-autoscaler"]
    verbs: [get]
    resources:
      - {group: apps, resources: ["*/scale"]}
  # Reading scale and HPAs is counted, for load figures; so is every look at an external metric.
  - level: Metadata
    resources:
      - {group: apps, resources: ["*/scale"]}
      - {group: autoscaling}
      - {group: external.metrics.k8s.io}
  # Any other write, leases and secrets included: that it happened, not what it said.
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
  # All that an installed product does: what it uses is compared with what it is granted.
  - level: Metadata
    userGroups: ["system:serviceaccounts:wakegate-system", "system:serviceaccounts:wakegate"]
  - level: None
"""


@dataclass(frozen=True)
class HpaFlags:
    """The HPA controller's times and pace, as its flags take them; short times, for tests that must end soon."""

    sync_period: str = "2s"
    downscale_stabilization: str = "10s"
    """Only for HPAs without `behavior`: those name their own window."""
    concurrent_syncs: int = 5
    requests_a_second: int = 20
    """To the API server; half as many more at once (Kubernetes' defaults are 20 and 30)."""

    @classmethod
    def stock(cls) -> HpaFlags:
        """Kubernetes' defaults."""
        return cls(sync_period="15s", downscale_stabilization="5m0s")


@dataclass(frozen=True)
class ControlPlanePorts:
    """Loopback ports."""

    etcd_client: int
    etcd_peer: int
    api_server: int


@dataclass(frozen=True)
class ControlPlaneFiles:
    """Where everything that the parts read and write lies."""

    folder: Path
    ca: Path
    serving: KeyPair
    front_proxy_ca: Path
    front_proxy_client: KeyPair
    service_accounts: KeyPair

    @property
    def tokens(self) -> Path:
        """Static tokens."""
        return self.folder / "tokens.csv"

    @property
    def audit_policy(self) -> Path:
        """What is written to the audit log."""
        return self.folder / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line."""
        return self.folder / "audit.log"


def write_token_file(path: Path, tokens: Mapping[str, str]) -> None:
    """Write static tokens: token, user, uid, groups."""
    path.touch(mode=0o600)
    path.write_text("".join(f'{token},{user},{user},"system:masters"\n' for user, token in tokens.items()))


def etcd(ports: ControlPlanePorts, files: ControlPlaneFiles) -> list[str]:
    """Flags of a lone etcd; without fsync, because a test's data need not survive a power cut."""
    client = f"http://{LOOPBACK}:{ports.etcd_client}"
    peer = f"http://{LOOPBACK}:{ports.etcd_peer}"
    return [
        "--name=testbed",
        f"--data-dir={files.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=testbed={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(ports: ControlPlanePorts, files: ControlPlaneFiles) -> list[str]:
    """Flags of kube-apiserver: TLS, static tokens, RBAC, aggregation, audit."""
    return [
        f"--etcd-servers=http://{LOOPBACK}:{ports.etcd_client}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={ports.api_server}",
        f"--cert-dir={files.folder / 'certificates'}",
        f"--tls-cert-file={files.serving.certificate}",
        f"--tls-private-key-file={files.serving.key}",
        f"--client-ca-file={files.ca}",
        f"--token-auth-file={files.tokens}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={files.service_accounts.certificate}",
        f"--service-account-signing-key-file={files.service_accounts.key}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        "--disable-admission-plugins=ServiceAccount",  # pods need no token here, and no wait for one
        f"--requestheader-client-ca-file={files.front_proxy_ca}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={files.front_proxy_client.certificate}",
        f"--proxy-client-key-file={files.front_proxy_client.key}",
        f"--audit-policy-file={files.audit_policy}",
        f"--audit-log-path={files.audit_log}",
        "--audit-log-maxsize=10000",  # MiB: never rotated, so that no test misses a line
        "--endpoint-reconciler-type=none",  # a loopback address is refused as an endpoint, again and again
        "--profiling=false",
    ]


def controller_manager(
    files: ControlPlaneFiles, kubeconfig: Path, hpa: HpaFlags, controllers: Sequence[str] = CONTROLLERS
) -> list[str]:
    """Flags of kube-controller-manager: each controller calls under its own service account, as in a real cluster."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        f"--controllers={','.join(controllers)}",
        f"--service-account-private-key-file={files.service_accounts.key}",
        f"--root-ca-file={files.ca}",
        "--use-service-account-credentials=true",
        "--secure-port=0",
        f"--horizontal-pod-autoscaler-sync-period={hpa.sync_period}",
        f"--horizontal-pod-autoscaler-downscale-stabilization={hpa.downscale_stabilization}",
        f"--concurrent-horizontal-pod-autoscaler-syncs={hpa.concurrent_syncs}",
        f"--kube-api-qps={hpa.requests_a_second}",
        f"--kube-api-burst={hpa.requests_a_second * 3 // 2}",
    ]


def aggregation_objects(
    namespace: str, service: str, port: int, ca_bundle: bytes | None, api_service: str
) -> list[dict[str, Any]]:
    """The Service and the APIService that lead an aggregated API to a loopback port."""
    version, group = api_service.split(".", 1)
    trust: dict[str, Any] = {"insecureSkipTLSVerify": True}
    if ca_bundle:
        trust = {"caBundle": base64.b64encode(ca_bundle).decode()}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service, "namespace": namespace},
            "spec": {
                "type": "ExternalName",
                "externalName": "localhost",
                "ports": [{"port": port, "targetPort": port, "protocol": "TCP"}],
            },
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": api_service},
            "spec": {
                "group": group,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"name": service, "namespace": namespace, "port": port},
                **trust,
            },
        },
    ]
