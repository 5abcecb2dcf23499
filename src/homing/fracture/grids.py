"""The plane that a picture is drawn on: its pixels, the symmetries a picture may have, and the pairs that each of them makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.network import F64

__all__ = ["INPUTS", "SYMMETRIES", "Symmetry", "coordinates", "inputs", "orbits"]

INPUTS = ("y", "x", "d", "b")
"""What a network reads at a pixel: row and column in -1 to 1, ``1.4 sqrt(x^2 + y^2)``, and 1 (2505.11581, A.2)."""


@dataclass(frozen=True, eq=False, slots=True)
class Symmetry:
    """A map of the plane onto itself that leaves a picture as it is.

    Attributes:
        words: for a person, as in "is the same on both sides of ...". ``turn``: ``(2, 2)``, what becomes of (y, x).
        order: how often it is done to come back.
    """

    name: str
    words: str
    turn: NDArray[np.int64]
    order: int

    def __call__(self, plane: F64) -> F64:
        """Where the points ``(n, 2)`` of (y, x) go."""
        return plane @ self.turn.T.astype(np.float64)

    def fold(self, plane: F64) -> F64:
        """One point of every orbit in place of all of them, ``(n, 2)``: of a mirror, the absolute value.

        Of each orbit the point is taken that reads highest, ties by y: what comes out is equal, bit by bit, for all of an orbit.
        """
        best, moved = plane, plane
        for _ in range(self.order - 1):
            moved = self(moved)
            key = _height(moved, self.name) - _height(best, self.name)
            tie = key == 0
            better = (key > 0) | (
                tie & ((moved[:, 0] > best[:, 0]) | ((moved[:, 0] == best[:, 0]) & (moved[:, 1] > best[:, 1])))
            )
            best = np.where(better[:, None], moved, best)
        return best


def _height(plane: F64, name: str) -> F64:
    """What the kept half, or quarter, is cut by."""
    y, x = plane[:, 0], plane[:, 1]
    return {"up-down": y, "diagonal": x - y, "quarter-turn": np.minimum(x, y) + 1e-3 * y}.get(name, x)


def _symmetry(name: str, words: str, turn: list[list[int]], order: int) -> Symmetry:
    return Symmetry(name, words, np.array(turn, np.int64), order)


SYMMETRIES = {
    s.name: s
    for s in (
        _symmetry("left-right", "left and right of the middle", [[1, 0], [0, -1]], 2),
        _symmetry("up-down", "above and below the middle", [[-1, 0], [0, 1]], 2),
        _symmetry("half-turn", "before and after half a turn", [[-1, 0], [0, -1]], 2),
        _symmetry("diagonal", "on both sides of the diagonal", [[0, 1], [1, 0]], 2),
        _symmetry("quarter-turn", "before and after a quarter of a turn", [[0, 1], [-1, 0]], 4),
    )
}


def coordinates(side: int) -> F64:
    """The (y, x) of every pixel of a square picture, ``(side * side, 2)`` row by row, both from -1 to 1.

    They are quotients of whole numbers: the mirror image of a pixel is a pixel, exactly.

    Raises:
        InputError: a side under 2 or over 512.
    """
    if not 2 <= side <= 512:
        raise InputError(f"a picture of side {side} was asked for; give 2 to 512")
    line = (2 * np.arange(side) + 1.0 - side) / (side - 1)
    y, x = np.meshgrid(line, line, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def inputs(plane: F64) -> F64:
    """What a network reads at points ``(n, 2)`` of (y, x): ``(n, 4)``, as :data:`INPUTS` names them."""
    squares = np.sort(plane**2, axis=1)  # in one order, so that x and y swapped read the same to the last bit
    d = 1.4 * np.sqrt(squares[:, 0] + squares[:, 1])
    return np.stack([plane[:, 0], plane[:, 1], d, np.ones(len(plane))], axis=1)


def orbits(symmetry: Symmetry, side: int, n: int, *, seed: int = 0) -> tuple[F64, F64, NDArray[np.int64]]:
    """Pairs of points that the symmetry makes one of, each pair once and none of a point with itself.

    Args:
        side: of the grid whose pixels are paired. ``n``: at most so many, drawn without return.

    Returns:
        ``(m, 2)`` points, ``(m, 2)`` where the symmetry puts them, and ``(m,)`` the orbit of each pair, to cluster by.
    """
    plane = coordinates(side)
    moved = symmetry(plane)
    first = symmetry.fold(plane)
    code = np.round((first + 1) * (side - 1) / 2).astype(np.int64)
    orbit = code[:, 0] * side + code[:, 1]
    keep = (moved != plane).any(axis=1)
    if symmetry.order == 2:  # a pair and its return are one
        keep &= (first == plane).all(axis=1)
    rows = np.flatnonzero(keep)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(rows, min(n, len(rows)), replace=False))
    return plane[rows], moved[rows], orbit[rows]
