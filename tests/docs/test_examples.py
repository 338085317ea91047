"""Every Python example of README and docs runs as it stands."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from skimage.data import chelsea

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, code in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
]


@pytest.fixture
def desk(tmp_path, monkeypatch, deit_weights):
    """A folder with the files that examples name."""
    shutil.copy(deit_weights, tmp_path / "deit_tiny.safetensors")
    Image.fromarray(chelsea()).save(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_runs(code, desk, capsys):
    exec(compile(code, "example", "exec"), {})  # the examples print what a reader would see
    assert list(desk.iterdir())


def test_five_lines_write_what_they_promise(desk):
    import vitreous as vt

    exec(compile(EXAMPLES[0].values[0], "example", "exec"), {})
    with Image.open(desk / "cat-overlay.png") as overlay:
        assert overlay.width >= chelsea().shape[1]
    assert vt.Heatmap.load(desk / "cat.vitreous").provenance.method == "libragrad"
