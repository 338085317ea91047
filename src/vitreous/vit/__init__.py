"""Opens Vision Transformers, watches their operators and edits them, without touching a module."""
