"""Calls written as text: a name with parameters in brackets, as command lines and configurations have them."""

import ast
from typing import Any

from vitreous.core.errors import InputError


def read_call(text: str, argument: str) -> tuple[str, dict[str, Any]]:
    """Read "name" or "name(key=value, …)", where values are Python's own constants. Nothing is evaluated.

    argument  what the text was given for, for the message

    Raises InputError for anything else.

    >>> read_call("gradcam(plus=True)", "methods")
    ('gradcam', {'plus': True})
    """
    name, bracket, _ = text.partition("(")
    if not bracket:
        return text.strip(), {}
    try:
        call = ast.parse(text.strip(), mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) else []
        understood = isinstance(call, ast.Call) and not call.args and all(keyword.arg for keyword in keywords)
        given = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords}
    except (SyntaxError, ValueError):
        understood = False
    if not understood:
        raise InputError(
            f"{argument} has {text!r}, which is not understood.",
            f"Write {name.strip()}(parameter=value): numbers as they are, text in quotation marks.",
        )
    return name.strip(), given
