"""torchvision: published weights through a server on the loopback, local files, other sizes and heads."""

import hashlib

import pytest
import torch
from torchvision import models, transforms
from torchvision.models import _api
from torchvision.models.vision_transformer import VisionTransformer

from vitreous.core.errors import (
    HubError,
    InputError,
    UnknownNameError,
    UnsafeWeightsError,
    UnsupportedModelError,
    WeightsMismatchError,
)
from vitreous.vit.families import Request, torchvision

from .conftest import same_weights


def tiny(classes: int = 3, size: int = 32, seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    return VisionTransformer(size, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=classes).eval()


@pytest.fixture
def published(hub, tmp_path, monkeypatch):
    """Register a ViT of two blocks whose published weights lie on the loopback; give the model with these weights."""
    model = tiny(seed=1)
    torch.nn.init.normal_(model.heads.head.weight)  # zeros, as torchvision initialises it, would hide a fresh head
    hub.folder = tmp_path / "files"
    hub.folder.mkdir()
    torch.save(model.state_dict(), hub.folder / "tiny.pth")
    content = (hub.folder / "tiny.pth").read_bytes()
    name = f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (hub.folder / "tiny.pth").rename(hub.folder / name)

    class Tiny_Weights(_api.WeightsEnum):  # noqa: N801  (the library's own way of naming)
        FIRST = _api.Weights(
            url=f"{hub.address}/{name}",
            transforms=lambda: transforms._presets.ImageClassification(crop_size=32, resize_size=40),
            meta={"categories": ["a", "b", "c"]},
        )
        DEFAULT = FIRST

    def vitreous_tiny(*, weights: Tiny_Weights | None = None, num_classes: int = 3, image_size: int = 32):
        return tiny(num_classes, image_size)

    vitreous_tiny.__module__ = "torchvision.models.vitreous_tiny"
    monkeypatch.setitem(_api.BUILTIN_MODELS, "vitreous_tiny", vitreous_tiny)
    return model


def test_published(published, capfd):
    built = torchvision.build(Request("vitreous_tiny"))
    assert same_weights(built.model, published)
    assert not built.model.training
    assert built.labels == ("a", "b", "c")
    assert built.source.startswith("torchvision Tiny_Weights.FIRST (tiny-")
    assert built.preprocessing.size == (32, 32)
    assert built.preprocessing.crop_share == 0.8
    assert built.warnings == ()
    assert capfd.readouterr() == ("", ""), "the library itself prints 'Downloading' to stdout, which is data here"


def test_hostile_file_in_the_cache(published, hub, tmp_path):
    """The library unpickles without restriction what lies in the cache, and does not check it again."""
    import os

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "went off"),)

    torchvision.build(Request("vitreous_tiny"))
    (cached,) = (tmp_path / "torch").rglob("*.pth")
    torch.save({"x": Bomb()}, cached)
    with pytest.raises(UnsafeWeightsError):
        torchvision.build(Request("vitreous_tiny"))
    assert not (tmp_path / "went off").exists()


def test_published_with_other_classes(published):
    built = torchvision.build(Request("vitreous_tiny", num_classes=5))
    assert built.labels is None
    assert built.warnings == ("num_classes=5 is not what the published weights have: the head is new and random.",)
    assert same_weights(built.model.encoder, published.encoder)


def test_published_with_another_image_size(published):
    built = torchvision.build(Request("vitreous_tiny", image_size=(64, 64)))
    assert built.preprocessing.size == (64, 64)
    assert "resampled by the library: encoder.pos_embedding from (1, 17, 16) to (1, 65, 16)" in built.warnings[0]
    assert torch.equal(built.model.encoder.pos_embedding[:, 0], published.encoder.pos_embedding[:, 0])
    assert built.model(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_size_that_is_not_square(published):
    with pytest.raises(InputError, match="not square"):
        torchvision.build(Request("vitreous_tiny", image_size=(64, 32)))


def test_local_file(published, tmp_path):
    other = tiny(seed=5)
    torch.save(other.state_dict(), tmp_path / "mine.pth")
    built = torchvision.build(Request("vitreous_tiny", str(tmp_path / "mine.pth")))
    assert same_weights(built.model, other)
    assert built.source == "file mine.pth"


def test_local_file_with_other_classes(published, tmp_path):
    torch.save(tiny(classes=7).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(WeightsMismatchError, match=r"head of 7 classes.*num_classes=7"):
        torchvision.build(Request("vitreous_tiny", str(tmp_path / "mine.pth")))
    built = torchvision.build(Request("vitreous_tiny", str(tmp_path / "mine.pth"), num_classes=7))
    assert built.labels is None


def test_names():
    with pytest.raises(UnknownNameError, match="Did you mean 'vit_b_16'"):
        torchvision.build(Request("vit_b_61"))
    with pytest.raises(UnsupportedModelError, match="cannot be built"):
        torchvision.build(Request("swin_t", "random", image_size=(64, 64)))


def test_gone(published, hub):
    hub.refuse = (404, "")
    with pytest.raises(HubError, match="no longer at its published address"):
        torchvision.build(Request("vitreous_tiny"))


def test_the_real_table():
    """What is read off the library's own entries of its ViT-B/16, against the library's own evaluation transform."""
    published = models.get_model_weights("vit_b_16").DEFAULT
    found = torchvision._preprocessing(published, Request("vit_b_16"))
    assert found.size == (224, 224)
    assert found.crop_share == 0.875
    assert found.interpolation == "bilinear"
    photo = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = published.transforms(resize_size=224)(photo)
    torch.testing.assert_close(found.normalise(photo[None] / 255)[0], expected)
    assert len(published.meta["categories"]) == 1000
