"""The installed Deployment: which settings its Pods run with, and which Secret a file of theirs comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.doctor.facts import InstalledSettings, Unknown
from activator.doctor.needs import of_account
from activator.errors import SettingsError
from activator.settings import ENVIRONMENT_PREFIX, Keda, Settings
from activator.settings import read as read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from activator.doctor.facts import Document, Permission

_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


@dataclass(frozen=True, slots=True)
class Installation:
    """The installed Deployment and the settings that it runs with."""

    namespace: str
    deployment: Document | Unknown | None
    settings: Settings
    problem: str = ""
    """Why the settings cannot be read; they are the defaults then."""
    account: str = "wakegate"
    unread: str = ""
    """Why not all of the settings could be looked at; what was not is defaults then."""

    @property
    def account_name(self) -> str:
        """User name of its ServiceAccount at the API server."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"


def environment_of(deployment: Document, config: Mapping[str, str]) -> dict[str, str]:
    """Put together the environment of a Deployment's Pods, as far as it is ours and known before they run."""
    metadata = deployment["metadata"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    known = {"POD_NAMESPACE": metadata["namespace"]}
    if takes_config(deployment):
        known |= config
    for variable in container.get("env") or ():
        if (value := _value(variable, metadata["namespace"])) is not None:
            # Kubernetes expands what stands before; a reference to what is not known stays as it is.
            known[variable["name"]] = _REFERENCE.sub(lambda match: known.get(match[1], match[0]), value)
    return {name: value for name, value in known.items() if name.startswith(ENVIRONMENT_PREFIX)}


def takes_config(deployment: Document) -> bool:
    """Whether a Deployment's Pods have settings from ConfigMap `wakegate`."""
    return bool(deployment["spec"]["template"]["spec"]["containers"][0].get("envFrom"))


def _value(variable: Mapping[str, Any], namespace: str) -> str | None:
    if "value" in variable:
        return str(variable["value"])
    path = (variable.get("valueFrom") or {}).get("fieldRef", {}).get("fieldPath")
    return namespace if path == "metadata.namespace" else None


def installation_of(
    namespace: str, deployment: Document | Unknown | None, environment: Mapping[str, str], unread: str = ""
) -> Installation:
    """Read an installation; a setting that cannot be used, or not be looked at, is part of the answer."""
    spec = {} if isinstance(deployment, Unknown | None) else deployment["spec"]["template"]["spec"]
    account = spec.get("serviceAccountName", "wakegate")
    try:
        settings, problem = read_settings(environment=environment), ""
    except SettingsError as error:
        settings, problem = Settings(), str(error)
    return Installation(namespace, deployment, settings, problem, account, unread)


def installed_settings(installed: Installation) -> InstalledSettings:
    """Keep of the settings what the checks look at."""
    settings = installed.settings
    return InstalledSettings(
        handoff=settings.handoff,
        metrics_api_service=settings.metrics_api_service,
        lease=settings.lease,
        leader_election=settings.leader_election,
        watch_namespace=settings.watch_namespace,
        shared_certificate=settings.metrics_api_shared_certificate,
        names_itself=bool(settings.identity),
        problem=installed.problem,
        unread=installed.unread,
    )


def needs(settings: Settings) -> Iterator[Permission]:
    """Name everything that the account of an installation with these settings is to be allowed."""
    shared = settings.metrics_api_shared_certificate
    certificate = (settings.metrics_api_service[0], shared) if shared else None
    managed = settings.keda is not Keda.OFF
    return of_account(settings.lease, settings.watch_namespace, certificate, scaled_objects=managed)


def secret_of(deployment: Document | Unknown | None, path: str) -> str | None:
    """Tell which Secret a file of the Pod comes from."""
    if isinstance(deployment, Unknown | None):
        return None
    spec = deployment["spec"]["template"]["spec"]
    secrets = {item["name"]: item["secret"].get("secretName") for item in spec.get("volumes") or () if "secret" in item}
    mounts = spec["containers"][0].get("volumeMounts") or ()
    return next(
        (secrets.get(mount["name"]) for mount in mounts if path.startswith(f"{mount['mountPath'].rstrip('/')}/")), None
    )
