"""Everything that scales, colours, resizes or draws.

Relevance arrives raw and leaves as a picture; each step in between is a function here and a sentence in the
picture's record, so that a reader can tell what was done to the numbers. Nothing here computes relevance,
and no other room changes it for display.
"""
