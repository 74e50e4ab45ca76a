"""Write the references below docs/ from the tables that the code itself uses; `--check` fails where one is stale.

Run as ``python -m scripts.generate_docs [--check]``, or by ``make docs`` and ``make check``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.model import Reason
from activator.core.naming import ANNOTATION_PREFIX
from activator.doctor.checks import CHECKS, CHECKS_BEFORE
from activator.settings import Settings, descriptions, environment_name
from activator.specs.annotated_triggers import PARAMETERS_BY_ANNOTATION
from activator.specs.annotations import TABLE
from activator.specs.credentials import PARAMETERS
from activator.specs.keda.scaled_object import OURS
from activator.specs.keda.table import ANNOTATIONS as KEDA_ANNOTATIONS
from activator.specs.keda.table import SPEC
from activator.specs.keda.triggers import ENTRY, TYPES
from activator.specs.profiles import MEANINGS, PROFILES
from activator.telemetry.attributes import attributes_markdown
from activator.telemetry.metrics_table import metrics_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.specs.keda.fields import Field

DOCS = Path(__file__).resolve().parents[1] / "docs"


def annotations_markdown() -> str:
    """Return the reference of all annotations."""
    lines = [
        "# Annotations",
        "",
        "Made from `activator/specs/annotations.py`; do not edit.",
        "On the Deployment or StatefulSet itself, not on its Pod template. Any one of them puts it under our care.",
        "A mistake is told in an Event and in its ScaleTarget, and the last valid ones stay in force.",
        "",
        "Durations take `30`, `30s`, `5m`, `1h`. Values are strings: write numbers and booleans in quotes.",
        "",
        "| annotation | value | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for row in TABLE:
        default = f"`{row.default}`" if row.default is not None else ""
        lines.append(f"| `{ANNOTATION_PREFIX}{row.name}` | {row.unit} | {default} | {row.doc} |")
    return "\n".join([*lines, "", *_triggers_lines(), *_profiles_lines()])


def _triggers_lines() -> list[str]:
    parameters = ", ".join(f"`{parameter}` from `{name}`" for name, parameter in PARAMETERS_BY_ANNOTATION.items())
    return [
        "## Triggers",
        "",
        "The list of a ScaledObject's `spec.triggers` ([its parameters](keda-compatibility.md#each-trigger)), in the",
        "place of `topic`:",
        "",
        "```yaml",
        "wakegate.dev/consumer-group: orders-workers",
        "wakegate.dev/triggers: |",
        "  - type: kafka",
        "    metadata: {topic: orders}",
        "  - type: kafka",
        '    metadata: {topic: returns, lagThreshold: "100"}',
        "  - type: cron",
        '    metadata: {timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desiredReplicas: "2"}',
        "```",
        "",
        "Any one of them wakes it, and the largest count that any asks for holds.",
        f"What a Kafka trigger leaves out is taken from the annotation that means the same: {parameters}.",
        "So is who says how to log in, where it has no `authenticationRef`; `isolation-level` holds for all.",
        "Parameters that end in `FromEnv` are for ScaledObjects alone.",
        "",
    ]


def _profiles_lines() -> list[str]:
    lines = [
        "## Profiles",
        "",
        "Beside `wakegate.dev/profile` the defaults are these; whatever is annotated wins, each by itself.",
        "A bound of the profile gives way to a written one that contradicts it (`max-replica-count: 1` with `steady`).",
        "",
    ]
    for profile, entries in PROFILES.items():
        lines += [f"### {profile}", "", MEANINGS[profile], "", "| annotation | default | why |", "| --- | --- | --- |"]
        lines += [f"| `{entry.annotation}` | `{entry.value}` | {entry.why} |" for entry in entries]
        lines.append("")
    return lines


def settings_markdown() -> str:
    """Return the reference of all settings."""
    lines = [
        "# Settings",
        "",
        "Made from `activator/settings.py`; do not edit.",
        "Each is a flag of `wakegate run` and an environment variable; the flag wins.",
        "The cluster is found by `KUBECONFIG` or the service account.",
        "Telemetry is set by the standard `OTEL_*` variables only, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.",
        "",
        "| flag | environment | meaning |",
        "| --- | --- | --- |",
    ]
    for setting in fields(Settings):
        text = " ".join(descriptions()[setting.name].split())
        lines.append(f"| `--{setting.name.replace('_', '-')}` | `{environment_name(setting.name)}` | {text} |")
    return "\n".join([*lines, ""])


def reasons_markdown() -> str:
    """Return the reference of all reason codes."""
    lines = [
        "# Reasons",
        "",
        "Made from `activator/core/model/`; do not edit.",
        "Every decision ends with one of these.",
        "It stands in the Event, the span (`wakegate.reason`), the log, the metrics and `kubectl get scaletargets`.",
        "",
        "| code | meaning |",
        "| --- | --- |",
    ]
    lines += [f"| `{reason.value}` | {reason.meaning} |" for reason in Reason]
    return "\n".join([*lines, ""])


_BEGIN, _END = "<!-- made from activator/doctor/checks.py: begin -->\n", "<!-- end -->\n"


def doctor_markdown() -> str:
    """Return the doctor's page with the list of its checks made anew; what explains each is written by hand."""
    before, _, rest = (DOCS / "doctor.md").read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = ["| section | check | asks | skipped after a failure of |", "| --- | --- | --- | --- |"]
    for check in (*CHECKS, *(check for check in CHECKS_BEFORE if check not in CHECKS)):
        only = "" if check in CHECKS else " (`--pre`)"
        after_ids = ", ".join(f"`{id_}`" for id_ in check.after)
        rows.append(f"| {check.section}{only} | [`{check.id}`](#{check.id}) | {check.asks} | {after_ids} |")
    return before + _BEGIN + "\n".join([*rows, ""]) + _END + after


