"""Tables: numbers against the rows they come from, and every format read back by a parser of its own."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from markdown_it import MarkdownIt
from scipy import stats

from vitreous.bench import statistics
from vitreous.bench._columns import columns, number
from vitreous.bench.row import Row
from vitreous.bench.statistics import Comparison
from vitreous.bench.table import FORMATS, summarise
from vitreous.core.errors import InputError
from vitreous.metrics._metric import METRICS

HIGHER = METRICS["srg"]
LOWER = replace(HIGHER, better="lower")
NEITHER = replace(HIGHER, better="neither")
NASTY = 'a<b>&"c"|d_e*f`g$h%i#j{k}\\l~m^n[o]'


def pooled_share(parts):
    return float(parts[:, 0].sum() / parts[:, 1].sum())


POOLED = replace(HIGHER, pool=pooled_share)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 499)


def make_row(method, place, parts, metric="m", status="ok", reason="", **costs):
    parts = tuple(float(part) for part in np.atleast_1d(parts)) if status == "ok" else ()
    value = parts[0] if parts else math.nan
    spent = {"seconds": 0.5, "forwards": 20, "backwards": 1, **costs}
    return Row(
        sample=f"s{place:03}",
        image_digest=f"d{place}",
        method=method,
        metric=metric,
        value=value,
        parts=parts,
        seed=3,
        status=status,
        reason=reason,
        target="cat",
        predicted="cat",
        probability=0.5,
        **spent,
    )


def make_rows(values, metric="m"):
    """Rows of all methods: a mapping from the method to its images' values."""
    return [make_row(method, place, each, metric) for method, own in values.items() for place, each in enumerate(own)]


def spread(images=30, **means):
    noise = np.random.default_rng(0).normal(size=(len(means), images))
    return {method: mean + own for (method, mean), own in zip(means.items(), noise, strict=True)}


def cells_of(table, section=0):
    return {cell.method: cell for cell in table.sections[section].cells}


