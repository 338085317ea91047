"""Explanation methods, one file each. A new file with one decorated function is found by itself."""
