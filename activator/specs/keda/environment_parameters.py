"""Parameters of a TriggerAuthentication that come from the environment of a target's container (`spec.env`).

Source: KEDA, "Authentication", environment variables: without `containerName` the container is the one that the
ScaledObject names in `envSourceContainerName`, else the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.errors import SpecError
from activator.specs.authentication import ENVIRONMENT, Given
from activator.specs.keda.environment import UNKNOWN, container_names, environment_of, objects_needed
from activator.specs.keda.fields import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import TargetRef
    from activator.specs.authentication import AuthenticationSource, Plan, Reference, Variable
    from activator.specs.keda.environment import Data


def objects_of_variables(source: AuthenticationSource, plan: Plan, workload: Mapping[str, Any]) -> frozenset[Reference]:
    """Return each Secret and ConfigMap that bears on a plan's variables, in the workload's own namespace."""
    return frozenset().union(
        *(objects_needed(workload, _container(source, variable), [variable.name]) for variable in plan.variables)
    )


def read_variables(source: AuthenticationSource, plan: Plan, workload: Mapping[str, Any] | None, data: Data) -> Given:
    """Return what a plan's variables hold, and what is wrong with them, never by a value.

    Args:
        source: whose; it names the target.
        plan: what it asks for.
        workload: the target; None: it does not exist.
        data: what is in each of `objects_of_variables`.
    """
    target = source.target
    if target is None or workload is None:
        what = "its target is not known" if target is None else f"{target} does not exist"
        return Given({}, {}, (SpecError(f"{source}, spec.{ENVIRONMENT}", None, what),))
    values: dict[str, str] = {}
    places: dict[str, str] = {}
    problems: list[SpecError] = []
    for variable in plan.variables:
        container = _container(source, variable)
        place = f"{_place(target, container)}, variable {variable.name}"
        if container and container not in (names := container_names(workload)):
            what = f"there is no such container; {source} looks there for {variable.name}"
            problems.append(SpecError(_place(target, container), None, what, nearest(container, names)))
            continue
        found = environment_of(workload, container, wanted=[variable.name], data=data)
        value = found.get(variable.name)
        if value is None:
            what = f"there is no such variable; {source} takes the parameter {variable.parameter} from it"
            problems.append(SpecError(place, None, what, nearest(variable.name, found)))
        elif value.startswith(UNKNOWN):
            problems.append(SpecError(place, None, value.removeprefix(UNKNOWN)))
        else:
            values[variable.parameter], places[variable.parameter] = value, place
    return Given(values, places, tuple(problems))


def _container(source: AuthenticationSource, variable: Variable) -> str:
    return variable.container or source.container


def _place(target: TargetRef, container: str) -> str:
    return f"{target}, container {container}" if container else f"{target}, the first container"
