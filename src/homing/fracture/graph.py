"""A network as a graph of single units, as evolved and hand-built pictures are written, and the dense layers it becomes.

Layerized as in 2505.11581, appendix B: units lie as deep as their longest path, a value is carried by identity units ("cache") up
to its last reader, and every layer has room for the most units of each activation that any layer needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from homing.errors import InputError
from homing.fracture.network import ACTIVATIONS, F64, Layer, Network

__all__ = ["Graph", "Layered", "Unit"]

CACHE = "cache"
MOST_WEIGHTS = 5_000_000


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: its activation, and what each unit or input that it reads weighs."""

    kind: str
    reads: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, eq=False, slots=True)
class Layered:
    """A graph as dense layers.

    Attributes:
        network: the same function; the last layer only picks the outputs.
        where: unit to (layer, place), of those units that an output needs. ``plan``: depth and units of each kind, as the paper
            writes it ("12;cache:15,gaussian:4").
        real: of each layer, which weights are links of the graph, ``(in, out)``; the others are copies of weight 1 or nothing.
    """

    network: Network
    where: Mapping[str, tuple[int, int]]
    plan: str
    real: tuple[F64, ...]


class Graph:
    """Units by name.

    Args:
        inputs: names of the inputs, in the order of the columns. ``units``: the others. ``outputs``: names of units or inputs.

    Raises:
        InputError: an unknown name or activation, a weight that is not finite, no output, or a cycle.
    """

    def __init__(self, inputs: tuple[str, ...], units: Mapping[str, Unit], outputs: tuple[str, ...]) -> None:
        self.inputs, self.units, self.outputs = inputs, dict(units), outputs
        if not outputs:
            raise InputError("the graph has no output; name at least one")
        known = {*inputs, *self.units}
        if len(known) != len(inputs) + len(self.units):
            raise InputError("two units or inputs of the graph have one name; give each its own")
        for name, unit in self.units.items():
            if unit.kind not in ACTIVATIONS:
                raise InputError(
                    f"activation {unit.kind!r} of unit {name} is unknown; use one of {', '.join(ACTIVATIONS)}"
                )
            for source, weight in unit.reads.items():
                if source not in known:
                    raise InputError(
                        f"unit {name} reads {source!r}, which is not there; give a unit or input of that name"
                    )
                if not np.isfinite(weight):
                    raise InputError(f"the weight from {source} to {name} is {weight}; give a finite number")
        missing = [o for o in outputs if o not in known]
        if missing:
            raise InputError(f"output {missing[0]!r} is not there; name a unit or input of the graph")
        self.order = self._order()

    def _order(self) -> tuple[str, ...]:
        """Units after all that they read."""
        readers: dict[str, list[str]] = {u: [] for u in self.units}
        waits = dict.fromkeys(self.units, 0)
        for name, unit in self.units.items():
            for source in unit.reads:
                if source in readers:
                    readers[source].append(name)
                    waits[name] += 1
        ready, done = [u for u, w in waits.items() if w == 0], list[str]()
        while ready:
            u = ready.pop()
            done.append(u)
            for r in readers[u]:
                waits[r] -= 1
                if waits[r] == 0:
                    ready.append(r)
        if len(done) < len(self.units):
            stuck = next(u for u, w in waits.items() if w > 0)
            raise InputError(
                f"the graph has a cycle through or before unit {stuck!r}; only graphs without cycles can be drawn"
            )
        return tuple(done)

    @property
    def links(self) -> int:
        """Weights."""
        return sum(len(u.reads) for u in self.units.values())

    def values(self, x: F64) -> dict[str, F64]:
        """Every input and unit at ``(n, inputs)`` points, ``(n,)`` each."""
        if x.ndim != 2 or x.shape[1] != len(self.inputs):
            raise InputError(
                f"inputs have shape {x.shape}; this graph reads (n, {len(self.inputs)}): {', '.join(self.inputs)}"
            )
        got: dict[str, F64] = {name: x[:, i] for i, name in enumerate(self.inputs)}
        for name in self.order:
            unit = self.units[name]
            z = np.zeros(len(x))
            for source, weight in unit.reads.items():
                z = z + weight * got[source]
            got[name] = ACTIVATIONS[unit.kind][0](z)
        return got

    def __call__(self, x: F64) -> F64:
        """Outputs, ``(n, outputs)``."""
        got = self.values(x)
        return np.stack([got[o] for o in self.outputs], axis=1)

    def layerize(self) -> Layered:
        """The same function as dense layers; units that no output needs are left out.

        Raises:
            InputError: the layers would hold more than 5 million weights.
        """
        needed: set[str] = set()
        waiting = list(self.outputs)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                if name in self.units:
                    waiting.extend(self.units[name].reads)
        depth = dict.fromkeys(self.inputs, 0)
        for name in self.order:
            depth[name] = 1 + max((depth[s] for s in self.units[name].reads), default=0)
        last = max(1, *(depth[o] for o in self.outputs))
        until = dict.fromkeys(needed, 0)  # the deepest layer that reads a value
        for name in needed & set(self.units):
            for source in self.units[name].reads:
                until[source] = max(until[source], depth[name])
        for o in self.outputs:
            until[o] = last + 1
        order = [*self.inputs, *self.order]
        rows = [
            [
                (CACHE if depth[n] < at else self.units[n].kind, n)
                for n in order
                if n in needed and depth[n] <= at < until[n]
            ]
            for at in range(1, last + 1)
        ]
        kinds = sorted({k for row in rows for k, _ in row}, key=lambda k: (k != CACHE, k))
        room = {k: max(sum(kind == k for kind, _ in row) for row in rows) for k in kinds}
        width = sum(room.values())
        if last * width * width > MOST_WEIGHTS:
            raise InputError(
                f"as layers this graph would have {last} x {width} x {width} weights; give one of less depth or width"
            )
        start = {k: sum(room[j] for j in kinds[: kinds.index(k)]) for k in kinds}
        names = tuple("identity" if k == CACHE else k for k in kinds for _ in range(room[k]))
        place = {n: i for i, n in enumerate(self.inputs)}
        where: dict[str, tuple[int, int]] = {}
        layers, real = list[Layer](), list[F64]()
        for at, row in enumerate(rows):
            weights = np.zeros((len(self.inputs) if at == 0 else width, width))
            link = np.zeros(weights.shape)
            used, now = dict(start), dict[str, int]()
            for kind, name in row:
                slot = used[kind]
                used[kind] += 1
                now[name] = slot
                if kind == CACHE:
                    weights[place[name], slot] = 1.0
                    continue
                where[name] = (at, slot)
                for source, weight in self.units[name].reads.items():
                    weights[place[source], slot] = weight
                    link[place[source], slot] = 1.0
            layers.append(Layer(weights, names))
            real.append(link)
            place = now
        pick = np.zeros((width, len(self.outputs)))
        for i, o in enumerate(self.outputs):
            pick[place[o], i] = 1.0
        layers.append(Layer(pick, ("identity",) * len(self.outputs)))
        real.append(np.zeros(pick.shape))
        plan = f"{last};" + ",".join(f"{k}:{room[k]}" for k in kinds)
        return Layered(Network(tuple(layers)), where, plan, tuple(real))
