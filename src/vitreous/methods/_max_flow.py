"""Exact maximum flows from one source, down through layers of dense capacities, to each of many sinks.

Solving each sink by itself takes a ViT-B/16 image five seconds and more. Here a bound is proved first. What a node can
receive is at most what its parents can pass on, edge by edge; followed from the source down to a sink, this bounds the
flow from above, and it is nearly always attained. The proof is a flow of that value, made for all sinks at once:

- upwards from the sink, what each node has to receive is asked of its parents as evenly as the capacities allow;
- downwards from the source, what each node has is handed on as evenly as they allow;
- after a few layers both are spread out so thinly that one layer in between can join them: scaled to both margins,
  its capacities are a flow through it, if no scale is above 1.

Where this proves nothing, the sink is solved in whole numbers by scipy, and the cut that it finds is priced exactly.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor

Source = Float[Tensor, " n"]
Layers = Float[Tensor, "l n n"]
Sinks = Int[Tensor, " s"]
PerSink = Float[Tensor, " s"]
Amounts = Float[Tensor, "s n"]

EXACT = 1e-9
"""Share of a flow by which the amounts of a proof may differ."""

ASKED_UP = 5
"""Layers over which demands spread; supplies, which all sinks share, spread over all layers above."""

SCALINGS, BETWEEN_CHECKS = 300, 10
"""How often the joining layer is scaled at most, and how often until looking whether it is done."""

ENTRIES = 2**19
"""Numbers in the largest intermediate tensor: 4 MiB stay in the processor's cache."""

UNIT = 2**30
"""Whole numbers in a capacity of 1. Twice that would not fit the solver's 32 bits."""

ROUNDING = 5e-8
"""By how much whole numbers may change a flow; a hundred edges change it by about a tenth of that."""


@dataclass(frozen=True)
class MaximumFlows:
    """What `maximum_flows` found for each sink.

    values   the capacity of a smallest cut, which is the maximum flow
    trivial  the smaller of what leaves the source and what could enter the sink, if nothing lay between
    gap      by how much a flow was found to differ from the cut, at most; the proof that it is the smallest
    solved   number of sinks that took the solver, because no flow of the bound's value was found at once
    """

    values: PerSink
    trivial: PerSink
    gap: float
    solved: int


def maximum_flows(source: Source, layers: Layers, sinks: Sinks) -> MaximumFlows:
    """Find the largest flow that reaches each node of the lowest level by itself, in float64.

    source  what may enter each node of the highest level; about 1 in all
    layers  layers[l, i, k] is the capacity from node i of level l + 1 to node k of level l, so the last is the highest
    sinks   nodes of level 0

    Cost: some (sinks, n, n) products for all sinks that the bound decides, and one run of the solver for
    each other, tens of milliseconds for 12 layers of 197 nodes.
    """
    reach = reachable(source, layers)
    incoming = torch.minimum(layers[0][:, sinks], reach[1].unsqueeze(1)).T
    values = incoming.sum(1).clamp(max=float(source.sum()))
    gaps = _prove(source, layers, reach, incoming, values)
    open_sinks = (gaps > EXACT).nonzero()[:, 0].tolist()
    if open_sinks:
        network = Network(source, layers)
        for place in open_sinks:
            values[place], flow = network.solve(int(sinks[place]), float(values[place]))
            gaps[place] = abs(float(values[place]) - flow)
    trivial = layers[0][:, sinks].sum(0).clamp(max=float(source.sum()))
    return MaximumFlows(values, trivial, float(gaps.max()), len(open_sinks))


def reachable(source: Source, layers: Layers) -> list[Source]:
    """Bound what can come to each node, and be passed on by it, at each level; level 0 is left to the sinks.

    A parent hands a node no more than their edge holds, nor more than itself can have.
    """
    reach = [source]
    for layer, below in zip(layers.flip(0)[:-1], layers.flip(0)[1:], strict=True):
        arriving = torch.minimum(layer, reach[-1].unsqueeze(1)).sum(0)
        reach.append(torch.minimum(arriving, below.sum(1)))
    return [torch.zeros_like(source), *reversed(reach)]


def _prove(source: Source, layers: Layers, reach: list[Source], incoming: Amounts, values: PerSink) -> PerSink:
    """Give the share by which the flow that was constructed falls short of each bound; infinite where none was.

    A bound below what could enter the sink leaves a choice of what to take from whom: the peaks are cut, so
    that as little as possible has to come through one node.
    """
    depth = len(layers)
    if depth == 1:  # each path has two edges, and the bound took the smaller of each
        return torch.zeros_like(values)
    meeting = min(max(1, round(depth * ASKED_UP / 12)), ASKED_UP)
    supply, feasible = source.unsqueeze(0), True
    for layer in layers[meeting + 1 :].flip(0):
        feasible &= bool((supply <= layer.sum(1) * (1 + EXACT)).all())
        supply = spread_evenly(layer.T, supply)
    demand, possible = _lower_peaks(incoming, values), torch.full_like(values, feasible, dtype=torch.bool)
    for level in range(1, meeting):
        capacity = torch.minimum(layers[level], reach[level + 1].unsqueeze(1))
        demand = spread_evenly(capacity, demand)
        possible &= (demand <= reach[level + 1] * (1 + EXACT)).all(1)
    gaps = join(layers[meeting], supply * (values / source.sum()).unsqueeze(1), demand)
    return torch.where(possible, gaps, torch.inf)


