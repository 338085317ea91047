"""Models that come with the package, trained on its own rendered scenes by `python -m vitreous.worlds.train`."""
