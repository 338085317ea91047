"""Rendered scenes: worlds in which it is known what decides, because anything can be taken out and rendered again."""
