"""What a method declares about itself, and the registry of all methods.

The declarations are what everything else goes by: the catalogue prints them, `_explain` plans from them
which blocks a pass keeps and whether it needs a graph, and the contract tests hold every method to them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.core.registry import Registry
from vitreous.core.signature import complete_parameters
from vitreous.vit.memory import Held
from vitreous.vit.passes import Capture
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

Parameters: TypeAlias = Mapping[str, Any]
Family: TypeAlias = Literal[
    "attention", "gradient", "attention and gradient", "relevance propagation", "perturbation", "control"
]


@dataclass(frozen=True)
class Method:
    """One explanation method: a function of a trace, and the facts the catalogue, the planner and the tests read.

    name, function  the function and its name, which is also that of its file
    family          what the method is made of
    paper           "arXiv:…", or None for a method that comes from no paper
    class_specific  whether another target can give another map
    signed          whether the map can be negative; a function of the parameters if they decide
    unit            what one unit of relevance means
    cost            passes of the model: "1F1B" is one forward and one backward of a batch
    level           "patch" gives (b, gh, gw), "pixel" gives (b, H, W)
    gradient        whether it asks the trace for gradients
    pixels          whether it needs the gradient at the model's input
    inputs          whether it needs the gradient at what attention projects
    only_block      the parameter that names the single block it reads; None if it reads them all
    tokens          whether it needs the gradient at the tokens entering each block
    random          whether it draws random numbers
    repeats         whether it runs passes of its own, beside the one that all methods of a trace share, or computes for
                    as long as some
    applies         gives the reason, as a clause, why it means nothing on a model; empty if it does
    block_range     the parameters that name the first and the last block it reads; None if there are none
    held            what a pass of its own keeps in memory beside the shared one, for a model and parameters; None for
                    what its family says, see `holds`
    linears         tells from the parameters whether it runs the model again on the same numbers, and is spared time by
                    the results of linear layers; None if it does not
    """

    name: str
    function: Callable[..., Any]
    family: Family
    paper: str | None
    class_specific: bool
    signed: bool | Callable[[Parameters], bool]
    unit: str
    cost: str
    level: Literal["patch", "pixel"]
    gradient: bool
    pixels: bool
    inputs: bool
    only_block: str | None
    tokens: bool = False
    random: bool = False
    repeats: bool = False
    applies: Callable[[Vit], str] | None = None
    block_range: tuple[str, str] | None = None
    held: Callable[[Vit, Parameters], Held | None] | None = None
    linears: Callable[[Parameters], bool] | None = None

    @property
    def control(self) -> bool:
        """Whether it explains nothing, and is there for other methods to be compared with."""
        return self.family == "control"

    @property
    def shows_attention(self) -> bool:
        """Whether it shows attention, which tokens of an outlying norm draw to themselves: the record then says so."""
        return self.family in {"attention", "attention and gradient"}

    @property
    def shares_pass(self) -> bool:
        """Whether it lives on the one pass of a trace, so that one more method costs next to nothing."""
        return not self.repeats

    @property
    def title(self) -> str:
        """The first sentence of the file: what the method shows."""
        text = inspect.getdoc(inspect.getmodule(self.function)) or ""
        return text.split(". ")[0].split("\n")[0].rstrip(".")

    @property
    def defaults(self) -> dict[str, Any]:
        """The named parameters with their default values, in the order of the signature, without the trace."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def complete(self, given: Parameters) -> dict[str, Any]:
        """Fill in the defaults.

        Raises InputError for a parameter that the method does not have, naming near matches, and for a value
        that is not what the method's signature says. Ranges are left to the method itself.
        """
        return complete_parameters("Method", self.name, self.function, given)

    def is_signed(self, parameters: Parameters) -> bool:
        """Whether the map can be negative with these parameters, which have to be complete."""
        return self.signed(parameters) if callable(self.signed) else self.signed

    def capture(self, vit: Vit, parameters: Parameters) -> Capture:
        """The least that a pass must keep for this method.

        Blocks before the only one it reads then run fused and without a graph, which saves most of the
        memory for a late block. Raises InputError for a block outside the model.
        """
        linears = self.linears is not None and self.linears(parameters)
        first = self.blocks(vit, parameters).start
        return Capture(first, self.gradient, self.pixels, self.inputs, self.tokens, linears)

    def holds(self, vit: Vit, parameters: Parameters) -> Held | None:
        """What a pass of its own keeps in memory while the shared one is alive; None if it makes none with a graph.

        Relevance is propagated through a second graph of the whole model. Where a parameter chooses the precision, the
        rules are those of Transformer Attribution, which compute each linear layer by the signs of its inputs as well,
        and keep half as much again.
        """
        if self.held is not None:
            return self.held(vit, parameters)
        if self.family != "relevance propagation":
            return None
        capture = Capture(inputs=False, tokens=False)
        if "precision" not in parameters:
            return Held(capture)
        return Held(capture, item_size=4 if parameters["precision"] == "single" else 8, times=1.5)

    def blocks(self, vit: Vit, parameters: Parameters) -> range:
        """Say which blocks it reads with these parameters, which have to be complete.

        A parameter `plus` set to True means that it reads them all in place of the one that it names. A first block of
        None is for the method to choose: it may be any. Raises InputError for a block outside the model, and for a
        range with nothing in it.
        """
        count = len(vit.blocks)
        if count and self.only_block is not None and not parameters.get("plus"):
            only = block_index(parameters[self.only_block], count)
            return range(only, only + 1)
        if count and self.block_range is not None:
            first, last = (parameters[name] for name in self.block_range)
            return blocks_between(first or 0, last, count)
        return range(count)

    def require_applicable(self, vit: Vit) -> None:
        """Raise MethodNotApplicableError with the reason if the method means nothing on this model."""
        reason = self.why_not(vit)
        if reason:
            raise MethodNotApplicableError(
                f"Method {self.name!r} does not apply to {vit.name}: {reason}.", "Use 'saliency'."
            )

    def why_not(self, vit: Vit) -> str:
        """Say why the method does not apply to a model, as a clause; empty if it does.

        Patch methods need plain attention over one set of tokens. Pixel methods apply to every model that
        was opened.
        """
        if self.level == "patch" and not vit.blocks:
            return "the model has no plain attention over one set of tokens"
        return self.applies(vit) if self.applies is not None else ""


