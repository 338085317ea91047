"""Names for the tensor shapes that travel between rooms.

Letters: b images, l blocks, h heads, n tokens (prefix + gh * gw + suffix), d width, e width of one head, k outputs.
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
