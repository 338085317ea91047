"""The page of inspect: whole without scripts, harmless whatever names it holds, and its numbers are the given ones."""

import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from vitreous.core.errors import InputError
from vitreous.show.colour import Scale, colourise
from vitreous.show.inspect._data import embed, packed, packed_size, rounded
from vitreous.show.inspect.content import InspectContent, LensBlock, Prediction
from vitreous.show.inspect.page import flows_of, write_inspect_page
from vitreous.show.plots.head_grid import head_scale
from vitreous.show.plots.numbers import BlockSeries, FactorScores, Focus, HeadNumber, Relations

VOID = {"meta", "img", "br", "link", "input", "hr"}
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&$"
BLOCKS, HEADS, GRID = 3, 2, (3, 4)
TOKENS = 14  # class token, 12 patches, one token after them


def content_of(**changes):
    generator = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(buffer, "PNG")
    attention = generator.dirichlet(np.ones(TOKENS), (BLOCKS, TOKENS))
    entropy = generator.random((BLOCKS, HEADS))
    entropy[1, 1] = np.nan
    content = InspectContent(
        title=EVIL,
        photo=buffer.getvalue(),
        grid=GRID,
        model="planted",
        target=EVIL,
        predictions=(Prediction(EVIL, 0.75, 3.5), Prediction("cat", None, 1.25)),
        readings=generator.dirichlet(np.ones(12), (BLOCKS, HEADS)).reshape(BLOCKS, HEADS, *GRID),
        reads="class token",
        numbers={
            "entropy": HeadNumber(entropy, "share", "Even."),
            EVIL: HeadNumber(generator.normal(size=(BLOCKS, HEADS)), EVIL, EVIL, signed=True),
        },
        prefix=("class token",),
        suffix=(EVIL,),
        first=2,
        attention=attention,
        reading=np.eye(TOKENS)[0],
        focus=Focus(generator.random((BLOCKS, 2)) * 3, generator.random(BLOCKS)),
        series={EVIL: BlockSeries(generator.random(BLOCKS), "share", EVIL)},
        agreement={"W": BlockSeries(np.array([0.1, np.nan, 0.3]), "coefficient", "Alike.")},
        lens=tuple(LensBlock(2 + block, 0.1, 3, ((EVIL, 0.5), ("dog", 0.25))) for block in range(BLOCKS)),
        relations=Relations((EVIL, "cat"), generator.random((BLOCKS, 2, 2)), "share", EVIL),
        factors=FactorScores((EVIL,), ("colour",), np.array([[0.5]]), np.array([[True]]), "accuracy", EVIL),
        facts={EVIL: EVIL},
        provenance={"command": EVIL},
        limits=(EVIL,),
    )
    return dataclasses.replace(content, **changes)


BARE = {
    "numbers": {},
    "attention": None,
    "reading": None,
    "focus": None,
    "series": {},
    "agreement": {},
    "lens": (),
    "relations": None,
    "factors": None,
}


