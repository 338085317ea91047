"""Doctor: what was found out about a model, before anything is explained with it.

`open_vit` discovers a model's layout rather than reading it from a configuration; this is where a person
can see what it found and disagree. It stands above `methods`, because it also says which of them apply.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import nn

from vitreous.methods._method import METHODS
from vitreous.vit.memory import bytes_per_image
from vitreous.vit.open import open_vit
from vitreous.vit.selfcheck import CHECKS
from vitreous.vit.vit import Vit

_KINDS = {
    "sdpa": "F.scaled_dot_product_attention (fused)",
    "multihead": "nn.MultiheadAttention",
    "handwritten": "softmax and product written out",
    "none": "none that is plain",
}


class Verdict(BaseModel):
    """Whether one method applies to the model, why not, and the memory it needs for one image in bytes.

    method           name of the method
    applies          whether `explain` would run it on this model
    why_not          the reason as a clause, empty if it applies
    bytes_per_image  estimated peak of explaining one image by this method alone, weights not counted
    """

    model_config = ConfigDict(frozen=True)

    method: str
    applies: bool
    why_not: str
    bytes_per_image: int


class Diagnosis(BaseModel):
    """The facts that `open_vit` established. `str()` gives them as readable lines.

    A pydantic model, so `model_dump(mode="json")` gives the same facts to a program. A model without plain
    attention has 0 blocks, heads and tokens, no checks, and its whole input as the one patch.

    model                   what was opened, for instance "timm:deit_tiny_patch16_224", or the class of a
                            caller's module
    weights_source          where the weights came from, in words
    weights_digest          sha256 over all parameters and buffers, in hexadecimal
    outputs, output_kind    how many numbers the model returns for an image, and what they are
    labels                  whether the outputs have names
    blocks, heads, width    transformer blocks, attention heads in each, and numbers in a token
    attention               how the model calls attention, in words
    tokens, prefix, suffix  tokens that travel through the blocks; those before and after the patch tokens
    grid, patch             (rows, columns) of patches, and (height, width) of a patch in pixels
    readout                 which of the last tokens the prediction is read from, in words
    input_size              (height, width) of the model input in pixels
    mean, std               normalisation of each channel, for RGB in [0, 1]
    crop_share              side of the evaluation crop as a share of the largest possible one
    device, dtype           where and in what the model computes, for instance "cpu" and "float32"
    checks                  names of checks that the model passed
    methods                 one verdict for each method, by name
    warnings                what had to be guessed; repeated in every heatmap's provenance
    """

    model_config = ConfigDict(frozen=True)

    model: str
    weights_source: str
    weights_digest: str
    outputs: int
    output_kind: str
    labels: bool
    blocks: int
    heads: int
    width: int
    attention: str
    tokens: int
    prefix: int
    suffix: int
    grid: tuple[int, int]
    patch: tuple[int, int]
    readout: str
    input_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_share: float
    device: str
    dtype: str
    checks: tuple[str, ...]
    methods: tuple[Verdict, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Lay the facts out for a person: one fact on each line, its name in the first column.

        The digest is cut to twelve digits; the field `weights_digest` has all of them.
        """
        facts = {
            "model": f"{self.model}, {self.weights_source}, sha256 {self.weights_digest[:12]}…",
            "outputs": f"{self.outputs} {self.output_kind}, {'with' if self.labels else 'without'} names",
            "blocks": f"{self.blocks} with {self.heads} heads, width {self.width}",
            "attention": self.attention,
            "tokens": f"{self.tokens} = {self.prefix} prefix + {self.grid[0]} x {self.grid[1]} patches "
            f"+ {self.suffix} suffix",
            "read from": self.readout,
            "input": f"{self.input_size[0]} x {self.input_size[1]} pixels, patches of "
            f"{self.patch[0]} x {self.patch[1]}, mean {self.mean}, std {self.std}, crop share {self.crop_share}",
            "computes": f"{self.dtype} on {self.device}",
        }
        lines = [f"{name + ':':11} {value}" for name, value in facts.items()]
        lines += [f"{'check:':11} passed: {check}" for check in self.checks]
        lines += [f"{'warning:':11} {warning}" for warning in self.warnings]
        for verdict in self.methods:
            cost = f"{verdict.bytes_per_image / 2**20:.0f} MiB per image"
            lines.append(f"{'method:':11} {verdict.method:20} {cost if verdict.applies else 'no: ' + verdict.why_not}")
        return "\n".join(lines)


def doctor(model: Vit | str | Path | nn.Module, **options: Any) -> Diagnosis:
    """Say what a model is: its tokens, its attention, which methods apply and why others do not, memory per image.

    model    an opened Vit, or whatever `open_vit` takes
    options  passed on to `open_vit`; of no effect on a Vit, which is open already

    No image is explained; opening a model runs it on a few small random probes. Memory is the estimate by
    which `explain` chooses its batches, with each method's default parameters and one image.

    Raises what `open_vit` raises. A model without plain attention is refused as there; with
    `require_attention=False` it gets a diagnosis in which only pixel methods apply.
    """
    vit = model if isinstance(model, Vit) else open_vit(model, **{"require_attention": False, **options})
    plain = bool(vit.blocks)
    return Diagnosis(
        model=vit.name,
        weights_source=vit.source,
        weights_digest=vit.digest,
        outputs=vit.outputs,
        output_kind="classes" if vit.has_classes else "numbers of an embedding",
        labels=vit.labels is not None,
        blocks=len(vit.blocks),
        heads=vit.heads,
        width=vit.width,
        attention=_KINDS[vit.attention_kind],
        tokens=vit.tokens if plain else 0,
        prefix=vit.prefix,
        suffix=vit.suffix,
        grid=vit.grid,
        patch=vit.patch,
        readout=vit.readout.describe() if vit.readout else "unknown",
        input_size=vit.preprocessing.size,
        mean=vit.preprocessing.mean,
        std=vit.preprocessing.std,
        crop_share=vit.preprocessing.crop_share,
        device=str(vit.device),
        dtype=str(vit.dtype).removeprefix("torch."),
        checks=CHECKS if plain else (),
        methods=tuple(_verdict(vit, name) for name in METHODS),
        warnings=vit.warnings,
    )


def _verdict(vit: Vit, name: str) -> Verdict:
    """Judge one method by what it declares, without running it.

    Memory is told for methods that do not apply as well: the number then says what would be kept, not what
    will be.
    """
    method = METHODS[name]
    why_not = method.why_not(vit)
    held = method.holds(vit, method.defaults)
    memory = bytes_per_image(vit, method.capture(vit, method.defaults), [held] if held else [])
    return Verdict(method=name, applies=not why_not, why_not=why_not, bytes_per_image=memory)
