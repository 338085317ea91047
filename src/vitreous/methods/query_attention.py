"""Query attention: what one token attends to in one block, or which patches attend to it."""

from typing import Literal

from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, map_of, one_head
from vitreous.methods._method import captured, method
from vitreous.methods._reading import read_rows
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit


@method(
    family="attention",
    paper=None,
    class_specific=False,
    signed=False,
    unit="attention mass",
    cost="1F",
    gradient=False,
    only_block="block",
)
def query_attention(
    trace: Trace,
    row: int | None = None,
    column: int | None = None,
    prefix_token: int | None = None,
    block: int = -1,
    head: int | None = None,
    direction: Literal["attends to", "is read by"] = "attends to",
    outliers: Outliers = "keep",
) -> PatchMap:
    """Take one token's row of a block's attention, or its column: where it looks, or who looks at it.

    row, column   place of a patch in the grid, counted from 0 at the top left; its token is the one asked about
    prefix_token  number of a token before the patches, counted from 0, in place of a patch: class, distillation
                  or register token. If nothing is given, the tokens that the prediction reads are asked about,
                  averaged as the head reads them: then the map is that of `raw_attention`
    block         the block that is read, counted from 0, or from the end if negative
    head          the only head that is read, counted likewise; None averages them all
    direction     "attends to" shows how the token's attention is spread over the patches; "is read by" shows
                  for each patch how much of its own attention goes to the token
    outliers      "mask" replaces the values of patches whose token has an outlying norm where the block takes
                  it in by the median of their neighbours, see `vit.outliers`; "keep" leaves them

    Ignores values, MLPs, other blocks and the target. With "attends to", what goes to tokens that are no
    patches is not on the map; with "is read by", the map does not sum to anything in particular.

    Raises InputError for a row without a column, for a patch and a prefix token together, and for a token,
    block or head outside the model.
    """
    index = captured(trace, block)
    attention = one_head(trace.attention[index], head).mean(1)
    matrix = _from_the_side_of_the_query(attention, direction)
    token = _token(trace.vit, row, column, prefix_token)
    per_token = read_rows(trace, matrix) if token is None else matrix[:, token]
    here = trace.first + index
    return map_of(trace, per_token, range(here, here + 1), outliers)


def _from_the_side_of_the_query(attention: Tensor, direction: str) -> Tensor:
    """Turn the matrix, if need be, so that a token's row is what is asked about it."""
    if direction not in {"attends to", "is read by"}:
        raise InputError(f"direction={direction!r} is unknown.", "Use 'attends to' or 'is read by'.")
    return attention if direction == "attends to" else attention.transpose(1, 2)


def _token(vit: Vit, row: int | None, column: int | None, prefix_token: int | None) -> int | None:
    """Number of the token that is asked about; None for those that the prediction reads."""
    if prefix_token is not None:
        if row is not None or column is not None:
            raise InputError(
                f"Both a patch (row={row}, column={column}) and prefix_token={prefix_token} were given.",
                "Ask about one token.",
            )
        _require_inside("prefix_token", prefix_token, vit.prefix)
        return prefix_token
    if row is None and column is None:
        return None
    if row is None or column is None:
        raise InputError(f"row={row} and column={column} name no patch.", "Give both.")
    _require_inside("row", row, vit.grid[0])
    _require_inside("column", column, vit.grid[1])
    return vit.prefix + row * vit.grid[1] + column


def _require_inside(name: str, number: int, count: int) -> None:
    """Raise InputError unless 0 <= number < count."""
    if not 0 <= number < count:
        having = f"The model has {count}, counted from 0." if count else "The model has none."
        raise InputError(f"{name}={number} is outside the model.", having)
