"""Randomness of one image, fixed by names: the same whatever the batch, its order or the process at work.

The global generators of Python, numpy and torch are neither read nor changed: they belong to the user.
"""

import hashlib

import torch


def image_seed(master: int, *names: str) -> int:
    """Derive a seed in [0, 2**63) from a master seed and names such as the method and the image's digest.

    Each part is hashed with its length, so that ("ab", "c") and ("a", "bc") are different.

    >>> image_seed(0, "method", "ab") == image_seed(0, "method", "ab")
    True
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in (str(int(master)), *names):
        encoded = part.encode("utf-8", "surrogatepass")  # file names may hold bytes that are no text
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return int.from_bytes(digest.digest(), "little") >> 1


def image_generator(master: int, *names: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Make a generator seeded by `image_seed`, to draw one image's random numbers from.

    A GPU's stream differs from the CPU's for the same seed: where both must agree, draw on the CPU.
    """
    generator = torch.Generator(device=device)
    generator.manual_seed(image_seed(master, *names))
    return generator
