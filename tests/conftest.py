"""Fixtures that every room's tests use."""

import os
from pathlib import Path

import pytest

# No test may reach for a model hub: what needs one is tested against its failure, or with local weights.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared research data beside the checkout; the test skips where it is absent."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "golden" / "golden.npz").is_file():
        pytest.skip("needs the research data in ../shared, which are not part of the package")
    return folder


@pytest.fixture(scope="session")
def deit_weights(shared: Path) -> Path:
    """Weights of a real DeiT-tiny."""
    return shared / "data" / "deit_tiny" / "deit_tiny_patch16_224.safetensors"


@pytest.fixture(autouse=True)
def single_thread_count():
    """Give every test one thread: sums are the same in every run, and tiny models are faster so."""
    import torch

    torch.set_num_threads(1)
