"""HPA behavior (autoscaling/v2 HorizontalPodAutoscalerBehavior) as parsed YAML -> `core.model.Behavior`, and back.

What the user leaves out is filled in with Kubernetes' own defaults, so that it is always complete: an HPA without
behavior takes a legacy path in the controller that lifts a target that has just been woken to the highest
recommendation of the last five minutes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from activator.core.model import Behavior, ScalingPolicy, ScalingRules, SelectPolicy
from activator.errors import SpecError
from activator.specs.values import LARGEST_INTEGER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LONGEST_WINDOW_SECONDS = 3600
_LONGEST_PERIOD_SECONDS = 1800
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE]-?[0-9]{1,2})?")


def read_behavior(document: Any, where: str) -> Behavior:
    """Read a behavior mapping.

    Args:
        document: parsed YAML or JSON.
        where: its path, for messages.

    Raises:
        SpecError: the first mistake, with its path below `where`.
    """
    rules = _mapping(document, where, ("scaleUp", "scaleDown"))
    default = Behavior()
    return Behavior(
        scale_up=_read_rules(rules.get("scaleUp"), f"{where}.scaleUp", default.scale_up),
        scale_down=_read_rules(rules.get("scaleDown"), f"{where}.scaleDown", default.scale_down),
    )


def write_behavior(behavior: Behavior) -> dict[str, Any]:
    """Return the behavior as the API server takes it, every field written out."""
    return {"scaleUp": _write_rules(behavior.scale_up), "scaleDown": _write_rules(behavior.scale_down)}


def _write_rules(rules: ScalingRules) -> dict[str, Any]:
    written: dict[str, Any] = {
        "stabilizationWindowSeconds": int(rules.stabilization.total_seconds()),
        "selectPolicy": rules.select.value,
        "policies": [
            {"type": policy.type, "value": policy.value, "periodSeconds": int(policy.period.total_seconds())}
            for policy in rules.policies
        ],
    }
    if rules.tolerance is not None:
        written["tolerance"] = rules.tolerance
    return written


def _read_rules(document: Any, where: str, default: ScalingRules) -> ScalingRules:
    if document is None:
        return default
    fields = _mapping(document, where, ("stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance"))
    rules = default
    if (window := fields.get("stabilizationWindowSeconds")) is not None:
        seconds = _integer(window, f"{where}.stabilizationWindowSeconds", 0, _LONGEST_WINDOW_SECONDS)
        rules = replace(rules, stabilization=timedelta(seconds=seconds))
    if (select := fields.get("selectPolicy")) is not None:
        if select not in list(SelectPolicy):  # a list, because what stands there may not be hashable
            raise SpecError(f"{where}.selectPolicy", _shown(select), ", ".join(SelectPolicy))
        rules = replace(rules, select=SelectPolicy(select))
    if (policies := fields.get("policies")) is not None:
        rules = replace(rules, policies=tuple(_read_policies(policies, f"{where}.policies")))
    if (tolerance := fields.get("tolerance")) is not None:
        rules = replace(rules, tolerance=_tolerance(tolerance, f"{where}.tolerance"))
    return rules


def _read_policies(document: Any, where: str) -> Iterator[ScalingPolicy]:
    if not isinstance(document, list) or not document:
        raise SpecError(where, _shown(document), "a list of at least one policy")
    for index, entry in enumerate(document):
        place = f"{where}[{index}]"
        fields = _mapping(entry, place, ("type", "value", "periodSeconds"))
        kind = fields.get("type")
        if kind not in ("Pods", "Percent"):  # a tuple, for the same reason
            raise SpecError(f"{place}.type", _shown(kind), "Pods or Percent")
        value = _integer(fields.get("value"), f"{place}.value", 1, LARGEST_INTEGER)
        period = _integer(fields.get("periodSeconds"), f"{place}.periodSeconds", 1, _LONGEST_PERIOD_SECONDS)
        yield ScalingPolicy(kind, value, timedelta(seconds=period))


def _mapping(document: Any, where: str, allowed: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise SpecError(where, _shown(document), f"a mapping with {', '.join(allowed)}")
    for key in document:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            raise SpecError(
                f"{where}.{key}", None, f"there is no such field, only {', '.join(allowed)}", near[0] if near else None
            )
    return document


def _integer(value: Any, where: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SpecError(where, _shown(value), f"a whole number from {least} to {most}")
    return value


def _tolerance(value: Any, where: str) -> str:
    written = str(value)
    if isinstance(value, bool) or _NUMBER.fullmatch(written) is None or Decimal(written) > 1:
        raise SpecError(where, _shown(value), "a number from 0 to 1, such as 0.05")
    return f"{Decimal(written):f}"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
