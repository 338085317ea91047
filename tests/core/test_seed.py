"""Randomness per image must depend on its names alone."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from vitreous.core import seed
from vitreous.core.seed import image_generator, image_seed

NAMES = st.lists(st.text(), max_size=4).map(tuple)


def draw(name: str, count: int = 5) -> list[float]:
    return torch.rand(count, generator=image_generator(11, "occlusion", name)).tolist()


def test_seed_is_blake2b_of_the_parts_and_their_lengths():
    text = b"\x02\0\0\0\0\0\0\0" + b"42" + b"\x03\0\0\0\0\0\0\0" + b"cat"
    expected = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") // 2
    assert image_seed(42, "cat") == expected


def test_seeds_do_not_change_between_versions():
    """A change here changes every published random result: raise the major version with it."""
    assert image_seed(0) == 2736609759171767065
    assert image_seed(42, "cat") == 3486499045301245408
    assert image_seed(-1, "occlusion", "猫.png") == 8353579604881416738


@given(st.integers(-(2**80), 2**80), NAMES)
def test_seeds_fit_63_bits_and_torch_takes_them(master, names):
    value = image_seed(master, *names)
    assert 0 <= value < 2**63
    assert image_generator(master, *names).initial_seed() == value


@given(st.tuples(st.integers(0, 99), NAMES), st.tuples(st.integers(0, 99), NAMES))
def test_different_names_give_different_seeds(first, second):
    same = image_seed(first[0], *first[1]) == image_seed(second[0], *second[1])
    assert same == (first == second)


def test_boundaries_between_names_count():
    seeds = {image_seed(1, *names) for names in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("c", "ab")]}
    assert len(seeds | {image_seed(1), image_seed(11), image_seed(1, "1")}) == 8


def test_a_file_name_that_is_no_text_has_a_seed():
    assert image_seed(1, os.fsdecode(b"caf\xe9.png")) != image_seed(1, os.fsdecode(b"caf\xe8.png"))


def test_draws_do_not_depend_on_order_batch_size_or_the_global_state():
    names = [f"image {number}" for number in range(6)]
    expected = {name: draw(name) for name in names}
    shuffled = random.Random(3).sample(names, len(names))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for size in (1, 2, 5):
        for start in range(0, len(shuffled), size):
            batch = shuffled[start : start + size]
            generators = [image_generator(11, "occlusion", name) for name in batch]
            columns = [[float(torch.rand((), generator=one)) for one in generators] for _ in range(5)]
            for position, name in enumerate(batch):
                assert [column[position] for column in columns] == expected[name]
    assert torch.equal(before, torch.random.get_rng_state())
    assert len({tuple(values) for values in expected.values()}) == len(names)


def test_draws_do_not_depend_on_the_worker():
    code = "import sys; from vitreous.core.seed import image_seed as s; print(s(11, 'occlusion', sys.argv[1]))"
    source = str(Path(seed.__file__).parents[2])
    # Python's own hash of a string differs from process to process, which must not matter.
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": source}
    command = [sys.executable, "-c", code, "猫"]
    out = subprocess.run(command, env=environment, capture_output=True, check=True, text=True, timeout=120)
    assert int(out.stdout) == image_seed(11, "occlusion", "猫")
