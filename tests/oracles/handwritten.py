"""Vision Transformers as people write them: attention spelled in many ways, blocks held in many ways, class token anywhere.

All spellings share one set of weights, so that they must agree with each other, and `attention_of` computes their
probabilities a second time, from the weights alone, in float64, with nothing of vitreous or of the spelling.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 5
PATCH = 4
GRID = (3, 4)
SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)
WIDTH, HEADS = 16, 2
HEAD = WIDTH // HEADS

Core = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From query, key and value, "b h n e" each, to the attention output of the same shape."""


def by_product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`@` and the method softmax."""
    return ((query @ key.transpose(-2, -1)) * HEAD**-0.5).softmax(dim=-1) @ value


def by_matmul(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Functions with named arguments, softmax in float32 as Hugging Face does, dropout that does nothing."""
    scores = torch.matmul(query, key.transpose(2, 3)) / HEAD**0.5
    weights = F.softmax(input=scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=0.1, training=False)
    return torch.matmul(input=weights, other=value).contiguous()


def by_bmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch.bmm over images and heads together."""
    images, heads, tokens, width = query.shape
    query, key, value = (part.reshape(images * heads, tokens, width) for part in (query, key, value))
    weights = nn.Softmax(dim=2)(torch.bmm(query, key.transpose(1, 2)) * width**-0.5)
    return torch.bmm(weights, value).reshape(images, heads, tokens, width)


def by_baddbmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch.baddbmm for the scores, and a softmax over four axes whose result is flattened for torch.bmm."""
    images, heads, tokens, width = query.shape
    query, key, value = (part.reshape(images * heads, tokens, width) for part in (query, key, value))
    empty = torch.empty(images * heads, tokens, tokens, dtype=query.dtype)
    scores = torch.baddbmm(empty, query, key.transpose(1, 2), beta=0, alpha=width**-0.5)
    weights = torch.softmax(scores.view(images, heads, tokens, tokens), dim=3)
    output = torch.bmm(weights.view(images * heads, tokens, tokens), value)
    return output.view(images, heads, tokens, width)


