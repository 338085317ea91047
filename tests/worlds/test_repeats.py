"""The same photograph twice."""

from PIL import Image
from small_sets import save_photo

from vitreous.worlds import folder, repeats


def test_repeats_are_found_across_data_sets_and_file_formats(tmp_path):
    for name, seed in (
        ("train/a.png", 1),
        ("train/b.png", 2),
        ("train/c.png", 1),
        ("test/d.png", 3),
        ("test/e.png", 2),
    ):
        save_photo(tmp_path / name, seed=seed)
    with Image.open(tmp_path / "test/d.png") as image:
        image.save(tmp_path / "test/f.bmp")
    found = repeats(folder(tmp_path / "train"), folder(tmp_path / "test"))
    assert found == (
        (("train", "a.png"), ("train", "c.png")),
        (("train", "b.png"), ("test", "e.png")),
        (("test", "d.png"), ("test", "f.bmp")),
    )


def test_pictures_of_the_same_bytes_in_another_shape_are_not_the_same(tmp_path):
    Image.new("RGB", (4, 6)).save(tmp_path / "a.png")
    Image.new("RGB", (6, 4)).save(tmp_path / "b.png")
    assert repeats(folder(tmp_path)) == ()