class Reader(HTMLParser):
    """Reads a page, and refuses tags that do not match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.scripts, self.text, self.within = [], [], [], "", {}
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} has an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"]
            self.within[self.section] = []
        if "section" in self.open:
            self.within[self.section].append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data + "\n"

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def content():
    return content_of()


@pytest.fixture(scope="module")
def page(content):
    return write_inspect_page(content)


@pytest.fixture(scope="module")
def read(page):
    return Reader(page)


@pytest.fixture(scope="module")
def data(read):
    return json.loads(read.scripts[0])


def resource(name):
    return files("vitreous.show.inspect").joinpath(name).read_text(encoding="utf-8")


# --- whole without scripts ---


def test_nothing_is_loaded_and_every_picture_is_described(read):
    for tag, attributes in read.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/png;base64,", "#")), (tag, name)
        assert not any(name.startswith("on") for name in attributes)
    assert all(attributes["alt"] for attributes in read.named("img"))
    style, script = resource("page.css"), resource("page.js")
    assert "url(" not in style
    assert "@import" not in style
    assert re.findall(r"https?://[^\"]*", script) == ["http://www.w3.org/2000/svg"]
    for way in ("fetch(", "XMLHttpRequest", "import(", "eval(", "innerHTML", "document.write", "insertAdjacentHTML"):
        assert way not in script


def test_every_section_has_a_figure_or_a_table_and_words_without_scripts(read):
    names = ["overview", "heads", "numbers", "parallel", "flow", "trajectory", "agreement", "lens", "query"]
    names += ["relations", "factors", "made"]
    assert list(read.within) == names
    for name in names[1:-1]:
        tags = [tag for tag, _ in read.within[name]]
        assert "img" in tags, name
        assert "details" in tags or "table" in tags, name
    live = [attributes for attributes in read.named("div") if attributes.get("class") == "live"]
    assert all("hidden" in attributes for attributes in live)
    links = [attributes["href"][1:] for attributes in read.named("a")]
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert set(links) <= set(ids)
    labels = [attributes["aria-label"] for _, attributes in read.tags if attributes.get("role") == "region"]
    assert len(set(labels)) == len(labels)


def test_tables_hold_the_numbers(read, content):
    for number in ("75.0 %", "not given", "3.5", "0.1", "not defined"):
        assert number in read.text
    for value in content.numbers["entropy"].values.ravel():
        if np.isfinite(value):
            assert f"{value:.3g}" in read.text
    for row in read.named("th"):
        assert row["scope"] in {"row", "col"}
    assert read.text.count("block 2 head 0") >= 2


def test_the_page_states_its_size(page, read):
    (stated,) = re.findall(r"one file of ([\d.]+) MB", read.text)
    assert float(stated) == pytest.approx(len(page.encode()) / 1e6, abs=0.06)


def test_what_was_not_given_is_left_out_and_said():
    read = Reader(write_inspect_page(content_of(**BARE)))
    assert list(read.within) == ["overview", "heads", "made"]
    for words in ("numbers of heads", "the flow map", "the logit lens", "heads by factors"):
        assert words in read.text
    assert json.loads(read.scripts[0])["flows"] is None


def test_attention_that_is_too_large_is_left_out_and_said(content):
    size = packed_size(content.attention)
    changed = content_of(**{**BARE, "attention": content.attention})
    for limit, there in ((size, True), (size - 1, False)):
        read = Reader(write_inspect_page(changed, attention_limit=limit))
        assert (json.loads(read.scripts[0])["attention"] is not None) == there
        assert ("is left out" in " ".join(read.text.split())) != there
        assert ("data-widget" in {name for _, each in read.within["query"] for name in each}) == there
        assert "img" in {tag for tag, _ in read.within["query"]}
    assert packed_size(content.attention) == len(packed(content.attention)["half"])


# --- harmless ---


def test_names_with_markup_are_text(page, read):
    assert len(read.named("script")) == 2
    assert not any("onerror" in attributes for _, attributes in read.tags)
    assert read.text.count("alert(2)") > 10  # shown as it is
    assert "<img src=x" not in page
    assert page.count("</script>") == 2


def test_a_policy_forbids_to_load_anything_and_allows_the_one_script(read):
    (policy,) = [each["content"] for each in read.named("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(read.scripts[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert policy.endswith(f"script-src 'sha256-{digest}'")
    assert read.scripts[1] == resource("page.js")
    assert read.named("script")[0] == {"type": "application/json", "id": "data"}


def test_embedded_data_cannot_end_their_element():
    text = embed({"name": EVIL, "other": "<!--"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": EVIL, "other": "<!--"}
    with pytest.raises(ValueError, match="JSON"):
        embed({"value": float("nan")})


# --- numbers ---


def halves(each):
    return np.frombuffer(base64.b64decode(each["half"]), "<f2").reshape(each["shape"]).astype(np.float64)


def test_numbers_in_the_page_are_the_given_ones(data, content):
    np.testing.assert_allclose(halves(data["readings"]), content.readings, rtol=1e-3)
    np.testing.assert_allclose(halves(data["attention"]), content.attention, rtol=1e-3)
    for each, (name, number) in zip(data["numbers"], content.numbers.items(), strict=True):
        assert each["name"] == name
        np.testing.assert_allclose(np.array(each["values"], float), number.values, rtol=1e-5)
    assert data["numbers"][0]["values"][1][1] is None
    np.testing.assert_allclose(data["focus"]["centre"], content.focus.centre, rtol=1e-5)
    np.testing.assert_allclose(data["relations"]["mass"], content.relations.mass, rtol=1e-5)
    np.testing.assert_allclose(data["relations"]["mean"], content.relations.mass.mean(0), rtol=1e-5)
    assert (data["first"], data["blocks"], data["heads"], data["grid"]) == (2, BLOCKS, HEADS, list(GRID))
    assert rounded(np.array([[np.inf, 1.23456789]])) == [[None, 1.23457]]


def test_flows_in_the_page_carry_all_mass_where_all_are_there(data, content):
    for block in data["flows"]["steps"]:
        assert sum(share for _, _, share in block) == pytest.approx(1.0, abs=0.02)
        assert len({(source, target) for source, target, _ in block}) == len(block)
    np.testing.assert_allclose(data["flows"]["mass"], flows_of(content).mass, rtol=1e-5)
    assert data["flows"]["names"][0] == "class token"


def test_the_script_has_the_colours_of_the_figures(data, content):
    for name, digits in data["tables"].items():
        table = np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(-1, 3)
        low = -1.0 if len(table) == 255 else 0.0
        ramp = np.linspace(low, 1.0, len(table))[None]
        assert (table == colourise(ramp, Scale(low, 1.0, "", name))[0, :, :3]).all()
    scale = head_scale(content.readings, "share of attention")
    assert (data["readings"]["scale"]["low"], data["readings"]["scale"]["high"]) == (scale.low, scale.high)
    used = {each["scale"]["colours"] for each in (data["readings"], data["relations"], *data["numbers"])}
    assert used <= set(data["tables"])


# --- script and style ---


def test_every_part_that_asks_for_a_script_has_one_and_can_be_used_by_keys(read):
    script = resource("page.js")
    asked = [attributes["data-widget"] for _, attributes in read.tags if "data-widget" in attributes]
    written = re.findall(r"^    (\w+)\(place\)", script, re.MULTILINE)
    assert sorted(asked) == sorted(written)
    for needed in ('role: "listbox"', "tabIndex = 0", "ArrowRight", "ArrowDown", '"Home"', '"aria-live": "polite"'):
        assert needed in script
    frames = [attributes for _, attributes in read.tags if attributes.get("role") == "region"]
    assert frames
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in frames)


def brightness(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    channels = np.array([int(digits[place : place + 2], 16) for place in (0, 2, 4)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("place", [0, 1], ids=["light", "dark"])
def test_colours_of_the_page_have_enough_contrast(place):
    rules = re.findall(r":root\{([^}]*)\}", resource("page.css"))
    colours = dict(re.findall(r"--(\w+):(#\w+)", rules[place]))
    for name, least in {"ink": 4.5, "soft": 4.5, "link": 4.5, "mark": 3.0, "move": 3.0, "stay": 3.0}.items():
        light, dark = sorted((brightness(colours[name]), brightness(colours["paper"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least, name


def test_the_page_is_made_for_print_and_small_screens():
    style = resource("page.css")
    assert "@media print" in style
    assert "max-width:600px" in style
    assert "prefers-color-scheme:dark" in style


# --- content ---


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": (4, 4)},
        {"numbers": {"x": HeadNumber(np.zeros((2, 2)), "u", "m")}},
        {"prefix": ()},
        {"reading": np.ones(3), "attention": None},
        {"series": {"x": BlockSeries(np.zeros(2), "u", "m")}},
        {"focus": Focus(np.zeros((2, 2)), np.zeros(2))},
        {"relations": Relations(("a",), np.zeros((2, 1, 1)), "u", "m")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_parts_that_do_not_fit_are_refused(changes):
    with pytest.raises(InputError, match="has the shape"):
        content_of(**changes)


def test_a_model_without_prefix_asks_the_patch_in_the_middle():
    attention = np.random.default_rng(0).dirichlet(np.ones(12), (BLOCKS, 12))
    changed = content_of(**{**BARE, "attention": attention, "prefix": (), "suffix": ()})
    read = Reader(write_inspect_page(changed))
    assert "the patch in the middle" in read.text
