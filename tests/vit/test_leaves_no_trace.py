"""Nothing of the caller's is changed: not by opening, tracing, asking or failing, and not in another thread."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from watched import METHODS, images_of, maps, plain_logits, preprocessing, require_same_maps

import vitreous as vt
from contracts.families import WIDE, scramble, timm_vit
from contracts.snapshot import nothing_changes, snapshot
from oracles import handwritten as hand
from vitreous.core.errors import UnsupportedModelError

SIZE = hand.SIZE


class Moody(nn.Module):
    """A block around another that does what it is told at its calls, and knows how often it ran."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.calls = 0
        self.at_call: Callable[[int], None] = lambda _call: None

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        tokens = self.block(tokens)
        self.at_call(self.calls)
        return tokens


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "fused": (timm_vit, WIDE),
    "written out": (lambda: hand.HandwrittenViT(hand.HOLDERS["list"]()), SIZE),
    "bare lists": (lambda: hand.HandwrittenViT(hand.HOLDERS["pairs"](), "last"), SIZE),
    "multihead": (lambda: hand.HandwrittenViT(hand.HOLDERS["encoder layers, tokens first"]()), SIZE),
}


def model_of(name: str) -> nn.Module:
    """A model in an untidy state: some gradients there, some parameters frozen, the caller's hooks on every module."""
    model = scramble(MODELS[name][0]())
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 3 > 0)
        parameter.grad = torch.full_like(parameter, 0.5) if index % 2 else None
    for module in model.modules():
        module.register_forward_hook(lambda *_: None)
        module.register_forward_pre_hook(lambda *_, **__: None, with_kwargs=True)
    return model


def ask_everything(trace: vt.Trace) -> None:
    """Use every property and pass that a trace has."""
    for name in ("attention", "values", "tokens", "attention_inputs", "reading", "readout", "inputs", "calls"):
        getattr(trace, name)
    for name in ("attention_grad", "attention_grad_cut", "attention_input_grad", "input_grad"):
        getattr(trace, name)
    trace.grad([trace.tokens[-1]])
    trace.scores(0)
    trace.rescore(trace.images.flip(3))
    trace.rescore(edit=lambda _block, probabilities, values: (probabilities, values))
    with trace.again(rules={F.gelu: lambda rows, **_: rows.relu()}) as other:
        other.attention_grad  # noqa: B018  (asked for what it does, not for what it gives)
    trace.to_grid(trace.reading)


@pytest.mark.parametrize("name", MODELS)
def test_opening_and_asking_everything(name):
    size = MODELS[name][1]
    model, images = model_of(name), images_of(size)
    kept = images.clone()
    with nothing_changes(model):
        vit = vt.open_vit(model, preprocessing=preprocessing(size))
        vit.logits(images)
        for capture in (vt.Capture(), vt.Capture(first=1), vt.Capture(pixels=False), vt.Capture(graph=False)):
            with vit.trace(images, target=[0, 1, 2], capture=capture) as trace:
                if capture == vt.Capture():
                    ask_everything(trace)
    assert torch.equal(images, kept)


def test_a_trace_that_is_never_closed():
    model, images = model_of("fused"), images_of(WIDE)
    vit = vt.open_vit(model, preprocessing=preprocessing(WIDE))
    with nothing_changes(model):
        trace = vit.trace(images)
        trace.attention_grad  # noqa: B018
    assert trace.attention


# -- failures ------------------------------------------------------------------------------------------------------------


def moody_model() -> tuple[nn.Module, Moody]:
    model = scramble(hand.HandwrittenViT(hand.Blocks(lambda: Moody(hand.Block(hand.Attention(hand.by_sdpa))), 2)))
    return model, model.blocks.layers[1]


class Interrupted(BaseException):
    """Like KeyboardInterrupt: no handler of ordinary errors sees it."""


@pytest.mark.parametrize("kind", [ArithmeticError, Interrupted])
def test_failing_at_any_pass_of_opening(kind):
    """The block fails in the first, second, … pass that reaches it, until opening succeeds."""
    model, block = moody_model()
    failed = 0
    while True:

        def fail(call: int, failing: int = failed + 1) -> None:
            if call >= failing:  # and in the second attempt that the scout makes without the compiler
                raise kind("on demand")

        block.calls, block.at_call = 0, fail
        before = snapshot(model)
        with suppress(kind if issubclass(kind, Interrupted) else UnsupportedModelError):
            vt.open_vit(model, preprocessing=preprocessing(SIZE))
            break
        after = snapshot(model)
        own_count = {"attributes of blocks.layers.0", "attributes of blocks.layers.1"}
        assert [name for name in before if after[name] != before[name] and name not in own_count] == []
        failed += 1
    assert failed >= 5  # scout, plain, tapped, alone, readout; the layout needs the patch embedding alone


