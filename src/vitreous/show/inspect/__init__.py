"""The page of `vitreous inspect`: one HTML file that shows what is inside a model for one photograph.

It needs no network, and without scripts it is a whole page of figures and tables.
"""
