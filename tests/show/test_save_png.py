"""PNG files: whole, careful with what exists, and carrying their record."""

import json

import numpy as np
import pytest
from PIL import Image

from vitreous.core.errors import OutputError, OutputExistsError
from vitreous.show.overlay import draw_overlay
from vitreous.show.save import save_png


def test_picture_and_record_come_back(make, tmp_path):
    drawn = draw_overlay(make([[0.0, 1.0], [2.0, 0.5]], target="кошка 猫 \udc80", image="ünï\udcff.jpg"))
    path = save_png(drawn, tmp_path / "new folder" / "overlay.png")
    with Image.open(path) as back:
        back.load()
        assert np.array_equal(np.asarray(back), np.asarray(drawn))
        record = json.loads(back.text["vitreous"])
        assert record["heatmaps"][0]["target"] == "кошка 猫 \udc80"
        assert record["heatmaps"][0]["display"] == record["display"] != []
        assert "кошка" in back.text["Description"]
    assert b"tEXtvitreous\0" in path.read_bytes()


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "a.png"
    save_png(Image.new("RGB", (2, 2), "red"), path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError):
        save_png(Image.new("RGB", (2, 2), "blue"), path)
    assert path.read_bytes() == before
    save_png(Image.new("RGB", (2, 2), "blue"), path, overwrite=True)
    assert Image.open(path).getpixel((0, 0)) == (0, 0, 255)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(OutputError, match=r"ends in \.png"):
        save_png(Image.new("RGB", (2, 2)), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_path_may_be_a_string(tmp_path):
    assert save_png(Image.new("RGB", (2, 2)), str(tmp_path / "A.PNG")).exists()
