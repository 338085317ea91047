"""Factors of rendered scenes: against the scenes themselves, and how much they depend on one another."""

import colorsys
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import f_oneway, pearsonr
from scipy.stats.contingency import association

import vitreous as vt
from vitreous.core.errors import InputError
from vitreous.core.factor import Factor, category
from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.factors import dependences, factor_table
from vitreous.worlds.rendered.load import SceneSample
from vitreous.worlds.sample import Sample


@pytest.fixture(scope="module")
def samples():
    return vt.worlds.scenes()


@pytest.fixture(scope="module")
def table(samples):
    return factor_table(samples)


def test_values_are_those_of_the_scenes(samples, table):
    for place, sample in enumerate(samples):
        scene, value = sample.scene, {name: factor.values[place] for name, factor in table.items()}
        word = {name: factor.labels[factor.values[place]] for name, factor in table.items() if factor.labels}
        assert word == {
            "shape": sample.label, "material": scene.target.material,
            "floor": scene.floor.pattern, "wall": scene.wall.pattern,
        }  # fmt: skip
        linear = [part**2.2 for part in (value["red"], value["green"], value["blue"])]
        assert linear == pytest.approx(scene.target.colour)
        turned = value["hue"] / (2 * math.pi), value["saturation"], value["value"]
        assert [part**2.2 for part in colorsys.hsv_to_rgb(*turned)] == pytest.approx(scene.target.colour, abs=1e-9)
        assert value["things"] == len(scene.things)
        assert math.degrees(value["yaw"]) == pytest.approx(scene.target.yaw - scene.camera.azimuth)
        assert math.degrees(value["light_azimuth"]) == pytest.approx(scene.light.azimuth - scene.camera.azimuth)
        assert value["size"] == scene.target.size
        assert value["irradiance"] == scene.light.irradiance
        assert value["camera_elevation"] == scene.camera.elevation
        left, top, right, bottom = sample.regions[0].box
        side = sample.photo().size[0]
        assert value["across"] * side == pytest.approx((left + right) / 2)
        assert value["down"] * side == pytest.approx((top + bottom) / 2)
        rows, columns = np.nonzero(sample.coverage(0))
        assert abs(value["down"] * side - (rows.min() + rows.max() + 1) / 2) < 1
        assert abs(value["across"] * side - (columns.min() + columns.max() + 1) / 2) < 1
    assert {len(factor) for factor in table.values()} == {len(samples)}
    assert table["light_azimuth"].kind == table["hue"].kind == "angle"


def test_brightness_is_that_of_the_first_colour(samples, table):
    grey = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (s.scene.wall.first for s in samples)]
    assert table["wall_brightness"].values ** 2.2 == pytest.approx(grey)


class Drawn(SceneSample):
    """A scene that was drawn and not rendered: where it is seen is made up."""


def drawn(count):
    numbers = np.zeros((4, 4), dtype=np.uint8)
    for index in range(count):
        rng = np.random.default_rng(index)
        seen = numbers.copy()
        seen[rng.integers(4), rng.integers(4)] = 1
        scene = draw_scene(7, index)
        yield Drawn(
            str(index), Path("nowhere.png"), scene.label, 0, scene=scene, visible=(), numbers=lambda seen=seen: seen
        )


def test_factors_of_drawn_scenes_are_independent_but_for_what_describes_the_same():
    table = factor_table(list(drawn(400)))
    found = dependences(table)
    assert len(found) == len(table) * (len(table) - 1) // 2
    related = {frozenset({"light_azimuth", "camera_azimuth"}), frozenset({"yaw", "camera_azimuth"})}
    foreign = {
        pair: value
        for pair, value in found.items()
        if len({table[name].group for name in pair}) == 2 and frozenset(pair) not in related
    }
    assert max(foreign.values()) < 0.25
    assert np.mean([value > 0.15 for value in foreign.values()]) < 0.05
    assert found["hue", "red"] > 0.5


def test_dependences_are_those_of_scipy_without_its_bias():
    rng = np.random.default_rng(0)
    values = rng.normal(size=4000)
    noisy = values + rng.normal(size=4000)
    codes = np.digitize(values, [-0.5, 0.5])
    others = np.where(rng.random(4000) < 0.5, codes, rng.integers(0, 3, 4000))
    alone = rng.integers(0, 3, 4000)
    table = {
        "a": Factor("a", "g", "number", values),
        "b": Factor("b", "g", "number", -noisy),
        "c": category("c", "g", [str(code) for code in codes]),
        "d": category("d", "g", [str(code) for code in others]),
        "e": category("e", "g", [str(code) for code in alone], ("0", "1", "2", "never")),
        "f": Factor("f", "g", "angle", values + np.pi),
    }
    found = dependences(table)
    assert found["a", "b"] == pytest.approx(-pearsonr(values, -noisy).statistic)
    assert found["a", "f"] == pytest.approx(
        max(abs(pearsonr(values, turn(values + np.pi)).statistic) for turn in (np.cos, np.sin))
    )
    test = f_oneway(*(noisy[codes == code] for code in range(3)))
    squared = test.statistic * 2 / (test.statistic * 2 + 3997)
    assert found["b", "c"] ** 2 == pytest.approx(1 - (1 - squared) * 3999 / 3997)
    counts = np.zeros((3, 3))
    np.add.at(counts, (codes, others), 1)
    assert found["c", "d"] == pytest.approx(association(counts.astype(int)), abs=0.005)
    assert found["c", "d"] > 0.4
    assert found["c", "e"] < 0.05
    assert found["a", "e"] < 0.05


def test_dependence_of_independent_categories_is_corrected_for_chance():
    rng = np.random.default_rng(1)
    found, raw = [], []
    for _ in range(20):
        one, other = rng.integers(0, 10, (2, 150))
        names = [str(code) for code in range(10)]
        table = {
            name: category(name, "g", [str(code) for code in codes], tuple(names))
            for name, codes in (("a", one), ("b", other))
        }
        found.append(dependences(table)["a", "b"])
        counts = np.zeros((10, 10), dtype=int)
        np.add.at(counts, (one, other), 1)
        raw.append(association(counts))
    assert np.mean(found) < 0.08
    assert np.mean(raw) > 0.2


def test_what_is_no_scene_is_refused(samples):
    with pytest.raises(InputError, match="no rendered scene"):
        factor_table([Sample("a", Path("a.png"))])
    with pytest.raises(InputError, match="no scenes"):
        factor_table([])
    bare = next(item for item in samples[0].stored() if item.kind == "without" and item.number == 0)
    gone = SceneSample("gone", bare.image, scene=bare.scene, visible=(), numbers=samples[0].numbers)
    with pytest.raises(InputError, match="no target"):
        factor_table([gone])
    hidden = SceneSample(
        "hidden", bare.image, scene=samples[0].scene, visible=(), numbers=lambda: np.zeros((8, 8), np.uint8)
    )
    with pytest.raises(InputError, match="not seen"):
        factor_table([hidden])


def test_factors_with_gaps_or_unknown_words_are_refused():
    with pytest.raises(InputError, match="not known for every image"):
        Factor("a", "g", "number", np.array([1.0, np.nan]))
    with pytest.raises(InputError, match="without a label"):
        Factor("a", "g", "category", np.array([0, 2]), ("x", "y"))
    with pytest.raises(InputError, match="value 'z'"):
        category("a", "g", ["x", "z"], ("x", "y"))
    assert category("a", "g", ["y", "x", "y"]).values.tolist() == [1, 0, 1]
