"""Logit lens: what the model would say if it stopped after each block. nostalgebraist 2020, "interpreting GPT".

Tokens between blocks are read out by the model's own last norm and head, as if they had left the last block. For Vision
Transformers: Vilas, Schaumlöffel & Roig 2023 (arXiv:2310.18969), class by class and token by token.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap, PerImage
from vitreous.vit.edits import MOST_TOKENS
from vitreous.vit.entering import read_out
from vitreous.vit.trace import Trace


@dataclass(frozen=True, eq=False)
class LogitLens:
    """What is read from the tokens entering each captured block, and, last, from those that leave the last one.

    score            of the trace's target; of a contrast, the difference
    probability      softmax of the target's class over all outputs; of a contrast, of the class that it is for
    rank             of that class among all outputs, 1 for the largest; classes that tie with it do not count
    top              the classes with the largest outputs, largest first
    top_probability  their softmax

    All but the score are None where the target is an embedding or the outputs are no classes. A softmax over outputs
    that were trained for yes or no each is no probability.
    """

    score: Float[Tensor, "b positions"]
    probability: Float[Tensor, "b positions"] | None
    rank: Int[Tensor, "b positions"] | None
    top: Int[Tensor, "b positions top"] | None
    top_probability: Float[Tensor, "b positions top"] | None


def logit_lens(trace: Trace, top: int = 5) -> LogitLens:
    """Read the model's outputs from the tokens entering each captured block and from those leaving the last.

    top  how many classes to list, fewer if the model has fewer

    The last column is what the model says, up to rounding. The others are tokens in the basis of their own block, read
    by a head that was trained for the last: an early block may know the class in a form that the head does not read,
    and what the head reads there can be biased towards some classes for all images (Belrose et al. 2023,
    arXiv:2303.08112, who train a translator for each block; none is trained here). So a low score is no proof that the
    class is not known yet. Where a class token is read, what enters the first block is the same for every image, and
    its outputs are a constant of the model.

    Costs the head for each position, and a pass without linear layers for as many as fit together. Raises InputError
    if `top` is below 1, and MethodNotApplicableError for models without plain attention.
    """
    if top < 1:
        raise InputError(f"top={top} lists nothing.", "Give at least 1.")
    logits = lens_logits(trace)
    images, positions, outputs = logits.shape
    every = torch.arange(images).repeat_interleave(positions)
    score = trace.target.select(every).score(logits.flatten(0, 1)).reshape(images, positions)
    if trace.target.kind == "embedding" or not trace.vit.has_classes:
        return LogitLens(score, None, None, None, None)
    probabilities = logits.softmax(-1)
    asked = trace.target.plus.to(logits.device)[:, None, None].expand(-1, positions, 1)
    listed = logits.topk(min(top, outputs), -1).indices
    return LogitLens(
        score=score,
        probability=probabilities.gather(-1, asked).squeeze(-1),
        rank=1 + (logits > logits.gather(-1, asked)).sum(-1),
        top=listed,
        top_probability=probabilities.gather(-1, listed),
    )


def lens_logits(trace: Trace) -> Float[Tensor, "b positions k"]:
    """Give all outputs read from the tokens at each position, as in `LogitLens`; computed once for a trace."""
    _ = trace.readout  # raises where there are no plain tokens

    def compute() -> Tensor:
        """Read several positions of all images together, as many as a pass may hold."""
        inputs, tokens = trace.inputs.detach(), [each.detach() for each in trace.tokens]
        trace.forwards += len(tokens)
        images, count = tokens[0].shape[:2]
        together = max(1, MOST_TOKENS // (images * count))
        parts = [torch.cat(tokens[start : start + together]) for start in range(0, len(tokens), together)]
        logits = torch.cat([read_out(trace.vit.body, inputs, part) for part in parts])
        return logits.reshape(len(tokens), images, -1).transpose(0, 1)

    return trace.once(("logit lens",), compute)


def patch_evidence(trace: Trace, position: int = -1) -> PatchMap:
    """Give for each patch the score that the head would read if every token were that patch's token.

    position  which tokens: those entering a captured block, counted as in `trace.tokens`; -1 are those that leave the
              last block

    Where a class token is read, this is the patch's token put in its place, which is the projection of Vilas et al.
    onto the classes; where the mean of patches is read, the mean of patches that are all like this one; with pooling
    attention, what pooling makes of one token. So the unit is that of the score, and no shares of a sum: norms
    and pooling make the score of the mean another number than the mean of these.

    Says for which patches the head, by itself, would see the target's class in their tokens. Tokens have taken in
    others by then: a patch with evidence is not one whose pixels are, and this is no heatmap of the prediction. In
    models that read a class token nothing was trained to make patch tokens legible: those that leave DeiT-tiny's last
    block have less evidence for its answer on the salient object than beside it (chance that a patch on it has more
    than one beside it: 0.31, 95 % interval 0.25 to 0.37, mean over 39 photographs). Raises InputError for a position
    outside the trace, and MethodNotApplicableError for models without plain attention.
    """
    _ = trace.readout  # raises where there are no plain tokens
    if not -len(trace.tokens) <= position < len(trace.tokens):
        raise InputError(
            f"position={position} is outside the trace.", f"It holds {len(trace.tokens)} positions, counted from 0."
        )
    tokens = trace.tokens[position].detach()
    trace.forwards += trace.vit.grid[0] * trace.vit.grid[1]
    return torch.stack([_evidence(trace, image, tokens[image]) for image in range(len(tokens))])


def _evidence(trace: Trace, image: int, tokens: Float[Tensor, "n d"]) -> Float[Tensor, "gh gw"]:
    """Read out each patch token of one image alone; as many together as a pass may hold."""
    patches = trace.patches(tokens.T).T
    count, most = len(tokens), max(1, MOST_TOKENS // len(tokens))
    found: list[PerImage] = []
    for some in torch.split(patches, most):
        alone = some.unsqueeze(1).expand(-1, count, -1)
        logits = read_out(trace.vit.body, trace.inputs[image : image + 1].detach(), alone)
        found.append(trace.target.select(torch.full((len(some),), image)).score(logits))
    return torch.cat(found).reshape(trace.vit.grid)
