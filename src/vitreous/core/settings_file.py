"""Settings files: YAML (or JSON, which is YAML as well) that people write, read into a checked model.

A message names the line and the field, and what there is of a similar name.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vitreous.core.errors import DataError, InputError, near_matches

MOST_BYTES = 2**20
MOST_FAULTS = 5  # told at once

Model = TypeVar("Model", bound=BaseModel)
Place: TypeAlias = tuple[int | str, ...]


def read_settings(
    text: str, path: str, model: type[Model], beside: Callable[[Place], Sequence[str]], hint: str
) -> tuple[Model, yaml.Node]:
    """Read text into a model, and give the YAML nodes too, for `line_of`.

    path    begins the messages
    beside  gives the fields that there are beside one that is not
    hint    what to do, for instance where the fields are described

    Raises DataError for what is no YAML, and InputError for what the model must not have, an alias, or a field that is
    given twice.
    """
    try:
        # An alias can make a few lines stand for gigabytes, and no settings need one.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise InputError(f"{path} has an alias (*name).", "Write out what it stands for.")
        tree, told = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise DataError(f"{path} is no YAML: {' '.join(str(problem).split())}.", "Correct it.") from problem
    if not isinstance(told, dict) or tree is None:
        raise InputError(f"{path} holds no fields.", hint)
    _refuse_twice(tree, path)
    try:
        return model.model_validate(told), tree
    except ValidationError as problem:
        faults = [_fault(fault, tree, beside) for fault in problem.errors()[:MOST_FAULTS]]
        raise InputError(f"{path}: {'; '.join(faults)}.", hint) from problem


def line_of(node: yaml.Node, place: Place) -> int:
    """Give the line of a field, or of the nearest thing around it that is there."""
    line: int = node.start_mark.line
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                break
            line, node = found[0][0].start_mark.line, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _refuse_twice(node: yaml.Node, path: str) -> None:
    """Refuse a field that is given twice, of which YAML readers silently take the last."""
    for each in _nodes(node):
        seen: set[str] = set()
        for key, _ in each.value if isinstance(each, yaml.MappingNode) else ():
            if key.value in seen:
                line = key.start_mark.line + 1
                raise InputError(f"{path}, line {line}: {key.value!r} is given twice.", "Remove one.")
            seen.add(str(key.value))


def _nodes(node: yaml.Node) -> Iterator[yaml.Node]:
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, yaml.MappingNode):
            waiting += [value for _, value in each.value]
        elif isinstance(each, yaml.SequenceNode):
            waiting += each.value


def _fault(fault: Any, tree: yaml.Node, beside: Callable[[Place], Sequence[str]]) -> str:
    """Say in words what is wrong in which line and field."""
    place = fault["loc"]
    field = ".".join(str(part) for part in place)
    told = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        told = f"there is no such field. {near_matches(str(place[-1]), beside(place))}".strip()
    return f"line {line_of(tree, place)}{', ' if field else ''}{field}: {told}"
