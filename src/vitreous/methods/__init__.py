"""Explanation methods, one file each. A new file with one decorated function is found by itself.

A method is a function of a `Trace` and named parameters with defaults. It gives raw relevance, "b gh gw" or
"b H W": unscaled, in a unit of its own, on the device of the trace. It asks the trace for what it reads and
changes nothing, so several methods can share one. Files that begin with an underscore hold what methods
have in common. Methods do not import one another.
"""
