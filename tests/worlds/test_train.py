"""Training of the bundled models: what is learned from is right, and an interrupted run ends where a whole one does."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from vitreous.worlds import train as training
from vitreous.worlds.rendered.load import scenes
from vitreous.worlds.rendered.write import World, write_world
from vitreous.worlds.train import KINDS, Recipe, _covers, _vary, load_pictures, rate_share, train, write_weights

COUNT = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("world")
    write_world(World(seed=7, finer=2), COUNT, place)
    return place


@pytest.fixture(scope="module")
def pictures(folder):
    return load_pictures(folder)


def test_pictures_are_those_of_the_folder(folder, pictures):
    samples = scenes(folder)
    assert len(pictures) == COUNT
    for place, sample in enumerate(samples):
        assert np.array_equal(pictures.images[place], np.asarray(sample.photo().image))
        assert pictures.labels[place] == sample.index
        assert [KINDS[kind] for kind in pictures.kinds[place, 1 : len(sample.things) + 1]] == [
            thing.shape for thing in sample.things
        ]


def test_covers_count_what_is_in_each_patch(folder, pictures):
    """Against the coverage of each thing, summed patch by patch."""
    sample = scenes(folder)[3]
    found = _covers(pictures.numbers[3:4].long(), pictures.kinds[3:4])[0].reshape(12, 12, len(KINDS))
    expected = np.zeros((12, 12, len(KINDS)))
    for number, thing in enumerate(sample.things):
        expected[..., KINDS.index(thing.shape)] += sample.coverage(number).reshape(12, 8, 12, 8).mean((1, 3))
    expected[..., 0] = 1 - expected.sum(-1)
    assert np.allclose(found, expected, atol=1e-6)


def test_varied_pictures_and_numbers_stay_together(pictures):
    """A picture that is white exactly where thing 1 is remains so, whatever is done to it, up to light and noise."""
    numbers = pictures.numbers[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)
    white = (numbers[:, ::2, ::2] == 1)[:, None].expand(-1, 3, -1, -1).to(torch.uint8) * 255
    images, moved = _vary(white, numbers, 6, torch.Generator().manual_seed(3))
    where = moved[:, ::2, ::2] == 1
    for image, place in zip(images.mean(1), where, strict=True):
        assert image[place].min() > 0.4
        assert image[~place].max() < 0.4
    assert not torch.equal(moved, numbers.long())


def test_tags_are_printed_on_the_share_that_is_asked(folder, pictures):
    always, plain = load_pictures(folder, tags=1.0), pictures
    corner = always.images[:, :12, :12]
    assert (corner != plain.images[:, :12, :12]).flatten(1).any(1).all()
    assert torch.equal(always.images[:, 12:], plain.images[:, 12:])
    same_class = [
        (one, other) for one in range(COUNT) for other in range(one) if plain.labels[one] == plain.labels[other]
    ]
    assert all(torch.equal(corner[one], corner[other]) for one, other in same_class)


def test_a_run_that_was_interrupted_ends_where_a_whole_one_does(pictures, tmp_path, monkeypatch, capsys):
    recipe = Recipe(epochs=2, batch=4)
    whole = train(pictures, pictures, recipe)
    kept = tmp_path / "model.kept"
    with monkeypatch.context() as patched:
        patched.setattr(training, "_keep", _stop_after(1, training._keep))
        with pytest.raises(KeyboardInterrupt):
            train(pictures, pictures, recipe, kept=kept)
    resumed = train(pictures, pictures, recipe, kept=kept)
    assert "epoch 2" in capsys.readouterr().out
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def _stop_after(epoch, keep):
    def stop(kept, done, *rest):
        keep(kept, done, *rest)
        if done == epoch:
            raise KeyboardInterrupt

    return stop


def test_learning_lowers_the_loss(pictures):
    recipe = Recipe(epochs=1, batch=COUNT)
    torch.manual_seed(0)
    learner = training.Learner()
    optimiser = torch.optim.AdamW(learner.parameters(), 1e-3)
    images, covers, labels = next(training.batches(pictures, recipe, 0))
    losses = []
    for _ in range(6):
        loss = training.loss_of(learner, images, covers, labels, tokens=1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_rate_rises_falls_and_cools():
    """Up in a line for one epoch of ten, down a cosine until the fourth, then in a line to zero."""
    recipe = Recipe(epochs=8, horizon=10, cooling=4, warmup=0.1)
    rates = [rate_share(step, 100, recipe) for step in (0, 50, 100, 400, 600, 800)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.75, 0.375, 0.0])


def test_a_short_run_cools_for_half_of_it():
    recipe = Recipe(epochs=2, horizon=10, cooling=4, warmup=0.1)
    assert [rate_share(step, 100, recipe) for step in (50, 100, 150, 200)] == pytest.approx([0.5, 1.0, 0.5, 0.0])


def test_weights_say_how_they_were_made(tmp_path):
    recipe = Recipe(epochs=3)
    write_weights({"weight": torch.ones(2), "count": torch.tensor(3)}, recipe, 640, 0.95, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", "pt") as stored:
        made = json.loads(stored.metadata()["recipe"])
        assert stored.get_tensor("weight").dtype == torch.float16
        assert stored.get_tensor("count").dtype == torch.int64
    assert (made["scenes"], made["tags"], made["epochs"], made["rate"]) == (640, 0.95, 3, recipe.rate)
