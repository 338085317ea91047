"""Rules of the house that no linter knows."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import vitreous as vt
from vitreous.core import errors

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def code_and_docstring_lines(path):
    """Count lines of code (no blanks, comments, docstrings) and of docstrings."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            documented.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = dict(enumerate(text.splitlines(), start=1))
    filled = {number for number, line in lines.items() if line.strip() and not line.strip().startswith("#")}
    return len(filled - documented), len(filled & documented)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_no_file_is_longer_than_300_lines_of_code(path):
    assert code_and_docstring_lines(path)[0] <= 300


def test_public_names_are_sorted_and_exist():
    assert vt.__all__ == sorted(vt.__all__)
    for name in vt.__all__:
        assert getattr(vt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        _ = vt.explane


def test_every_error_has_its_own_code_a_page_and_a_place_in_the_tree():
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.VitreousError)]
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for kind in kinds:
        assert f"## {kind.code}" in page
        assert kind.__name__ in errors.__doc__
        assert re.fullmatch(r"VX-E\d00: c f|VX-E\d\d\d: c f", str(kind("c", "f")))


def test_every_public_function_is_documented():
    for name in set(vt.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(vt, name)), name


def test_skipped_tests_are_listed_with_their_reason():
    listed = (ROOT / "tests" / "SKIPS.md").read_text(encoding="utf-8")
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        marks = re.findall(r"mark\.(?:skip|skipif|xfail)\b|\bpytest\.(?:skip|importorskip)\(", text)
        if marks and path != Path(__file__):
            assert path.name in listed, f"{path.name} skips tests and tests/SKIPS.md does not say why"
