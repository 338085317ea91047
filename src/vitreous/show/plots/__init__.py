"""Figures of what is inside a model: heads, blocks, flows, relations and factors, one file for each kind.

All functions take plain arrays with their names and units, whoever computed them, and give a matplotlib figure that
stands by itself, outside pyplot. Each has a companion that says the same in words, for readers who cannot see it.
"""
