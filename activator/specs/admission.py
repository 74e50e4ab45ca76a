"""The annotation table as a ValidatingAdmissionPolicy: the same mistakes, told as they are applied.

Each parser of `values` has an expression in CEL beside it. What has none is not judged here, and told later as before.
Nothing is rejected that `annotations.parse` accepts.

Sources: Kubernetes, "Validating Admission Policy" (stable since 1.30), "Common Expression Language in Kubernetes".
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from activator.core.naming import ANNOTATION_PREFIX
from activator.specs import values
from activator.specs.annotations import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.specs.annotations import Annotation

NAME = "annotations.wakegate.dev"

_LABELS = {"app.kubernetes.io/name": "wakegate", "app.kubernetes.io/part-of": "wakegate"}
_MILLISECOND = timedelta(milliseconds=1)
_PORT = "s.trim().substring(s.trim().lastIndexOf(':') + 1)"
_HOST = "([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[[][0-9A-Fa-f:.]+[]])"
_OBJECT_NAME = "[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*"

_PLAIN: dict[Callable[[str], Any], str] = {
    values.text: "VALUE != ''",
    values.topic: "VALUE.matches('^[A-Za-z0-9._-]{1,249}$') && !(VALUE in ['.', '..'])",
    values.object_name: f"VALUE.size() <= 253 && VALUE.matches('^{_OBJECT_NAME}$')",
    values.switch: "VALUE.lowerAscii() in ['true', 'false']",
    values.idle_count: "VALUE.lowerAscii() in ['0', 'none']",
    values.bootstrap_servers: (
        "VALUE.split(',').exists(s, s.trim() != '') && VALUE.split(',').all(s, s.trim() == '' || "
        # The digits are few enough for int() once those in front that are zeros are gone.
        f"(s.trim().matches('^{_HOST}:[0-9]{{1,20}}$') && {_PORT}.matches('^0*[0-9]{{1,5}}$') && "
        f"int({_PORT}) >= 1 && int({_PORT}) <= 65535))"
    ),
}
"""Parser -> what holds of a value that it accepts; VALUE stands for the annotation's text, stripped."""

_MILLISECONDS = (("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000))


def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the policy and the binding that puts it in force for the whole cluster."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME, "labels": _LABELS},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        # Not their /scale: nothing here stands in the way of a wake.
                        "resources": ["deployments", "statefulsets"],
                    }
                ]
            },
            "matchConditions": [{"name": "annotations-of-ours-changed", "expression": _changed()}],
            "variables": [
                {"name": "a", "expression": _annotations("object")},
                {"name": "ours", "expression": f"variables.a.filter(k, k.startsWith('{ANNOTATION_PREFIX}'))"},
                *(_number(name, default) for name, default in _NUMBERS.items()),
            ],
            "validations": [_unknown(), *filter(None, map(_one, TABLE)), *_TOGETHER],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME, "labels": _LABELS},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return policy, binding


def expression(row: Annotation) -> str | None:
    """Return in CEL what holds of VALUE where a row's parser accepts it; None: that cannot be said."""
    match row.parse:
        case values.Integer(least=least):
            most = values.LARGEST_INTEGER
            return (
                "VALUE.size() <= 20 && VALUE.matches('^0*[0-9]{1,10}$') && "
                f"int(VALUE) >= {least} && int(VALUE) <= {most}"
            )
        case values.Duration(least=least):
            milliseconds = _in_milliseconds()
            return (
                "VALUE.matches('^0*[0-9]{1,11}(ms|s|m|h|d)?$') && VALUE.size() <= 22 && "
                f"{milliseconds} >= {least // _MILLISECOND} && "
                f"{milliseconds} <= {values.LONGEST_DURATION // _MILLISECOND}"
            )
        case values.OneOf(choices=choices):
            return f"VALUE in [{', '.join(repr(str(choice)) for choice in choices)}]"
    return _PLAIN.get(row.parse)


def _in_milliseconds() -> str:
    """Return VALUE, a duration, as a number; the longest unit's name that fits is looked for first."""
    found = "int(VALUE) * 1000"
    for unit, factor in reversed(_MILLISECONDS):
        found = f"VALUE.endsWith('{unit}') ? int(VALUE.replace('{unit}', '')) * {factor} : ({found})"
    return f"({found})"