def _fail_in_block(vit: vt.Vit, block: Moody, images: Tensor) -> None:
    def fail(_call: int) -> None:
        raise ArithmeticError("on demand")

    block.at_call = fail
    vit.trace(images)


def _fail_in_edit(vit: vt.Vit, _block: Moody, images: Tensor) -> None:
    def edit(number: int, probabilities: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if number == 1:
            raise ArithmeticError("on demand")
        return probabilities, values

    vit.logits(images, edit=edit)


def _fail_in_rule(vit: vt.Vit, _block: Moody, images: Tensor) -> None:
    def rule(*_args: object, **_kwargs: object) -> Tensor:
        raise ArithmeticError("on demand")

    vit.trace(images, rules={F.gelu: rule})


def _fail_in_backward(vit: vt.Vit, _block: Moody, images: Tensor) -> None:
    with vit.trace(images) as trace:
        handle = trace.tokens[1].register_hook(lambda _gradient: 1 / 0)
        try:
            trace.attention_grad  # noqa: B018
        finally:
            handle.remove()


def _fail_inside_with(vit: vt.Vit, _block: Moody, images: Tensor) -> None:
    with vit.trace(images) as trace:
        trace.attention_grad_cut  # noqa: B018
        raise ArithmeticError("on demand")


@pytest.mark.parametrize("fail", [_fail_in_block, _fail_in_edit, _fail_in_rule, _fail_in_backward, _fail_inside_with])
def test_failing_in_the_middle(fail):
    model, block = moody_model()
    images = images_of(SIZE)
    vit = vt.open_vit(model, preprocessing=preprocessing(SIZE))
    expected = maps(vit, images)
    for module in (model.embed, block.block, model.blocks.layers[0].block, model.head):
        with nothing_changes(module), pytest.raises(ArithmeticError):
            fail(vit, block, images)
        block.at_call = lambda _call: None
    require_same_maps(maps(vit, images), expected, 0.0)


# -- the caller's hooks and gradients ------------------------------------------------------------------------------------


def test_the_callers_hooks_keep_acting():
    """A hook that changes a block's output is part of the model: it acts in every pass, once per pass, and remains."""
    model, images = scramble(timm_vit()), images_of(WIDE)
    calls: list[int] = []

    def steer(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        calls.append(1)
        return output * 1.5

    unsteered = plain_logits(model, images)
    model.blocks[0].register_forward_hook(steer)
    vit = vt.open_vit(model, preprocessing=preprocessing(WIDE))
    own = plain_logits(model, vit.prepare(images))
    calls.clear()
    with vit.trace(images) as trace:
        assert len(calls) == 1
        assert float((trace.logits.detach() - own).abs().max()) <= 1e-5 * float(own.abs().max())
        trace.rescore()
        assert len(calls) == 2
    assert not torch.allclose(plain_logits(model, images), unsteered)
    assert len(calls) == 3


def test_the_callers_training_step_is_not_disturbed():
    """Explaining between the caller's forward and backward, or before the step, changes no gradient."""
    images = images_of(WIDE, 2)
    wanted = torch.tensor([1, 3])

    def gradients(explain: bool) -> list[Tensor]:
        model = scramble(timm_vit())
        vit = vt.open_vit(model, preprocessing=preprocessing(WIDE))
        pixels = images.clone().requires_grad_()
        if explain:
            maps(vit, pixels, target=(0, 1))
            assert pixels.grad is None
        loss = F.cross_entropy(model(pixels), wanted)
        if explain:
            with vit.trace(pixels, target=0) as trace:
                ask_everything(trace)
        loss.backward()
        return [pixels.grad, *(parameter.grad for parameter in model.parameters())]

    for found, expected in zip(gradients(explain=True), gradients(explain=False), strict=True):
        assert torch.equal(found, expected)


def test_explaining_within_the_callers_function_mode():
    """A mode of the caller's own sees the model's operators, before and after."""

    class Counting(torch.overrides.TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen += func is F.layer_norm
            return func(*args, **(kwargs or {}))

    model, images = scramble(timm_vit()), images_of(WIDE)
    vit = vt.open_vit(model, preprocessing=preprocessing(WIDE))
    expected = maps(vit, images)
    with Counting() as counting:
        plain_logits(model, images)
        alone = counting.seen
        require_same_maps(maps(vit, images), expected, 0.0)
        assert counting.seen == 2 * alone > 0


# -- threads -------------------------------------------------------------------------------------------------------------

PATIENCE = 20.0


def in_thread(work: Callable[[], object]) -> Callable[[], object]:
    """Start `work` in another thread; gives a function that waits for its result."""
    results: list[object] = []
    failures: list[BaseException] = []

    def run() -> None:
        torch.set_num_threads(1)
        try:
            results.append(work())
        except BaseException as problem:  # noqa: BLE001  (raised again by whoever waits)
            failures.append(problem)

    thread = threading.Thread(target=run)
    thread.start()

    def wait() -> object:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        if failures:
            raise failures[0]
        return results[0]

    return wait


def test_another_thread_does_not_notice():
    """While a pass stands still in the middle of a block, another thread runs the same model: same bits, nothing recorded."""
    model, block = moody_model()
    images, others = images_of(SIZE, 2), images_of(SIZE, 3, seed=7)
    vit = vt.open_vit(model, preprocessing=preprocessing(SIZE))
    before = in_thread(lambda: plain_logits(model, others))()
    with vit.trace(images, target=0) as undisturbed:
        expected = [attention.detach().clone() for attention in undisturbed.attention]
    owner = threading.get_ident()
    during: list[Tensor] = []

    def stand_still(_call: int) -> None:
        if threading.get_ident() == owner and not during:
            during.append(in_thread(lambda: plain_logits(model, others))())

    block.at_call = stand_still
    with vit.trace(images, target=0) as trace:
        assert torch.equal(during[0], before)
        assert [tokens.shape[0] for tokens in trace.tokens] == [2, 2, 2]
        assert len(trace.attention) == 2
        assert all(torch.equal(found, each) for found, each in zip(trace.attention, expected, strict=True))
        assert torch.equal(in_thread(lambda: plain_logits(model, others))(), before)  # the trace is still open


def test_hooks_may_be_called_after_they_were_taken_off():
    """PyTorch forgets that a hook wants keyword arguments while another thread still has to call it: that call is let pass."""
    model, block = moody_model()
    vit = vt.open_vit(model, preprocessing=preprocessing(SIZE))
    stale: list[Callable[..., object]] = []
    block.at_call = lambda _call: stale.extend(block._forward_pre_hooks.values())
    with vit.trace(images_of(SIZE, 1), target=0):
        pass
    assert stale
    assert not block._forward_pre_hooks
    for hook in stale:
        assert in_thread(lambda hook=hook: hook(block, (torch.zeros(1, 13, hand.WIDTH),)))() is None


def test_a_failure_in_another_thread_is_its_own():
    model, block = moody_model()
    images = images_of(SIZE, 2)
    vit = vt.open_vit(model, preprocessing=preprocessing(SIZE))
    expected = maps(vit, images)
    owner = threading.get_ident()

    def fail_elsewhere(_call: int) -> None:
        if threading.get_ident() != owner:
            raise ArithmeticError("on demand")

    block.at_call = fail_elsewhere
    wait = in_thread(lambda: plain_logits(model, images))
    require_same_maps(maps(vit, images), expected, 0.0)
    with pytest.raises(ArithmeticError):
        wait()


def test_two_threads_trace_the_same_model_at_once():
    """Both stand in the second block at the same time, on other images, and both get what each gets alone."""
    model, block = moody_model()
    vit = vt.open_vit(model, preprocessing=preprocessing(SIZE))
    batches = [images_of(SIZE, 2, seed=1), images_of(SIZE, 3, seed=2)]
    expected = [maps(vit, images) for images in batches]
    barrier = threading.Barrier(2, timeout=PATIENCE)
    block.at_call = lambda _call: barrier.wait() and None
    waits = [in_thread(lambda images=images: maps(vit, images)) for images in batches]
    for wait, alone in zip(waits, expected, strict=True):
        require_same_maps(wait(), alone, 1e-6)


def test_two_threads_open_and_explain_a_compiled_model_at_once():
    """The compiler is switched off for as long as one of them needs it, and on again afterwards."""
    torch._dynamo.reset()
    model = torch.compile(scramble(timm_vit()), backend="eager")
    images = images_of(WIDE, 2)

    def work() -> dict[str, Tensor]:
        vit = vt.open_vit(nn.Sequential(model), preprocessing=preprocessing(WIDE))
        return maps(vit, images, METHODS)

    expected = work()
    for wait in [in_thread(work) for _ in range(3)]:
        require_same_maps(wait(), expected, 1e-6)
    assert torch._dynamo.eval_frame._stance.stance == "default"
