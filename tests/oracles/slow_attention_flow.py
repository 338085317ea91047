"""A slow oracle of attention flow: the graph of the paper, node by node, solved by networkx."""

import math

import networkx as nx
import torch
from torch import Tensor

from oracles.slow import Score, SlowViT, chosen, finish, fuse, numbers


def flow_graph(source: list[float], blocks: list[list[list[float]]]) -> nx.DiGraph:
    """Levels of tokens, "top" above the highest; blocks[0] is the first block and leads to level 0."""
    graph = nx.DiGraph()
    for token, amount in enumerate(source):
        graph.add_edge("top", (len(blocks), token), capacity=amount)
    for block, rows in enumerate(blocks):
        for query, row in enumerate(rows):
            for key, capacity in enumerate(row):
                graph.add_edge((block + 1, query), (block, key), capacity=capacity)
    return graph


def largest_flow(graph: nx.DiGraph, sink: int) -> float:
    """By Edmonds and Karp's algorithm, as in the authors' code, if the graph is small enough for it."""
    solver = nx.algorithms.flow.edmonds_karp if graph.number_of_edges() < 2000 else None
    return float(nx.maximum_flow_value(graph, "top", (0, sink), flow_func=solver))


def attention_flow(
    vit: SlowViT,
    pixels: Tensor,
    _score: Score,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    """From a class token without limit; else from each last token its share, of a row that sums to one."""
    run = vit.run(pixels)
    blocks = []
    read = numbers(run, first, last)
    for block in read:
        rows = fuse(chosen(run.attention[block], head)).tolist()
        for token, row in enumerate(rows):
            row[:] = [0.5 * value for value in row]
            row[token] += 0.5
        blocks.append(rows)
    graph = flow_graph([math.inf if share == 1 else share for share in run.reads], blocks)
    flows = [largest_flow(graph, sink) for sink in vit.patches]
    return finish(vit, run, torch.tensor(flows, dtype=torch.float64).reshape(vit.grid), read, outliers)
