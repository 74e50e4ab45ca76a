"""Write what of charts/wakegate and manifests is made from elsewhere; `--check` fails where a file is stale.

`README.md` and `values.schema.json` come from the comments of `values.yaml`; the roles, the CRD and the alerts from the
manifests; the admission policy, which both have, from the table of annotations.
Run as ``python -m scripts.generate_chart [--check]``, or by ``make docs`` and
``make check``.

A value's comment begins with ``# -- ``; ``# @enum`` names what is allowed, ``# @settings`` whose settings a map takes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

import gateway.settings
from activator.settings import Settings
from activator.specs import admission
from scripts.dashboard import dashboard

REPOSITORY = Path(__file__).resolve().parents[1]
MANIFESTS = REPOSITORY / "manifests"
CHART = REPOSITORY / "charts" / "wakegate"

SETTINGS = {
    "activator": tuple(field.name for field in fields(Settings)),
    "gateway": tuple(field.name for field in fields(gateway.settings.Settings)),
}
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]+):")
_NAMES = {list: "list", dict: "object", bool: "bool", int: "int", str: "string"}
_TYPES = {list: "array", dict: "object", bool: "boolean", int: "integer", str: "string"}


@dataclass(frozen=True)
class Value:
    """One documented value.

    Attributes:
        path: keys from the outside in.
        default: as parsed.
        text: what it is for.
        allowed: the only values, where they are few.
        settings: whose settings the map takes.
    """

    path: tuple[str, ...]
    default: Any
    text: str
    allowed: tuple[Any, ...] = ()
    settings: str = ""


def values() -> tuple[Value, ...]:
    """Return every documented value of values.yaml, in its order."""
    source = (CHART / "values.yaml").read_text()
    parsed = yaml.safe_load(source)
    found: list[Value] = []
    path: list[str] = []
    comment: list[str] = []
    for line in source.splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("# "))
        elif (match := _KEY.match(line)) is not None:
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            if comment:
                found.append(_value(tuple(path), parsed, comment))
            comment = []
    return tuple(found)


def _value(path: tuple[str, ...], parsed: Any, comment: list[str]) -> Value:
    default = parsed
    for key in path:
        default = default[key]
    allowed: tuple[Any, ...] = ()
    settings = ""
    for line in comment:
        if line.startswith("@enum "):
            allowed = tuple(yaml.safe_load(word) for word in line.split()[1:])
        elif line.startswith("@settings "):
            settings = line.split()[1]
    text = " ".join(line.removeprefix("-- ") for line in comment if not line.startswith("@"))
    return Value(path, default, text, allowed, settings)


def readme() -> str:
    """Return the chart's README."""
    lines = [
        "# wakegate",
        "",
        "<!-- Made from values.yaml by scripts/generate_chart.py; do not edit. -->",
        "",
        "Scale-to-zero for Kafka consumers on Kubernetes.",
        "What each way of installing means is told in [docs/install.md](../../docs/install.md).",
        "This chart installs the same objects as the manifests there, which a test compares.",
        "",
        "```console",
        "$ helm install wakegate charts/wakegate --namespace wakegate-system --create-namespace \\",
        "    --set image.registry=registry.example.com --set settings.bootstrap_servers=kafka.kafka:9092",
        "$ helm test wakegate --namespace wakegate-system",
        "```",
        "",
        "A cluster has one wakegate, or each namespace its own (`rbac.namespaced`): its objects have fixed names.",
        "Values that mean the same in KEDA's chart have the same names here.",
        "",
        "| value | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for value in values():
        default = json.dumps(value.default)
        allowed = f" Allowed: {', '.join(f'`{json.dumps(word)}`' for word in value.allowed)}." if value.allowed else ""
        name = ".".join(value.path)
        lines.append(f"| `{name}` | {_NAMES[type(value.default)]} | `{default}` | {value.text}.{allowed} |")
    return "\n".join([*lines, ""])


def schema() -> str:
    """Return values.schema.json: every value with its type, and no other."""
    root: dict[str, Any] = {"$schema": "http://json-schema.org/draft-07/schema#", **_closed()}
    # Helm itself hands a subchart's values this one.
    root["properties"]["global"] = {"type": "object"}
    for value in values():
        place = root
        for key in value.path[:-1]:
            place = place["properties"].setdefault(key, _closed())
        place["properties"][value.path[-1]] = _schema_of(value)
    return json.dumps(root, indent=2) + "\n"


def _closed() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _schema_of(value: Value) -> dict[str, Any]:
    found: dict[str, Any] = {"description": value.text}
    if value.allowed:
        return {**found, "enum": list(value.allowed)}
    found["type"] = _TYPES[type(value.default)]
    if value.settings:
        kinds = {"type": ["string", "integer", "number", "boolean"]}
        return {**found, "additionalProperties": False, "properties": dict.fromkeys(SETTINGS[value.settings], kinds)}
    if found["type"] == "integer":
        found["minimum"] = 0
    return found


ROLES = (
    ("base/rbac.yaml", ""),
    ("base/rbac-own-namespace.yaml", ""),
    ("base/rbac-cluster.yaml", "not .Values.rbac.namespaced"),
    ("components/self-made-certificate/rbac.yaml", 'eq (include "wakegate.certificate" .) "self-made"'),
    ("components/front-proxy-reader/rolebinding.yaml", ""),
    ("components/secrets-reader/rbac.yaml", ".Values.rbac.secretsReader"),
)
"""Where the roles stand, and when they are wanted."""


def roles() -> str:
    """Return the template of every role and binding, with the reason of each verb."""
    parts = [
        "{{- /* Made from manifests/ by scripts/generate_chart.py; do not edit. */ -}}",
        "{{- if .Values.rbac.create }}",
    ]
    for name, wanted in ROLES:
        documents = (MANIFESTS / name).read_text().rstrip().split("\n---\n")
        templates = [f"---\n{_role(document)}" for document in documents]
        parts += [f"{{{{- if {wanted} }}}}", *templates, "{{- end }}"] if wanted else templates
    return "\n".join([*parts, "{{- end }}", ""])


def _role(document: str) -> str:
    """Turn one role or binding of the manifests into a template."""
    parsed = yaml.safe_load(document)
    kind, name = parsed["kind"], parsed["metadata"]["name"]
    text = document
    if name == "wakegate":  # what it may do in the namespaces it manages: one, or all
        text = re.sub(r"^(\s*kind: )ClusterRole$", r'\1{{ include "wakegate.roleKind" . }}', text, flags=re.MULTILINE)
        text = re.sub(
            r"^kind: ClusterRoleBinding$", 'kind: {{ include "wakegate.roleKind" . }}Binding', text, flags=re.MULTILINE
        )
        place = "  {{- if .Values.rbac.namespaced }}\n  namespace: {{ .Release.Namespace }}\n  {{- end }}\n"
    elif kind.startswith("Cluster") or "namespace" in parsed["metadata"]:
        place = ""
    else:
        place = "  namespace: {{ .Release.Namespace }}\n"
    if parsed["metadata"].get("namespace") == "kube-system":  # as overlays/namespaced: each of several has its own
        several = "{{ if .Values.rbac.namespaced }}-{{ .Release.Namespace }}{{ end }}"
        text = re.sub(rf"^  name: {name}$", f"  name: {name}{several}", text, count=1, flags=re.MULTILINE)
    labels = '  labels:\n    {{- include "wakegate.labels" . | nindent 4 }}\n'
    text = re.sub(r"^  labels:\n(?:    .*\n)+", lambda _: place + labels, text, flags=re.MULTILINE)
    return re.sub(
        r"^subjects:\n(?:.*\n?)+\Z",
        'subjects:\n  {{- include "wakegate.subjects" . | nindent 2 }}',
        text,
        flags=re.MULTILINE,
    )


def crd() -> str:
    """Return the CRD, which Helm installs first, and neither upgrades nor deletes."""
    return (MANIFESTS / "crds" / "scaletarget.yaml").read_text()


def alerts() -> str:
    """Return the groups of the PrometheusRule."""
    document = yaml.safe_load((MANIFESTS / "components" / "prometheusrule" / "prometheusrule.yaml").read_text())
    return yaml.safe_dump(document["spec"], sort_keys=False, width=200)


def admission_policy() -> str:
    """Return the admission policy and its binding."""
    header = "# Made from activator/specs/annotations.py by scripts/generate_chart.py; do not edit.\n"
    return header + yaml.safe_dump_all(admission.documents(), sort_keys=False, width=200)


FILES = {
    "charts/wakegate/README.md": readme,
    "charts/wakegate/values.schema.json": schema,
    "charts/wakegate/templates/rbac.yaml": roles,
    "charts/wakegate/crds/scaletarget.yaml": crd,
    "charts/wakegate/files/alerts.yaml": alerts,
    "charts/wakegate/files/admission-policy.yaml": admission_policy,
    "charts/wakegate/files/dashboard.json": dashboard,
    "manifests/admission-policy/policy.yaml": admission_policy,
    "manifests/components/grafana-dashboard/dashboard.json": dashboard,
}


def main() -> int:
    """Write or check every file; return 1 where a check finds a stale one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is stale")
    check = parser.parse_args().check
    stale = [
        name
        for name, make in FILES.items()
        if not (REPOSITORY / name).exists() or (REPOSITORY / name).read_text() != make()
    ]
    for name in stale:
        if check:
            sys.stderr.write(f"{name} is stale: run 'make docs'\n")
            continue
        (REPOSITORY / name).parent.mkdir(parents=True, exist_ok=True)
        (REPOSITORY / name).write_text(FILES[name]())
        sys.stdout.write(f"written: {name}\n")
    return int(bool(stale) and check)


if __name__ == "__main__":
    sys.exit(main())