METHODS: Registry[Method] = Registry("method", "vitreous.methods")


def method(
    *,
    family: Family,
    paper: str | None,
    class_specific: bool,
    signed: bool | Callable[[Parameters], bool],
    unit: str,
    cost: str,
    level: Literal["patch", "pixel"] = "patch",
    gradient: bool = True,
    pixels: bool = False,
    inputs: bool = False,
    only_block: str | None = None,
    tokens: bool = False,
    random: bool = False,
    repeats: bool = False,
    applies: Callable[[Vit], str] | None = None,
    block_range: tuple[str, str] | None = None,
    held: Callable[[Vit, Parameters], Held | None] | None = None,
    linears: Callable[[Parameters], bool] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function under its own name; the arguments are those of `Method`.

    `cost` counts passes of the model: "1F1B" is one forward and one backward, shared with the other methods
    of a trace. The function itself is given back unchanged, and can be called with a trace of one's own:

        with vit.trace(images) as trace:
            relevance = rollout(trace, fusion="max")
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        """Add the function to the registry; its name has to be free."""
        name = function.__name__
        METHODS.add(
            name,
            Method(
                name=name,
                function=function,
                family=family,
                paper=paper,
                class_specific=class_specific,
                signed=signed,
                unit=unit,
                cost=cost,
                level=level,
                gradient=gradient,
                pixels=pixels,
                inputs=inputs,
                only_block=only_block,
                tokens=tokens,
                random=random,
                repeats=repeats,
                applies=applies,
                block_range=block_range,
                held=held,
                linears=linears,
            ),
        )
        return function

    return register


def block_index(block: int, blocks: int, name: str = "block") -> int:
    """Turn a block number, negative from the end, into its index. Raises InputError outside the model.

    `name` is that of the parameter, for the error.

    >>> block_index(-1, blocks=12)
    11
    """
    if not -blocks <= block < blocks:
        raise InputError(
            f"{name}={block} is outside the model.", f"It has blocks 0 to {blocks - 1} (or -1 to -{blocks})."
        )
    return block % blocks


def blocks_between(first: int, last: int, blocks: int) -> range:
    """Turn the numbers of a first and a last block, both included, into a range of indices.

    Raises InputError for a block outside the model, and if the last comes before the first.

    >>> blocks_between(1, -1, blocks=12)
    range(1, 12)
    """
    start, stop = block_index(first, blocks, "first"), block_index(last, blocks, "last") + 1
    if start >= stop:
        raise InputError(f"first={first} comes after last={last}.", f"The model has blocks 0 to {blocks - 1}.")
    return range(start, stop)


def captured(trace: Trace, block: int, name: str = "block") -> int:
    """Where a block is in the trace's sequences, which start at its first captured block.

    Raises InputError for a block outside the model, or before the first that the trace captured.
    """
    index = block_index(block, len(trace.vit.blocks), name) - trace.first
    if index < 0:
        raise InputError(f"{name}={block} was not captured.", f"The trace starts at block {trace.first}.")
    return index
