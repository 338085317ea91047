"""Everything that scales, colours, resizes or draws."""
