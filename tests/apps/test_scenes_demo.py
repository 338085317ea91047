"""The demo on rendered scenes: one page that holds everything, and numbers that are what they are called."""

import html.parser
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import rankdata

import vitreous as vt
from vitreous.apps.cli._scenes_demo import AREA, METHODS, score_scenes, table_of
from vitreous.show.scenes_page import draw_page


@pytest.fixture(scope="module")
def panels():
    return score_scenes(vt.open_vit("bundled:scenes"), list(vt.worlds.scenes())[:12:3], METHODS)


class Page(html.parser.HTMLParser):
    """Counts tags and collects whatever points elsewhere."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.alts, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href"}]
        self.alts += [value for name, value in attrs if name == "alt"]
        if tag not in {"img", "meta", "br", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(panels):
    page = Page()
    text = draw_page(panels, table_of(panels), {"Seed": "<script>alert(1)</script>"})
    page.feed(text)
    assert page.open == []
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "script" not in page.tags
    assert page.tags.count("section") == len(panels)
    assert page.tags.count("figure") == len(panels) * (2 + len(METHODS))
    assert len(page.alts) == page.tags.count("img")
    assert all(page.alts)
    assert not re.search(r"url\(|@import|https?://", text)


def test_scores_are_what_they_are_called(panels):
    """Mass and order again from the raw map, by patches of 8 pixels."""
    for panel in panels:
        coverage = [panel.sample.coverage(thing).astype(float) for thing in range(len(panel.drops))]
        for method in ("agcam", "generic_attention"):
            scored = panel.maps[method]
            spread = np.kron(scored.heatmap.relevance.astype(float), np.ones((8, 8)))
            mass = (np.maximum(spread, 0) * coverage[0]).sum() / np.maximum(spread, 0).sum()
            assert scored.mass == pytest.approx(mass, rel=1e-4)
            on_things = [(spread * cover).sum() for cover in coverage]
            order = np.corrcoef(rankdata(on_things), rankdata(panel.drops))[0, 1]
            assert scored.agreement == pytest.approx(order, abs=1e-6)


def test_maps_explain_the_class_of_the_scene(panels):
    for panel in panels:
        for scored in panel.maps.values():
            assert scored.heatmap.provenance.target.startswith(panel.sample.label)


def test_table_holds_means_with_their_intervals(panels):
    few = {row.name: row.mass for row in table_of(panels)}
    rows = {row.name: row for row in table_of(panels * 3)}
    assert np.isnan(few["agcam"][1:]).all()  # of fewer than ten scenes
    assert few["agcam"][0] == pytest.approx(rows["agcam"].mass[0])
    assert set(rows) == {*METHODS, AREA}
    mean, low, high = rows["agcam"].mass
    masses = [panel.maps["agcam"].mass for panel in panels]
    assert mean == pytest.approx(np.mean(masses))
    assert min(masses) <= low < mean < high <= max(masses)
    assert rows[AREA].mass[0] == pytest.approx(np.mean([panel.sample.coverage(0).mean() for panel in panels]), rel=1e-5)
    orders = [row.agreement[0] for row in table_of(panels)[:-1]]
    assert orders == sorted(orders, reverse=True)


def test_demo_runs_offline_and_without_a_renderer(tmp_path):
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "for name in ('mitsuba', 'trimesh', 'drjit', 'pyarrow'): sys.modules[name] = None\n"
        "import torch; torch.set_num_threads(1)\n"
        "from vitreous.apps.cli.main import app\n"
        f"app(['demo', '--out', {str(tmp_path)!r}])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert f"Look at {tmp_path / 'scenes.html'}" in finished.stdout
    text = (tmp_path / "scenes.html").read_text(encoding="utf-8")
    assert text.count("<section") == 10
    assert all(f"A {name}." in text for name in vt.worlds.scenes().labels)
