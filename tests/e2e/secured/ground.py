"""What the cases of this folder share: rights, Secrets, and a search through all that is told."""

from __future__ import annotations

import base64
import datetime as dt
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.kafka.key_forms import FORMS, PASSWORD

if TYPE_CHECKING:
    from testbed.certificates import CertificateAuthority
    from testbed.stage import Stage, Wakegate, Workload

USER = "orders"
CANARY = "c4n4ry"
"""In every secret value, so that one search through all that is told finds any of them."""
FIRST, SECOND, WRONG = f"{CANARY}-first", f"{CANARY}-second", f"{CANARY}-wrong"
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
EXPIRED = "key cert, which is valid until 2020-01-01T00:00:00Z (TLS alert: "
ELSEWHERE = "kafka.elsewhere.svc"
"""The only name that one listener's certificate is made out to."""


OBJECTS = (
    "/api/v1/{}/events",
    "/apis/wakegate.dev/v1alpha1/{}/scaletargets",
    "/apis/keda.sh/v1alpha1/{}/scaledobjects",
)
"""Where wakegate writes what it has to tell."""


def grant(stage: Stage, role: str, *, to: Stage | None = None) -> None:
    """Bind a ClusterRole in the stage's namespace alone, to the stage's wakegate or to that of another one."""
    stage.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": stage.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "wakegate", "namespace": (to or stage).namespace}],
        }
    )


def start(stage: Stage, *others: Stage, keda: str = "auto") -> Wakegate:
    """Start wakegate under its own account, managing its own namespace and those of others by itself."""
    kubeconfig = stage.bed.control_plane.kubeconfig_for(stage.namespace, "wakegate")
    for managed in (stage, *others):
        grant(managed, "wakegate", to=stage)
    account = {"kind": "ServiceAccount", "name": "wakegate", "namespace": stage.namespace}
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    stage.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": stage.namespace, "namespace": "kube-system"},
            "roleRef": {**group, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
            "subjects": [account],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": stage.namespace},
            "roleRef": {**group, "kind": "ClusterRole", "name": "wakegate-metrics-api-owner"},
            "subjects": [account],
        },
    )
    namespaces = ",".join(managed.namespace for managed in (stage, *others))
    wakegate = stage.wakegate(leader_election="false", keda=keda, watch_namespace=namespaces)
    wakegate.process.env["KUBECONFIG"] = str(kubeconfig)
    wakegate.start()
    return wakegate


def put_secret(stage: Stage, name: str, **data: str) -> None:
    """Make a Secret of these keys and no other, or put it in the place of what is there."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": stage.namespace}
    stage.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})


def login(stage: Stage, password: str) -> dict[str, str]:
    """The keys of a Secret for SCRAM-SHA-512 over TLS."""
    ca = stage.bed.kafka.authority.certificate.read_text()
    return {"sasl": "scram_sha512", "username": USER, "password": password, "tls": "enable", "ca": ca}


def everything_told(stage: Stage, wakegate: Wakegate, *others: Stage) -> str:
    """Log, Events, status, metrics, dashboard and spans of a stage, and of others that its wakegate manages."""
    log = wakegate.process.log.read_text()
    port = next(line.rsplit(" ", 1)[1] for line in log.splitlines() if "dashboard on port" in line)
    told = [log, wakegate.get("/metrics")[1]]
    for page in ("/", "/api/targets"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
            told.append(answer.read().decode())
    for managed in (stage, *others):
        told.extend(str(stage.api.get(path.format(f"namespaces/{managed.namespace}"))) for path in OBJECTS)
    told.append(str(stage.bed.jaeger.traces(stage.namespace)))
    return "\n".join(told)


def client_certificate(
    stage: Stage,
    *,
    form: str = "EC, PKCS#8, PBES2",
    not_after: dt.datetime | None = None,
    authority: CertificateAuthority | None = None,
) -> dict[str, str]:
    """The keys of a Secret for mutual TLS, with a new key each time, by the brokers' authority or another one."""
    make, write, _ = FORMS[form]
    key = make()
    brokers = stage.bed.kafka.authority
    return {
        "tls": "enable",
        "ca": brokers.certificate.read_text(),
        "cert": (authority or brokers).certify(USER, key.public_key(), not_after=not_after),
        "key": write(key),
        "keyPassword": PASSWORD,
    }


def trigger_authentication(stage: Stage, name: str, *parameters: str, secret: str = "") -> dict[str, Any]:
    """Every parameter out of one Secret, by default that of the same name, under its own name as key.

    That is how the second document has it.
    """
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": name, "namespace": stage.namespace},
        "spec": {"secretTargetRef": [{"parameter": key, "name": secret or name, "key": key} for key in parameters]},
    }


def has_replicas(workload: Workload, count: int) -> bool:
    """Whether it is to have so many."""
    return workload.replicas() == count
