"""Analysis: questions about heads, blocks, tokens and relations, one file for each. Results are tensors, no maps."""