def _annotations(which: str) -> str:
    return f"has({which}.metadata.annotations) ? {which}.metadata.annotations : {{}}"


def _changed() -> str:
    """Return when the annotations are looked at: a controller must not be held up by what was there before."""
    new, old = (f"({_annotations(which)})" for which in ("object", "oldObject"))
    ours = f"k.startsWith('{ANNOTATION_PREFIX}')"
    return (
        f"request.operation == 'CREATE' || {new}.exists(k, {ours} && !(k in {old} && {old}[k] == {new}[k])) || "
        f"{old}.exists(k, {ours} && !(k in {new}))"
    )


def _unknown() -> dict[str, str]:
    known = "[" + ", ".join(f"'{ANNOTATION_PREFIX}{row.name}'" for row in TABLE) + "]"
    return {
        "expression": f"variables.ours.all(k, k in {known})",
        "messageExpression": (
            f"'there is no annotation ' + variables.ours.filter(k, !(k in {known})).join(', ') + "
            "'; docs/annotations.md lists those that there are'"
        ),
    }


def _one(row: Annotation) -> dict[str, str] | None:
    holds = expression(row)
    if holds is None:
        return None
    key = f"'{ANNOTATION_PREFIX}{row.name}'"
    try:
        row.parse("\N{REPLACEMENT CHARACTER} ")
        allowed = "a text that is not empty"
    except ValueError as error:
        allowed = str(error)
    return {
        "expression": f"!({key} in variables.a) || ({holds.replace('VALUE', f'variables.a[{key}].trim()')})",
        "messageExpression": (
            f"'{ANNOTATION_PREFIX}{row.name} is \"' + variables.a[{key}] + '\"; allowed: {_quoted(allowed)}'"
        ),
    }


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


_NUMBERS = {row.name: row.default for row in TABLE if row.name in {"min-replica-count", "max-replica-count"}}


def _number(name: str, default: str | None) -> dict[str, str]:
    """Return a variable with a count, or its default where it is left out; -1 where it is no number, told elsewhere."""
    value = f"variables.a['{ANNOTATION_PREFIX}{name}'].trim()"
    read = f"{value}.matches('^0*[0-9]{{1,10}}$') ? int({value}) : -1"
    return {
        "name": name.partition("-")[0],
        # A profile has bounds of its own, which give way to what is written.
        "expression": (
            f"'{ANNOTATION_PREFIX}{name}' in variables.a ? ({read}) : "
            f"('{ANNOTATION_PREFIX}profile' in variables.a ? -1 : {default})"
        ),
    }


def _says(name: str, value: str) -> str:
    key = f"'{ANNOTATION_PREFIX}{name}'"
    return f"({key} in variables.a && variables.a[{key}].trim().lowerAscii() == '{value}')"


_TOGETHER = (
    {
        "expression": "variables.min == -1 || variables.max == -1 || variables.min <= variables.max",
        "messageExpression": (
            f"'{ANNOTATION_PREFIX}min-replica-count is ' + string(variables.min) + "
            "'; allowed: no more than max-replica-count, which is ' + string(variables.max)"
        ),
    },
    {
        "expression": f"!(variables.min == 0 && {_says('idle-replica-count', 'none')})",
        "message": f"{ANNOTATION_PREFIX}min-replica-count is 0; allowed: at least 1 where idle-replica-count is none",
    },
    {
        "expression": f"!({_says('allow-idle-consumers', 'true')} && {_says('limit-to-partitions-with-lag', 'true')})",
        "message": (
            f"{ANNOTATION_PREFIX}allow-idle-consumers is true; allowed: false where limit-to-partitions-with-lag is "
            "true: one lifts the cap, the other lowers it"
        ),
    },
    {
        "expression": (
            f"!('{ANNOTATION_PREFIX}authentication-secret' in variables.a && "
            f"'{ANNOTATION_PREFIX}authentication-ref' in variables.a)"
        ),
        "message": f"{ANNOTATION_PREFIX}authentication-ref: only without authentication-secret",
    },
)
"""Mistakes that only several annotations together make; as `annotations.parse` tells them."""
