"""Names for the tensor shapes that travel between rooms.

Letters: b images, l blocks, h heads, n tokens (prefix + gh * gw + suffix), d width, e width of one head, k
outputs, gh and gw rows and columns of patches, H and W height and width of the model input in pixels.

They are annotations; the tests check them at run time: a letter that occurs twice in one signature has to
mean the same number. Attention has queries in its rows and keys in its columns, so rows sum to 1. `Images`
are RGB in [0, 1] unless a name says normalised.
"""

from typing import TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

Images: TypeAlias = Float[Tensor, "b 3 H W"]
Tokens: TypeAlias = Float[Tensor, "b n d"]
Attention: TypeAlias = Float[Tensor, "b h n n"]
Values: TypeAlias = Float[Tensor, "b h n e"]
Logits: TypeAlias = Float[Tensor, "b k"]
PerImage: TypeAlias = Float[Tensor, " b"]
PerToken: TypeAlias = Float[Tensor, "b n"]
PatchMap: TypeAlias = Float[Tensor, "b gh gw"]
PixelMap: TypeAlias = Float[Tensor, "b H W"]
Indices: TypeAlias = Int[Tensor, " b"]
Mask: TypeAlias = Bool[Tensor, "..."]