class PageReader(HTMLParser):
    """Collects tables as lists of rows, and checks that every tag that is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.rows, self.captions, self.scopes, self.strong = [], [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "th":
            self.scopes.append(dict(attributes).get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if "caption" in self.open:
            self.captions.append(data)
        if "strong" in self.open:
            self.strong.append(data)


def read_page(text):
    reader = PageReader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


class TestNumbers:
    def test_by_hand(self):
        rows = [
            *[
                make_row("good", place, value, seconds=float(place), forwards=2 * place)
                for place, value in enumerate([1, 2, 6])
            ],
            make_row("good", 3, 0, status="excluded", reason="no mask"),
            make_row("good", 4, 0, status="undefined", reason="nan"),
            make_row("good", 5, 0, status="failed", reason="broke"),
            make_row("good", 6, math.inf),
            *[make_row("random", place, value) for place, value in enumerate([0, 1, 2, 3])],
        ]
        table = summarise(rows, {"m": HIGHER})
        good, random = (cells_of(table)[method] for method in ("good", "random"))
        assert (good.value, good.n, good.seconds, good.forwards, good.backwards) == (3.0, 3, 1.0, 2.0, 1.0)
        assert (good.excluded, good.undefined, good.failed) == (1, 2, 1)
        assert (random.value, random.n) == (1.5, 4)
        assert math.isnan(good.low)
        assert "fewer than 10" in good.note
        # Images 0, 1, 2: differences 1, 1, 4, all positive: 2 / 2 ** 3. One test: Holm changes nothing.
        assert (good.control.images, good.control.p, good.control.corrected) == (3, 0.25, 0.25)
        assert good.control.difference == 2.0
        assert random.control is None
        assert (good.rank, random.rank) == (1.0, 2.0)
        notes = " ".join(table.sections[0].notes)
        for said in (
            "excluded (no mask): 1 image of good",
            "failed (broke): 1 image of good",
            "undefined (infinite",
            "Not all methods have a value on the same images",
        ):
            assert said in notes

    def test_rows_that_are_missing_are_told(self):
        rows = [make_row("random", place, place) for place in range(4)] + [make_row("good", 0, 1.0)]
        notes = " ".join(summarise(rows, {"m": HIGHER}).sections[0].notes)
        assert "Not evaluated on all 4 images; rows that are missing: good 3." in notes
        assert "No image was left out" not in notes

    def test_a_test_that_leans_another_way_than_the_mean_calls_nothing_better(self):
        """One image where the method is far worse; it is a little better on all others."""
        rows = [make_row("random", place, 0.5) for place in range(30)]
        rows += [make_row("good", place, 1.0 + place / 100 if place else -100.0) for place in range(30)]
        table = summarise(rows, {"m": HIGHER})
        assert "ranks lean the other way" in FORMATS["text"](table)
        (record,) = (each for each in table.records() if each["method"] == "good")
        assert record["against_control"] == ""

    def test_a_value_that_was_tuned_on_the_images_has_an_interval_for_many_alone(self):
        tuned = replace(HIGHER, tuned=True)
        few, many = ([make_row("random", place, place % 7) for place in range(count)] for count in (199, 200))
        (cell,) = summarise(few, {"m": tuned}).sections[0].cells
        assert "fewer than 200" in cell.note
        (cell,) = summarise(many, {"m": tuned}).sections[0].cells
        assert cell.low < cell.value < cell.high
        assert any("too high for few images" in note for note in summarise(many, {"m": tuned}).sections[0].notes)

    def test_means_are_tested_by_scipys_wilcoxon_and_corrected(self):
        values = spread(one=0.2, two=0.9, random=0.0)
        cells = cells_of(summarise(make_rows(values), {"m": HIGHER}))
        plain = {name: stats.wilcoxon(values[name], values["random"], method="exact").pvalue for name in ("one", "two")}
        assert cells["one"].control.p == pytest.approx(plain["one"])
        assert cells["two"].control.p == pytest.approx(plain["two"])
        smaller, larger = sorted(plain.values())
        assert min(cells[name].control.corrected for name in plain) == pytest.approx(2 * smaller)
        assert max(cells[name].control.corrected for name in plain) == pytest.approx(max(2 * smaller, larger))
        assert cells["two"].low < cells["two"].value < cells["two"].high

    def test_pooled_values_are_pooled_and_not_averaged(self):
        generator = np.random.default_rng(1)
        parts = {name: generator.uniform(0.1, 1, (20, 2)) for name in ("one", "random")}
        section = summarise(make_rows(parts), {"m": POOLED}).sections[0]
        cells = {cell.method: cell for cell in section.cells}
        assert cells["one"].value == pytest.approx(parts["one"][:, 0].sum() / parts["one"][:, 1].sum())
        assert cells["one"].low < cells["one"].value < cells["one"].high
        assert section.pooled
        assert math.isnan(cells["one"].rank)
        assert any("paired bootstraps" in note for note in section.notes)
        assert not any("Wilcoxon signed-rank" in note for note in section.notes)

    @pytest.mark.parametrize("metric", [HIGHER, LOWER])
    def test_direction_decides_order_rank_and_words(self, metric):
        table = summarise(make_rows(spread(high=3.0, random=0.0, low=-3.0)), {"m": metric})
        names = [cell.method for cell in table.sections[0].cells]
        assert names == (["high", "random", "low"] if metric is HIGHER else ["low", "random", "high"])
        said = {record["method"]: record["against_control"] for record in table.records()}
        assert said == {names[0]: "better", "random": "", names[2]: "worse"}
        assert cells_of(table)[names[0]].rank < cells_of(table)[names[2]].rank
        assert [cell.best for cell in table.sections[0].cells] == [True, False, False]

    def test_the_best_is_marked_only_if_it_differs_from_all_others(self):
        values = spread(good=3.0, random=0.0)
        twin = {**values, "twin": values["good"] - 0.001 * np.sign(np.arange(30) - 14.5)}
        assert cells_of(summarise(make_rows(values), {"m": HIGHER}))["good"].best
        table = summarise(make_rows(twin), {"m": HIGHER})
        assert not any(cell.best for cell in table.sections[0].cells)
        assert any("is not shown to be better than" in note for note in table.sections[0].notes)

    def test_no_direction_no_test(self):
        section = summarise(make_rows(spread(one=5.0, random=0.0)), {"m": NEITHER}).sections[0]
        assert [cell.method for cell in section.cells] == ["one", "random"]
        assert all(cell.control is None and math.isnan(cell.rank) and not cell.best for cell in section.cells)
        assert section.comparisons == ()

    def test_order_of_rows_does_not_matter(self):
        rows = make_rows(spread(one=0.3, two=0.5, random=0.0))
        shuffled = [rows[place] for place in np.random.default_rng(5).permutation(len(rows))]
        texts = [FORMATS["json"](summarise(each, {"m": HIGHER})) for each in (rows, shuffled)]
        assert texts[0] == texts[1]

    def test_wrong_rows_are_refused(self):
        row = make_row("one", 0, 1.0)
        with pytest.raises(InputError, match="two rows"):
            summarise([row, row], {"m": HIGHER})
        with pytest.raises(InputError, match="rows of the metric 'other'"):
            summarise([replace(row, metric="other")], {"m": HIGHER})
        for parts, metric in (((), HIGHER), ((1.0, 2.0), HIGHER), ((), POOLED)):
            with pytest.raises(InputError, match="parts"):
                summarise([replace(row, parts=parts)], {"m": metric})
        with pytest.raises(InputError, match="parts"):
            summarise([make_row("a", 0, [1, 2]), make_row("a", 1, [1, 2, 3])], {"m": POOLED})


EDGES = {
    "no rows": [],
    "one method": make_rows({"one": np.arange(20.0)}),
    "only the control": make_rows({"random": np.arange(20.0)}),
    "one image": make_rows({"one": [1.0], "random": [2.0]}),
    "constant": make_rows({"one": [1.0] * 20, "two": [1.0] * 20, "random": [1.0] * 20}),
    "zeros": make_rows({"one": [0.0] * 20, "two": [0.0] * 20, "random": [0.0] * 20}),
    "no control": make_rows({"one": np.arange(20.0), "two": np.arange(20.0) ** 2}),
    "nothing defined": [
        make_row(method, place, 0, status="undefined", reason="NaN")
        for method in ("one", "random")
        for place in range(12)
    ],
    "one method undefined": [
        *make_rows({"one": np.arange(12.0), "random": np.arange(12.0) / 3}),
        *(make_row("two", place, 0, status="failed", reason="broke") for place in range(12)),
    ],
    "no image in common": [make_row("one", place, place) for place in range(12)]
    + [make_row("random", place, place) for place in range(12, 24)],
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("metric", [HIGHER, NEITHER, POOLED], ids=["higher", "neither", "pooled"])
def test_edges_give_a_table_in_every_format(name, metric):
    rows = [replace(row, parts=(*row.parts, 2.0)) if row.parts and metric is POOLED else row for row in EDGES[name]]
    table = summarise(rows, {"m": metric})
    (section,) = table.sections
    assert len(section.cells) == len({row.method for row in rows})
    assert sum(cell.n + cell.excluded + cell.undefined + cell.failed for cell in section.cells) == len(rows)
    if name not in {"one method undefined", "no control"}:  # where one is truly better
        assert not any(cell.best for cell in section.cells)
    assert section.notes
    for form in FORMATS.values():
        assert "nan" not in re.sub(r"\(NaN\)", "", form(table))


def test_constant_values_have_no_interval_and_no_difference():
    section = summarise(EDGES["constant"], {"m": HIGHER}).sections[0]
    assert all(math.isnan(cell.low) and cell.rank == 2.0 for cell in section.cells)
    assert {cell.control.p for cell in section.cells if cell.control} == {1.0}
    assert section.ranking.p == 1.0


@pytest.mark.parametrize("p", [(0.0, "< 0.001, worse"), (0.0123, "0.012, worse"), (0.2, "0.200"), (math.nan, "\u2013")])
def test_p_values_for_readers(p):
    section = summarise(make_rows(spread(one=-3.0, random=0.0)), {"m": HIGHER}).sections[0]
    test = Comparison("one", "random", 30, -3.0, p[0], p[0], "random")
    changed = [replace(cell, control=test) if cell.method == "one" else cell for cell in section.cells]
    (column,) = (each for each in columns(replace(section, cells=tuple(changed)), "random") if "Holm" in each.heading)
    assert column.texts == ("control", p[1])


def test_too_few_images_for_a_test_are_said():
    rows = make_rows({name: [[place, 5.0] for place in range(9)] for name in ("one", "random")})
    notes = summarise(rows, {"m": POOLED}).sections[0].notes
    assert any("Too few images for a test against 'random'" in note for note in notes)
    assert not any("Holm" in note for note in notes)


def test_missing_control_is_said():
    section = summarise(EDGES["no control"], {"m": HIGHER}).sections[0]
    assert any("nothing is tested against it" in note for note in section.notes)
    assert len(section.comparisons) == 1


@pytest.fixture(name="nasty")
def nasty_table():
    values = spread(**{NASTY: 2.0, "random": 0.0, "two": 0.8})
    rows = [*make_rows(values), make_row("two", 99, 0, status="failed", reason=f"{NASTY}\nsecond line\x00")]
    return summarise(rows, {"m": HIGHER}, facts={"Model": "deit <tiny>"})


class TestFormats:
    def test_html_is_a_page_with_real_tables(self, nasty):
        text = FORMATS["html"](nasty)
        page = read_page(text)
        assert page.tags.count("table") == page.tags.count("caption") == 1
        assert {"script", "link", "img"} & set(page.tags) == set()
        assert "http" not in text
        assert 'lang="en"' in text
        assert "prefers-color-scheme:dark" in text
        assert page.rows[0][:4] == ["Method", "Value", "95 % interval", "n"]
        assert [row[0] for row in page.rows[1:]] == [NASTY, "two", "random"]
        assert page.scopes == ["col"] * len(page.rows[0]) + ["row"] * 3
        assert {len(row) for row in page.rows} == {len(page.rows[0])}
        assert page.strong == [page.rows[1][1]]
        assert page.rows[0][7] == "p against random (Holm)"
        assert [row[7].rpartition(", ")[2] for row in page.rows[1:]] == ["better", "better", "control"]
        assert [row[3] for row in page.rows[1:]] == ["30", "30", "30"]
        assert "higher is better" in "".join(page.captions)

    def test_markdown_reads_back(self, nasty):
        page = read_page(MarkdownIt("commonmark").enable("table").render(FORMATS["markdown"](nasty)))
        assert [row[0] for row in page.rows[1:]] == [NASTY, "two", "random"]
        assert page.strong == [page.rows[1][1]]
        assert {len(row) for row in page.rows} == {len(page.rows[0])}

    def test_csv_reads_back_with_full_precision(self, nasty):
        records = list(csv.DictReader(io.StringIO(FORMATS["csv"](nasty))))
        assert [record["method"] for record in records] == [NASTY, "two", "random"]
        assert float(records[0]["value"]) == cells_of(nasty)[NASTY].value
        assert records[2]["p"] == ""
        assert [record["failed"] for record in records] == ["0", "1", "0"]

    def test_json_reads_back(self, nasty):
        read = json.loads(FORMATS["json"](nasty))
        assert read["records"][0]["value"] == cells_of(nasty)[NASTY].value
        assert read["records"][2]["p"] is None
        assert read["facts"] == {"Model": "deit <tiny>", "Seed of the evaluation": "3", "Seed of resampling": "0"}
        assert read["sections"][0]["critical_difference"] == pytest.approx(2.343 * math.sqrt(12 / 180), rel=1e-3)

    def test_latex_is_balanced_and_escaped(self, nasty):
        text = FORMATS["latex"](nasty)
        bare = re.sub(r"\\[\\{}%&$#_]", "", text)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        for name in ("table", "tabular"):
            assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
        body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
        wide = len(re.search(r"tabular}\{(\w+)\}", text)[1])
        assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [wide - 1] * 3
        assert r"a\textless{}b\textgreater{}\&''c''\textbar{}d\_e*f`g\$h\%i\#j\{k\}\textbackslash{}l" in text
        assert len(re.findall(r"\\textbf\{", text)) == 1
        assert not re.search(r"(?m)(?<!\\)%(?! Needs)", text)

    def test_plain_text_cuts_nothing(self, nasty):
        text = FORMATS["text"](nasty)
        assert NASTY in text
        assert "…" not in text
        assert len([line for line in text.splitlines() if line.strip().startswith((NASTY, "two ", "random "))]) == 3
        assert f"*{number(cells_of(nasty)[NASTY].value, 2)}" in text

    @pytest.mark.parametrize("form", ["text", "markdown", "latex", "html"])
    def test_every_table_says_how_many_and_what_was_left_out(self, nasty, form):
        text = FORMATS[form](nasty)
        assert "Excluded" in text
        assert "Left out as failed" in text
        assert "second line" in text
        assert "Holm" in text
        assert "\x00" not in text


@pytest.mark.parametrize(
    ("value", "places", "written"),
    [
        (0.5, 2, "0.50"),
        (-0.25, 2, "\u22120.25"),
        (-0.0, 1, "0.0"),
        (0.0004, 2, "4.0e-04"),
        (-0.0004, 2, "\u22124.0e-04"),
        (2.5e7, 2, "2.5e+07"),
        (math.nan, 2, "\u2013"),
        (12.0, 0, "12"),
    ],
)
def test_numbers_for_readers(value, places, written):
    assert number(value, places) == written


@pytest.mark.parametrize(("scale", "places"), [(1.0, 2), (0.01, 4), (100.0, 0)])
def test_decimals_follow_the_interval(scale, places):
    """Thirty values of deviation 1 have an interval of about 0.36 to either side: two digits of that are shown."""
    values = {method: scale * own for method, own in spread(one=1.0, random=0.0).items()}
    page = read_page(FORMATS["html"](summarise(make_rows(values), {"m": HIGHER})))
    shown = page.rows[1][1]
    assert len(shown.partition(".")[2]) == places