def _lower_peaks(wanted: Amounts, value: PerSink) -> Amounts:
    """Cut the largest amounts of each row down to one height, so that the row's sum becomes `value`."""
    return torch.minimum(wanted, _height(wanted.T, value.unsqueeze(0)).T)


def spread_evenly(capacity: Float[Tensor, "n k"], amounts: Float[Tensor, "s k"]) -> Amounts:
    """Ask amounts[s, k] of the rows of column k as evenly as their capacities allow; gives what is asked of each row.

    An even share is asked of all rows, and of the narrow ones all they can carry. Whoever cannot carry the
    amount is asked for everything.
    """
    group = max(1, ENTRIES // capacity.numel())
    height = _height(capacity, amounts).unsqueeze(1)
    starts = range(0, len(height), group)
    return torch.cat([torch.minimum(capacity, height[start : start + group]).sum(2) for start in starts])


def _height(capacity: Float[Tensor, "n k"], amounts: Float[Tensor, "s k"]) -> Float[Tensor, "s k"]:
    """Find the height h at which the sum over rows of min(capacity, h) is the amount, for each column.

    The sum is linear between one capacity and the next, so the place of the amount among the sums at the
    capacities gives it directly.
    """
    rows = capacity.shape[0]
    ordered = capacity.T.sort(1).values
    below = ordered.cumsum(1)
    sums = below + torch.arange(rows - 1, -1, -1, dtype=ordered.dtype) * ordered
    wanted = amounts.T.contiguous()
    place = torch.searchsorted(sums, wanted).clamp(max=rows - 1)
    return ((wanted - (below - ordered).gather(1, place)) / (rows - place)).T


def join(capacity: Float[Tensor, "n n"], supply: Amounts, demand: Amounts) -> PerSink:
    """Look for a flow through one layer that takes at most the supply of each row and brings the demand of each column.

    Tries rows[i] * capacity[i, k] * columns[k] with margins as wanted (Sinkhorn's scaling), a flow if no
    product of scales exceeds 1. Gives the share by which some row is overdrawn, infinite if there is no flow.
    """
    smallest = torch.finfo(capacity.dtype).tiny
    columns, overdrawn = torch.ones_like(demand), torch.full_like(demand[:, 0], torch.inf)
    rows = columns
    for _ in range(SCALINGS // BETWEEN_CHECKS):
        for _ in range(BETWEEN_CHECKS):
            rows = supply / (columns @ capacity.T).clamp(min=smallest)
            columns = demand / (rows @ capacity).clamp(min=smallest)
        drawn = rows * (columns @ capacity.T)
        overdrawn = ((drawn - supply) / supply.clamp(min=smallest)).amax(1)
        if bool((overdrawn <= EXACT / 10).all()):
            break
    fits = (rows.amax(1) * columns.amax(1) <= 1) & ((rows @ capacity * columns - demand).abs().sum(1) <= EXACT)
    return torch.where(fits, overdrawn.clamp(min=0), torch.inf)


class Network:
    """The graph of all levels above the sinks, ready to be solved for one sink after the other.

    Compressed rows of one edge list: nodes from the highest level to the lowest but the sinks, then the
    source, then the sink. Only the capacities into the sink change from one to the next.

    start, end  numbers of the source and of the sink
    last        where the capacities into the sink are, among all
    """

    def __init__(self, source: Source, layers: Layers) -> None:
        self.layers = layers.numpy()
        depth, count, _ = layers.shape
        inner = (depth - 1) * count * count
        self.start, self.end = depth * count, depth * count + 1
        upper = (np.arange(1, depth, dtype=np.int32) * count)[:, None, None] + np.arange(count, dtype=np.int32)
        targets = np.broadcast_to(upper, (depth - 1, count, count)).ravel()
        self.indices = np.concatenate([targets, np.full(count, self.end), np.arange(count)]).astype(np.int32)
        pointers = [np.arange(0, inner, count), inner + np.arange(count + 1), np.full(2, inner + 2 * count)]
        self.pointers = np.concatenate(pointers).astype(np.int32)
        self.capacities = np.concatenate([self.layers[:0:-1].ravel(), np.zeros(count), source.numpy()])
        self.last = slice(inner, inner + count)

    def solve(self, sink: int, bound: float) -> tuple[float, float]:
        """Give the capacity of a smallest cut, or the bound if that is attained, and the value of a flow.

        The flow keeps each capacity up to half a unit of rounding; the cut is priced with the capacities as
        they are.
        """
        capacities = self.capacities.copy()
        capacities[self.last] = self.layers[0][:, sink]
        size = self.end + 1
        rounded = np.rint(capacities * UNIT).astype(np.int32)
        graph = csr_array((rounded, self.indices, self.pointers), shape=(size, size))
        found = maximum_flow(graph, self.start, self.end, method="dinic")
        flow = found.flow_value / UNIT
        if flow >= bound - ROUNDING:
            return bound, flow
        residual = (graph - found.flow).tocsr()
        residual.eliminate_zeros()
        reached = np.zeros(size, dtype=bool)
        reached[breadth_first_order(residual, self.start, return_predecessors=False)] = True
        origins = np.repeat(np.arange(size), np.diff(self.pointers))
        cut = float(capacities[reached[origins] & ~reached[self.indices]].sum())
        return min(bound, cut), flow
