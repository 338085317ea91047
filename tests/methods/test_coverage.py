"""No method and no parameter without an oracle: each test module says in CASES what it compares."""

import importlib
from pathlib import Path

from vitreous.methods._method import METHODS

HERE = Path(__file__).parent


def test_every_method_and_parameter_has_an_oracle():
    modules = [importlib.import_module(f"methods.{path.stem}") for path in sorted(HERE.glob("test_*.py"))]
    cases = [case for module in modules for case in getattr(module, "CASES", [])]
    covered = {name: {key for other, given in cases if other == name for key in given} for name, _ in cases}
    assert covered == {name: set(METHODS[name].defaults) for name in METHODS}
