"""The digest names the weights: the same numbers give the same name, one other bit another name."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from vitreous.core.digest import weights_digest


class Holder(nn.Module):
    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


def bits(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)


@pytest.mark.parametrize(
    "tensor",
    [
        bits(1.0, 2.0),
        bits(1.0, 2.0).bfloat16(),
        bits(1.0, 2.0).half(),
        bits(1.0, 2.0).double(),
        bits(1.0, 2.0).to(torch.float8_e4m3fn),
        bits(1.0, 2.0).to(torch.complex64),
        torch.tensor([True, False]),
        torch.tensor([1, 2], dtype=torch.int8),
        torch.tensor([1, 2]),
        torch.tensor(3.0),
        torch.tensor(3),
        torch.arange(6.0).reshape(2, 3).T,
    ],
    ids=lambda tensor: f"{tensor.dtype}{tuple(tensor.shape)}",
)
def test_one_bit_changes_it(tensor):
    """Flip single bits of the numbers, the first and the last, and nothing else."""
    digest = weights_digest(Holder(x=tensor))
    assert digest == weights_digest(Holder(x=tensor.clone()))
    for position in (0, -1):
        raw = tensor.contiguous().clone().reshape(-1)
        raw.view(torch.uint8)[position] ^= 1
        assert weights_digest(Holder(x=raw.reshape(tensor.shape))) != digest


def test_empty_tensors_count_by_shape():
    assert weights_digest(Holder(x=torch.empty(0, 3))) != weights_digest(Holder(x=torch.empty(3, 0)))
    assert weights_digest(Holder(x=torch.empty(0))) != weights_digest(Holder())


def test_name_shape_and_type_count():
    digests = {
        weights_digest(Holder(x=torch.zeros(4))),
        weights_digest(Holder(y=torch.zeros(4))),
        weights_digest(Holder(x=torch.zeros(2, 2))),
        weights_digest(Holder(x=torch.zeros(4, dtype=torch.int32))),
        weights_digest(Holder(x=torch.zeros(2), y=torch.zeros(2))),
    }
    assert len(digests) == 5


def test_order_and_layout_do_not_count():
    one = Holder(x=bits(1.0), y=bits(2.0))
    assert weights_digest(one) == weights_digest(Holder(y=bits(2.0), x=bits(1.0)))
    strided = torch.arange(12.0).reshape(3, 4).T
    assert weights_digest(Holder(x=strided)) == weights_digest(Holder(x=strided.contiguous()))


def test_shared_tensors():
    layer = nn.Linear(2, 2)
    tied = nn.ModuleList([layer, layer])
    assert weights_digest(tied) == weights_digest(nn.ModuleList([layer, layer]))
    before = weights_digest(tied)
    with torch.no_grad():
        layer.weight[0, 0] += 1
    assert weights_digest(tied) != before


def test_training_state_does_not_count():
    model = nn.Linear(2, 2)
    before = weights_digest(model)
    model.train(mode=False).requires_grad_(requires_grad=False)
    model.weight.grad = torch.ones(2, 2)
    assert weights_digest(model) == before


@pytest.mark.filterwarnings(
    "ignore:.*quantize:UserWarning", "ignore:.*quantiz:DeprecationWarning", "ignore:.*quantiz:FutureWarning"
)
def test_quantised_tensors():
    numbers = bits(1.0, 2.0)
    one = torch.quantize_per_tensor(numbers, scale=0.1, zero_point=0, dtype=torch.qint8)
    other = torch.quantize_per_tensor(bits(1.0, 2.5), scale=0.1, zero_point=0, dtype=torch.qint8)
    assert weights_digest(Holder(x=one)) == weights_digest(Holder(x=one.clone()))
    assert weights_digest(Holder(x=one)) != weights_digest(Holder(x=other))


def test_the_digest_is_the_same_in_another_process():
    program = (
        "import torch; from torch import nn; from vitreous.core.digest import weights_digest;"
        "m = nn.Linear(2, 2); m.load_state_dict({'weight': torch.arange(4.).reshape(2, 2), 'bias': torch.ones(2)});"
        "print(weights_digest(m))"
    )
    model = nn.Linear(2, 2)
    model.load_state_dict({"weight": torch.arange(4.0).reshape(2, 2), "bias": torch.ones(2)})
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == weights_digest(model)
