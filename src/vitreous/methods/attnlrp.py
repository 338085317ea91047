"""AttnLRP: relevance of each pixel, propagated through attention weights as well. Achtibat et al. 2024."""

from vitreous.core.errors import InputError
from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.methods._relevance import pixel_relevance
from vitreous.vit.rules.sets import attention_aware
from vitreous.vit.trace import Trace


@method(
    family="relevance propagation",
    paper="arXiv:2402.05602",
    class_specific=True,
    signed=True,
    unit="share of the score",
    cost="2F1B",
    level="pixel",
    repeats=True,
)
def attnlrp(trace: Trace, gamma_linear: float = 0.0, gamma_conv: float = 0.25) -> PixelMap:
    """Multiply each pixel of the normalised input by a gradient whose every step is a rule of relevance propagation.

    Norms divide by a constant and activations are constant gates (identity rules), each factor of a product gets half
    (queries and keys, attention and values, gated MLPs), and a softmax passes on R_i = x_i (R_i - s_i sum_j R_j).

    gamma_linear  of the gamma rule in all linear layers; 0 is the epsilon rule, without epsilon
    gamma_conv    the same in convolutions, that is in the patch embedding

    The gamma rule is the generalised one, for inputs of both signs: contributions that have the sign of the sum count
    (1 + gamma) times. The paper says that gammas have to be tuned for a model. The defaults are not the paper's: they
    are the best of a small grid (linear 0, 0.05, 0.1, 0.25; convolution 0, 0.25, 100) for the order of objects in the
    sixty packaged scenes on `bundled:scenes`, a small model. Rank agreement was 0.61 and 0.71 of the mass lay on the
    target; without any gamma 0.59 and 0.61, with 0.25 for both 0.54 and 0.73. Deeper models may want a gamma in linear
    layers, each of which then costs two more matrix products.

    Gives "b H W" of the model input, summed over colour channels.

    Ignores nothing of the model; biases, position embeddings, class and register tokens, and the softmax, whose
    expansion has a constant term, keep relevance that then is missing from the map.

    Deviations: the paper tunes gamma for each kind of layer and model; here all linear layers share one. Raises
    InputError for a negative gamma, and MethodNotApplicableError where no gradient reaches the pixels.
    """
    for name, gamma in (("gamma_linear", gamma_linear), ("gamma_conv", gamma_conv)):
        if gamma < 0:
            raise InputError(f"attnlrp got {name}={gamma}.", "Use 0 or more.")
    gammas = (float(gamma_linear), float(gamma_conv), 0.0)
    return pixel_relevance(trace, gammas, attention_aware(*gammas))
