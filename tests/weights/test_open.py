"""From open_vit down: folders of every format pass the self-check, a hub out of reach is told within seconds."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from vitreous.core.errors import HubError, WeightsError
from vitreous.vit.open import open_vit

from .conftest import COMMIT, put, same_weights

PUBLISHED = [
    "timm:deit_tiny_patch16_224",
    "hf:google/vit-base-patch16-224",
    "torchvision:vit_b_16",
    "open_clip:ViT-B-32",
]


@pytest.fixture
def no_network(monkeypatch):
    """Let plain addresses lead to a port where nobody listens, as the hub's do in `unreachable`."""
    from vitreous.vit import hub

    real = hub.urlopen

    def nowhere(request, timeout):
        request.full_url = "http://127.0.0.1:9/file"
        return real(request, timeout=timeout)

    monkeypatch.setattr(hub, "urlopen", nowhere)


def refused(name: str, capfd) -> HubError:
    open_clip_import = name.startswith("open_clip")
    if open_clip_import:
        import open_clip  # noqa: F401  (not timed: the import is no retry)
    began = time.monotonic()
    with pytest.raises(HubError) as caught:
        open_vit(name)
    assert time.monotonic() - began < 4, "no retries"
    assert capfd.readouterr().out == "", "stdout is data"
    assert "\n" not in str(caught.value)
    assert caught.value.cause.startswith(f"{name} could not be fetched: ")
    return caught.value


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "torchvision" not in name])
def test_offline_by_choice(cache, name, capfd):
    told = refused(name, capfd)
    assert "HF_HUB_OFFLINE is set, and it is not in the cache" in told.cause
    assert "folder" in told.fix


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_network(unreachable, no_network, name, capfd):
    told = refused(name, capfd)
    assert "the hub cannot be reached, and it is not in the cache" in told.cause
    assert "Connect to the network once" in told.fix


def test_folder_of_transformers(hf_saved, hf_model):
    vit = open_vit(hf_saved)
    assert (vit.grid, vit.prefix, vit.outputs, vit.labels) == ((4, 4), 1, 3, ("cat", "dog", "hen"))
    assert vit.source == "folder tiny-vit"
    assert vit.warnings == ()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(vit.logits(images), hf_model((images - 0.5) / 0.5).logits)


def test_folder_of_timm(timm_saved, timm_model):
    vit = open_vit(timm_saved)
    assert (vit.grid, vit.prefix, vit.outputs, vit.labels) == ((4, 4), 1, 3, ("a", "b", "c"))
    assert same_weights(vit.model, timm_model)


def test_folder_of_open_clip(tmp_path):
    import open_clip

    shape = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": {}}))
    model = open_clip.CLIP(**{**shape, "vision_cfg": shape["vision_cfg"]})
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    vit = open_vit(tmp_path)
    assert (vit.grid, vit.has_classes, vit.outputs) == ((4, 4), False, 16)
    assert same_weights(vit.model, model.visual)


def test_repository_of_timm_under_hf(cache, timm_saved, timm_model):
    put(cache, "org/tiny-timm", timm_saved)
    vit = open_vit("hf:org/tiny-timm")
    assert same_weights(vit.model, timm_model)
    assert vit.source == f"org/tiny-timm@{COMMIT}"


def test_repositories_of_other_formats_under_hf_through_a_hub(hub, timm_saved, timm_model):
    """Settings and weights are fetched one after the other here as well."""
    hub.folder = timm_saved
    vit = open_vit("hf:org/tiny")
    assert same_weights(vit.model, timm_model)
    assert vit.source == f"org/tiny@{COMMIT}"


def test_other_image_size_of_transformers(hf_saved):
    vit = open_vit(hf_saved, image_size=(48, 64))
    assert vit.grid == (6, 8)
    assert "interpolated" in vit.warnings[0]


def test_wrong_weights_leave_no_model_behind(timm_saved, tmp_path):
    (tmp_path / "empty.pth").touch()
    with pytest.raises(WeightsError, match="is empty"):
        open_vit(timm_saved, weights=tmp_path / "empty.pth")


def test_same_weights_have_the_same_digest_however_they_came(timm_saved, timm_model, tmp_path):
    torch.save({"module." + name: tensor for name, tensor in timm_model.state_dict().items()}, tmp_path / "w.pth")
    assert open_vit(timm_saved).digest == open_vit(timm_saved, weights=tmp_path / "w.pth").digest


def test_in_a_process_of_its_own(tmp_path, hf_saved, timm_saved):
    """The whole way without patches: HF_HOME and HF_HUB_OFFLINE are set before anything is imported."""
    put(tmp_path / "hub", "org/tiny-vit", hf_saved)
    put(tmp_path / "hub", "org/tiny-timm", timm_saved)
    program = (
        "import sys; from vitreous.vit.open import open_vit\n"
        "for name in sys.argv[1:]:\n"
        "    vit = open_vit(name)\n"
        "    print(name, vit.source, vit.digest, vit.outputs)\n"
    )
    names = ["hf:org/tiny-vit", f"hf:org/tiny-vit@{COMMIT}", "timm:hf-hub:org/tiny-timm"]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *names],
        capture_output=True, text=True, check=False, timeout=120, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in told] == names, "nothing else is on stdout"
    assert [line[1] for line in told] == [f"org/tiny-vit@{COMMIT}"] * 2 + [f"org/tiny-timm@{COMMIT}"]
    assert [line[2] for line in told] == [open_vit(hf_saved).digest] * 2 + [open_vit(timm_saved).digest]
