"""CP-LRP: relevance of each pixel when attention weights and norms are held constant. Ali et al. 2022."""

from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.methods._relevance import pixel_relevance
from vitreous.vit.rules.sets import linear
from vitreous.vit.trace import Trace


@method(
    family="relevance propagation",
    paper="arXiv:2202.07304",
    class_specific=True,
    signed=True,
    unit="share of the score",
    cost="2F1B",
    level="pixel",
    repeats=True,
)
def cp_lrp(trace: Trace) -> PixelMap:
    """Multiply each pixel of the normalised input by its gradient, with attention weights and norms held constant.

    The softmax and the standard deviation of every LayerNorm are detached, the paper's two rules. What is left is
    linear in the tokens, so relevance is conserved: with biases, class token and position embedding zero, the map adds
    up to the score; otherwise these keep the rest.

    Gives "b H W" of the model input, summed over colour channels. Ignores by which queries and keys attention came
    about.

    Deviations: the paper treats language models and leaves GELU as it is; here every activation is a constant gate, as
    in the authors' later package for ViTs, which this equals. In gated MLPs both factors get half. Raises
    MethodNotApplicableError where no gradient reaches the pixels.
    """
    return pixel_relevance(trace, ("linear",), linear())