def by_einsum(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch.einsum with the letters that papers use."""
    weights = torch.einsum("bhid,bhjd->bhij", query, key).mul(HEAD**-0.5).softmax(-1)
    return torch.einsum("bhij,bhjd->bhid", weights, value)


def by_einsum_tokens_first(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch.einsum on tokens before heads, with the values named first, capital letters and blanks."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    weights = F.softmax(torch.einsum("bqhc, bkhc -> bhqk", query, key) * HEAD**-0.5, dim=-1)
    return torch.einsum("b k h C, b h q k -> b q h C", value, weights).transpose(1, 2)


def by_einsum_ellipsis(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch.einsum that leaves images and heads to an ellipsis."""
    weights = torch.softmax(torch.einsum("...qc,...kc->...qk", query, key) * HEAD**-0.5, -1)
    return torch.einsum("...qk,...kc->...qc", weights, value)


def by_einsum_flat(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch.einsum over images and heads together."""
    images, heads, tokens, width = query.shape
    query, key, value = (part.reshape(images * heads, tokens, width) for part in (query, key, value))
    weights = torch.softmax(torch.einsum("bic,bjc->bij", query, key) * HEAD**-0.5, -1)
    return torch.einsum("bij,bjc->bic", weights, value).reshape(images, heads, tokens, width)


def by_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's fused operator."""
    return F.scaled_dot_product_attention(query, key, value)


def by_sdpa_flat(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's fused operator over images and heads together."""
    flat = (part.flatten(0, 1) for part in (query, key, value))
    return F.scaled_dot_product_attention(*flat).unflatten(0, (query.shape[0], query.shape[1]))


SPELLINGS: dict[str, Core] = {
    core.__name__.removeprefix("by_"): core
    for core in (
        by_product, by_matmul, by_bmm, by_baddbmm, by_einsum, by_einsum_tokens_first, by_einsum_ellipsis,
        by_einsum_flat, by_sdpa, by_sdpa_flat,
    )
}  # fmt: skip


class Attention(nn.Module):
    """Self-attention on "b n d" around one of the spellings."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        images, count, _ = tokens.shape
        query, key, value = self.qkv(tokens).view(images, count, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)
        return self.proj(self.core(query, key, value).transpose(1, 2).reshape(images, count, WIDTH))


class Multihead(nn.Module):
    """The same through nn.MultiheadAttention, on "b n d" whatever it is told inside."""

    def __init__(self, batch_first: bool, need_weights: bool) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)
        self.batch_first = batch_first
        self.need_weights = need_weights

    def forward(self, tokens: Tensor) -> Tensor:
        rows = tokens if self.batch_first else tokens.transpose(0, 1)
        output = self.inner(rows, rows, rows, need_weights=self.need_weights)[0]
        return output if self.batch_first else output.transpose(0, 1)


class Block(nn.Module):
    """A pre-norm block."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = attention
        self.mlp = mlp()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


def mlp() -> nn.Sequential:
    """Two layers with a GELU between them."""
    return nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))


def encoder_layer(batch_first: bool, norm_first: bool = True) -> nn.Module:
    """PyTorch's own block."""
    return nn.TransformerEncoderLayer(
        WIDTH, HEADS, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=batch_first, norm_first=norm_first
    )


class Blocks(nn.Module):
    """Holds blocks and runs them one after the other; `sequence_first` hands them "n b d"."""

    def __init__(self, make: Callable[[], nn.Module], depth: int, sequence_first: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([make() for _ in range(depth)])
        self.sequence_first = sequence_first

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens.transpose(0, 1) if self.sequence_first else tokens
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.transpose(0, 1) if self.sequence_first else tokens


class PairBlocks(nn.Module):
    """vit-pytorch's way: a list of bare lists of attention and MLP, each with its norm inside, and no module for a block."""

    def __init__(self, core: Core, depth: int) -> None:
        super().__init__()

        def normed(inner: nn.Module) -> nn.Module:
            return nn.Sequential(nn.LayerNorm(WIDTH), inner)

        self.layers = nn.ModuleList([nn.ModuleList([normed(Attention(core)), normed(mlp())]) for _ in range(depth)])
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        for attention, feed_forward in self.layers:  # type: ignore[misc]
            tokens = attention(tokens) + tokens
            tokens = feed_forward(tokens) + tokens
        return self.norm(tokens)


class AttributeBlocks(nn.Module):
    """Blocks as plain attributes with names of their own."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.early, self.late = make(), make()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.late(self.early(tokens))


class FunctionalBlocks(nn.Module):
    """Separate lists of norms, attentions and MLPs: no module holds a whole block."""

    def __init__(self, core: Core, depth: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(depth)])
        self.attentions = nn.ModuleList([Attention(core) for _ in range(depth)])
        self.mlps = nn.ModuleList([mlp() for _ in range(depth)])

    def forward(self, tokens: Tensor) -> Tensor:
        for norm, attention, feed_forward in zip(self.norms, self.attentions, self.mlps, strict=True):
            tokens = tokens + attention(norm(tokens))
            tokens = tokens + feed_forward(tokens)
        return tokens


HOLDERS: dict[str, Callable[[], nn.Module]] = {
    "list": lambda: Blocks(lambda: Block(Attention(by_product)), 2),
    "sequential": lambda: nn.Sequential(Block(Attention(by_product)), Block(Attention(by_product))),
    "pairs": lambda: PairBlocks(by_product, 2),
    "attributes": lambda: AttributeBlocks(lambda: Block(Attention(by_product))),
    "one block": lambda: Blocks(lambda: Block(Attention(by_sdpa)), 1),
    "multihead": lambda: Blocks(lambda: Block(Multihead(batch_first=True, need_weights=False)), 2),
    "multihead, weights asked for": lambda: Blocks(lambda: Block(Multihead(batch_first=True, need_weights=True)), 2),
    "multihead, tokens first": lambda: Blocks(lambda: Block(Multihead(batch_first=False, need_weights=False)), 2),
    "encoder layers": lambda: Blocks(lambda: encoder_layer(batch_first=True), 2),
    "encoder layers, tokens first": lambda: Blocks(lambda: encoder_layer(batch_first=False), 2, sequence_first=True),
    "encoder layers, post-norm": lambda: Blocks(lambda: encoder_layer(batch_first=True, norm_first=False), 2),
    "encoder": lambda: nn.TransformerEncoder(encoder_layer(batch_first=True), 2, enable_nested_tensor=False),
}
"""Ways to hold two blocks (or one); each gives a module from "b n d" to "b n d"."""

Where = Literal["first", "last", "two", "registers", "none", "everything", "both"]


class HandwrittenViT(nn.Module):
    """Patches of 4 x 4 pixels on a 3 x 4 grid, any holder of blocks, and a head that reads what `token` says.

    token  "first" or "last": a class token there; "two": two class tokens, averaged; "registers": a class token and three
           registers behind it; "none": the mean of the patches; "everything": the mean over class token and patches;
           "both": class token and mean of the patches side by side
    """

    def __init__(self, blocks: nn.Module, token: Where = "first") -> None:
        super().__init__()
        self.token = token
        self.prefix = {"first": 1, "two": 2, "registers": 4, "everything": 1, "both": 1}.get(token, 0)
        self.suffix = int(token == "last")
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.extra = nn.Parameter(torch.zeros(1, self.prefix + self.suffix, WIDTH))
        tokens = self.prefix + self.suffix + GRID[0] * GRID[1]
        self.positions = nn.Parameter(torch.zeros(1, tokens, WIDTH))
        self.blocks = blocks
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(2 * WIDTH if token == "both" else WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.read(self.norm(self.blocks(self.tokenise(images)))))

    def tokenise(self, images: Tensor) -> Tensor:
        """From images to "b n d"."""
        patches = self.embed(images).flatten(2).transpose(1, 2)
        extra = self.extra.expand(len(images), -1, -1)
        return torch.cat([patches, extra] if self.suffix else [extra, patches], 1) + self.positions

    def read(self, tokens: Tensor) -> Tensor:
        """From "b n d" to what the head sees."""
        if self.token == "last":
            return tokens[:, -1]
        if self.token == "two":
            return tokens[:, :2].mean(1)
        if self.token == "both":
            return torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)
        return tokens[:, 0] if self.token in {"first", "registers"} else tokens.mean(1)


def attention_of(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Compute the probabilities "b h n n" of every attention module in float64 loops, from its input and its weights."""
    found: list[Tensor] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        rows = args[0] if args else kwargs["query"]
        found.append(_probabilities(module, rows))

    kinds = Attention | nn.MultiheadAttention
    hooks = [
        module.register_forward_pre_hook(before, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    # PyTorch's fused encoder layer would call none of its parts: it does so without gradients alone.
    with torch.enable_grad():
        model(inputs.clone().requires_grad_())
    for hook in hooks:
        hook.remove()
    return found


def _probabilities(module: nn.Module, rows: Tensor) -> Tensor:
    if isinstance(module, nn.MultiheadAttention):
        weight, bias = module.in_proj_weight, module.in_proj_bias
        rows = rows if module.batch_first else rows.transpose(0, 1)
    else:
        weight, bias = module.qkv.weight, module.qkv.bias  # type: ignore[union-attr,assignment]
    with torch.no_grad():
        projected = rows.double() @ weight.double().T + bias.double()
        images, tokens, _ = rows.shape
        result = torch.empty(images, HEADS, tokens, tokens, dtype=torch.float64)
        for image in range(images):
            for head in range(HEADS):
                query = projected[image, :, head * HEAD : (head + 1) * HEAD]
                key = projected[image, :, WIDTH + head * HEAD : WIDTH + (head + 1) * HEAD]
                for token in range(tokens):
                    scores = torch.stack([query[token].dot(other) for other in key]) / HEAD**0.5
                    powers = (scores - scores.max()).exp()
                    result[image, head, token] = powers / powers.sum()
        return result
