"""ResLRP: AttnLRP that does not explode where residual connections cancel. Berend, Achtibat et al. 2026."""

from vitreous.core.errors import InputError
from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.methods._relevance import pixel_relevance
from vitreous.vit.rules.sets import attention_aware
from vitreous.vit.trace import Trace


@method(
    family="relevance propagation",
    paper=None,
    class_specific=True,
    signed=True,
    unit="share of the score",
    cost="2F1B",
    level="pixel",
    repeats=True,
)
def reslrp(trace: Trace, gamma: float = 1.0) -> PixelMap:
    """Propagate relevance as AttnLRP does, with the gamma rule at every residual connection.

    Where a block's update has the opposite sign of the stream, their sum is small, and ordinary shares are large
    numbers of opposite sign. With w = 1 + gamma for the part that has the sign of the sum and 1 for the other,
    R_in = w_in z_in / (w_in z_in + w_up z_up) R_out, and the same for the update: exactly conserved, and both together
    at most 1 + 2 / gamma times the relevance that came in.

    gamma  weight of what agrees with the sum; 1 as in the paper, which does not tune it; 0 is AttnLRP

    Gives "b H W" of the model input, summed over colour channels. Linear layers have the epsilon rule, without epsilon.
    Ignores what biases, position embeddings, class and register tokens and the softmax keep, as AttnLRP.

    Deviations: residual connections are recognised as sums of two token streams; one in a pooling head counts as well.
    The preprint's average over small translations is left out. Raises InputError for a negative gamma, and
    MethodNotApplicableError where no gradient reaches the pixels.
    """
    if gamma < 0:
        raise InputError(f"reslrp got gamma={gamma}.", "Use 0 or more.")
    gammas = (0.0, 0.0, float(gamma))
    return pixel_relevance(trace, gammas, attention_aware(*gammas))
