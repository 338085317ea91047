"""Measuring a model: against models whose answers are known, because they are written here."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vitreous.worlds.measure import Share, right_answers, target_matters_most, under_stress, with_tags
from vitreous.worlds.rendered.load import scenes
from vitreous.worlds.rendered.scene import Tag
from vitreous.worlds.rendered.tags import print_tag

SAMPLES = list(scenes())


def answering(answer):
    """A model whose logits `answer` computes from images "b 3 96 96"."""
    return SimpleNamespace(logits=answer)


def reads_tags(images):
    """Compare the upper left corner with each of the ten tags."""
    marks = [print_tag(np.zeros((96, 96, 3), np.uint8), Tag(number))[:12, :12] for number in range(10)]
    wanted = torch.from_numpy(np.stack(marks)).permute(0, 3, 1, 2).flatten(1).float() / 255
    corner = images[:, :, :12, :12].flatten(1)
    return -torch.cdist(corner, wanted)


def test_a_model_that_reads_tags_is_found_out():
    found = with_tags(answering(reads_tags), SAMPLES)
    assert found["tags of the class"] == Share(60, 60)
    assert found["tags of another class"] == Share(0, 60)
    assert found["no tags"].hits < 20
    assert found["tags in the opposite corner"].hits < 20


def test_right_answers_counts():
    always_three = answering(lambda images: torch.eye(10)[3].expand(len(images), 10))
    labels = [sample.index for sample in SAMPLES]
    assert right_answers(always_three, [sample.image for sample in SAMPLES], labels) == Share(labels.count(3), 60)


def test_interval_is_that_of_wilson():
    """Against the closed form with z = 1.959964."""
    hits, count, z = 45, 60, 1.959964
    share = hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    assert str(Share(hits, count)) == f"75.0% ({middle - half:.1%} to {middle + half:.1%}, n=60)"


@pytest.mark.parametrize("number", [0, 1])
def test_what_matters_most_is_found_by_taking_it_out(number):
    """The logit is how much of the picture is as it was where one thing is seen: it falls most without that thing."""

    def answer(images):
        there = torch.from_numpy(current.coverage(number) >= 1)
        same = ((images - images[:1]).abs().amax(1) < 0.02) & there
        return same.sum((1, 2))[:, None].expand(-1, 10).float()

    hits = 0
    for sample in SAMPLES[:6]:
        current = sample
        hits += target_matters_most(answering(answer), [sample]).hits
    assert hits == (6 if number == 0 else 0)


def test_stress_is_applied():
    brightness = []

    def answer(images):
        brightness.append(float(images.mean()))
        return torch.zeros(len(images), 10)

    for level in (0, 3):
        under_stress(answering(answer), SAMPLES[:2], "light_intensity", level)
    assert brightness[1] < 0.75 * brightness[0]
