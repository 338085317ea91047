"""Signature: parameters given by name, held against the signature of the function that takes them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vitreous.core.errors import InputError, near_matches


def complete_parameters(kind: str, name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of all parameters after the first, which is the trace or the case.

    kind, name  what the function is called in messages, for instance "Method" and "rollout"

    Raises InputError for a parameter that the function does not have, naming near matches, and for a value that is not
    what the signature says. Ranges are left to the function itself.
    """
    parameters = dict(list(inspect.signature(function).parameters.items())[1:])
    for parameter in given:
        if parameter not in parameters:
            near = near_matches(parameter, parameters)
            raise InputError(
                f"{kind} {name!r} has no parameter {parameter!r}. {near}".strip(),
                f"It has: {', '.join(parameters) or 'none'}.",
            )
    defaults = {each: parameters[each].default for each in parameters}
    checked = {each: _checked(kind, name, each, parameters[each].annotation, value) for each, value in given.items()}
    return {**defaults, **checked}


def _checked(kind: str, name: str, parameter: str, expected: Any, value: Any) -> Any:
    """Check one value against the annotation of its parameter; a whole number will do for a float."""
    try:
        return TypeAdapter(expected).validate_python(value)
    except ValidationError as problem:
        raise InputError(
            f"{kind} {name!r} got {parameter}={value!r}.",
            f"Expected {getattr(expected, '__name__', expected)}: {problem.errors()[0]['msg'].lower()}.",
        ) from problem
