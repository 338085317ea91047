"""Patterns of floor and walls, drawn as small pictures that repeat."""

from collections.abc import Callable

import numpy as np

SIDE = 64  # pixels of one period; a power of two, so that periods of the patterns divide it


def draw_pattern(pattern: str) -> np.ndarray:
    """Draw a pattern: float32 (SIDE, SIDE), 0 where the first colour is, 1 where the second is; it repeats."""
    across, down = np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE)
    return np.asarray(_PATTERNS[pattern](across, down), dtype=np.float32)


def _noise(period: int) -> np.ndarray:
    """Smooth noise of `period` bumps a side: fixed random numbers, interpolated so that the edges meet."""
    values = np.random.default_rng(period).random((period, period))
    places = np.arange(SIDE) * period / SIDE
    low = places.astype(int)
    share = places - low
    share = share * share * (3 - 2 * share)
    rows = values[low] * (1 - share)[:, None] + values[(low + 1) % period] * share[:, None]
    return np.asarray(rows[:, low] * (1 - share) + rows[:, (low + 1) % period] * share)


def _bricks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    row = np.floor(y * 4)
    along = (x * 2 + 0.5 * (row % 2)) % 1
    return np.asarray((along < 0.06) | ((y * 4) % 1 < 0.12))


_PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "bricks": _bricks,
    "checks": lambda x, y: (np.floor(x * 2) + np.floor(y * 2)) % 2,
    "diagonal": lambda x, y: (x + y) % 0.5 < 0.25,
    "dots": lambda x, y: np.hypot((x * 2) % 1 - 0.5, (y * 2) % 1 - 0.5) < 0.28,
    "fine": lambda _x, _y: _noise(16),
    "grid": lambda x, y: ((x * 2) % 1 < 0.1) | ((y * 2) % 1 < 0.1),
    "plain": lambda x, _y: np.zeros_like(x),
    "rings": lambda x, y: (np.hypot(x - 0.5, y - 0.5) * 6) % 1 < 0.5,
    "stripes": lambda x, _y: (x * 4) % 1 < 0.5,
    "waves": lambda _x, _y: _noise(4),
}

PATTERNS = tuple(_PATTERNS)