def credentials_markdown() -> str:
    """Return the reference of all parameters of credentials."""
    lines = [
        "# Credentials: parameters",
        "",
        "Made from `activator/specs/credentials.py`; do not edit.",
        "Keys of a Secret that `wakegate.dev/authentication-secret` names, parameters of a TriggerAuthentication,",
        "and files of a mounted Secret (`--kafka-credentials`): all the same, by KEDA's names.",
        "How they are used: [authentication.md](authentication.md).",
        "White space around a value is no part of it, and an empty one is absent.",
        "",
        "| parameter | meaning |",
        "| --- | --- |",
    ]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in PARAMETERS.items()]
    return "\n".join([*lines, ""])


def keda_markdown() -> str:
    """Return what becomes of every field of a ScaledObject."""
    lines = [
        "# KEDA compatibility",
        "",
        "Made from `activator/specs/keda/`; do not edit.",
        "A ScaledObject (`keda.sh/v1alpha1`) is read by these tables.",
        "`same`: as KEDA does. `better`: the same wish, with less of what goes wrong.",
        "`no effect`: accepted, and said in the Ready condition.",
        "`refused`: named in the Ready condition, with what is allowed.",
        "What is in none of the tables is refused by name as well, with the nearest name that is.",
        "How a target behaves where KEDA would behave otherwise is in [decisions/0010](decisions/0010-keda-rules.md).",
        "",
    ]
    lines += ["## spec", "", *_keda_rows(SPEC, "spec.")]
    lines += ["## Annotations", "", *_keda_rows(KEDA_ANNOTATIONS)]
    ours = ", ".join(f"`{ANNOTATION_PREFIX}{name}`" for name in OURS)
    lines += [f"As on a workload: {ours}.", ""]
    lines += ["## Each trigger", "", *_keda_rows(ENTRY)]
    for kind, table in TYPES.items():
        if kind != "memory":
            title = "cpu and memory" if kind == "cpu" else kind
            lines += [f"## Parameters of {title}", "", *_keda_rows(table)]
    return "\n".join(lines)


def _keda_rows(table: Sequence[Field], prefix: str = "") -> list[str]:
    rows = [
        f"| `{prefix}{row.path}`{' (also `FromEnv`)' if row.from_environment else ''} | {row.default} | {row.allowed} "
        f"| {row.treatment} | {row.doc} |"
        for row in table
    ]
    return ["| field | default | allowed | here | |", "| --- | --- | --- | --- | --- |", *rows, ""]


PAGES = {
    "credentials.md": credentials_markdown,
    "keda-compatibility.md": keda_markdown,
    "annotations.md": annotations_markdown,
    "settings.md": settings_markdown,
    "reasons.md": reasons_markdown,
    "metrics.md": metrics_markdown,
    "attributes.md": attributes_markdown,
    "doctor.md": doctor_markdown,
}


def main() -> int:
    """Write or check every page; return 1 where a check finds a stale one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    check = parser.parse_args().check
    stale = [name for name, page in PAGES.items() if not (DOCS / name).exists() or (DOCS / name).read_text() != page()]
    if not check:
        for name in stale:
            (DOCS / name).write_text(PAGES[name]())
            sys.stdout.write(f"written: docs/{name}\n")
        return 0
    for name in stale:
        sys.stderr.write(f"docs/{name} is stale: run 'make docs'\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
