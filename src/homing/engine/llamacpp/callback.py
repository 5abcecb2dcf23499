"""The tables that the evaluation callback reads, and the callback in Python where the compiled one is not there.

Both do the same in the same order, to the bit. The compiled one costs next to nothing; the Python one takes the
interpreter's lock at every node of the graph.
"""

from __future__ import annotations

import ctypes as c
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.llamacpp.carrier import Carrier, EvalCallback

__all__ = ["Gated", "Op", "Program", "Tables", "compiled"]

F32 = NDArray[np.float32]
READ, SUM, ACT = 1, 2, 4
KINDS = {"floor": 0, "ceiling": 1, "add": 2, "ablate": 3}
LANES = 16


class _State(c.Structure):
    """``state`` of callback.c, field by field."""

    _fields_ = (
        *((n, c.c_void_p) for n in ("get_name", "tensor_get", "tensor_set", "elements")),
        *(
            (n, c.c_int32)
            for n in (
                "hidden", "layers", "max_rows", "rows", "outputs", "directions", "slots", "flags", "columns", "failed",
            )
        ),
        *(
            (n, c.c_void_p)
            for n in (
                "want", "cursor", "slot", "span", "sum", "reads", "output_row", "read_vectors", "projections", "sums",
                "vectors", "ops", "op_at", "gates", "gate_at", "open", "fired", "buffer",
            )
        ),
    )  # fmt: skip


OP = np.dtype(
    [
        ("kind", "<i4"), ("vector", "<i4"), ("threshold", "<f4"), ("strength", "<f4"), ("gate", "<i4"),
        ("spans", "<i4"), ("fired", "<i4"),
    ]
)  # fmt: skip
GATE = np.dtype([("vector", "<i4"), ("threshold", "<f4"), ("below", "<i4"), ("flag", "<i4")])


@dataclass(frozen=True, slots=True)
class Op:
    """One act of one slot at one layer.

    Args:
        kind: as in Act. ``vector``: unit, ``(hidden,)``. ``spans``: codes of the spans touched.
        gate: flag that must be open, or -1. ``fired``: column that its amount is logged in.
    """

    layer: int
    kind: str
    vector: F32
    threshold: float
    strength: float
    spans: tuple[int, ...]
    gate: int
    fired: int


@dataclass(frozen=True, slots=True)
class Gated:
    """One gate of one slot: opens ``flag`` for a row where its projection at ``layer`` lies on its side."""

    layer: int
    vector: F32
    threshold: float
    below: bool
    flag: int


@dataclass(frozen=True, slots=True)
class Program:
    """What is done to the rows of one slot, in order."""

    ops: tuple[Op, ...] = ()
    gates: tuple[Gated, ...] = ()

    @property
    def columns(self) -> int:
        """Columns of its log."""
        return 1 + max((o.fired for o in self.ops), default=-1)

    @property
    def flags(self) -> int:
        """Flags of its gates."""
        return 1 + max((g.flag for g in self.gates), default=-1)


@dataclass(eq=False)
class Tables:
    """Everything that one context's callback reads and writes.

    Args:
        hidden, layers: of the model. ``max_rows``: most rows of a decode.
    """

    hidden: int
    layers: int
    max_rows: int
    columns: int = 0
    flags: int = 0
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    def __post_init__(self) -> None:
        self._state = _State()
        s = self._state
        s.hidden, s.layers, s.max_rows = self.hidden, self.layers, self.max_rows
        for name in ("slot", "span", "sum", "output_row"):
            self._put(name, np.full(self.max_rows, -1, np.int32))
        self._put("reads", np.zeros(self.max_rows, np.uint8))
        self._put("want", np.zeros(self.layers, np.uint8))
        self._put("cursor", np.zeros(self.layers, np.int32))
        self._put("buffer", np.zeros((self.max_rows, self.hidden), np.float32))
        self.programs([])
        self.reading({})
        self.summing((), 0)
        self._keep: Any = None
        self.error: Exception | None = None

    def _put(self, name: str, value: NDArray[Any]) -> None:
        value = np.ascontiguousarray(value)
        self.arrays[name] = value
        setattr(self._state, name, value.ctypes.data)

    def programs(self, programs: Sequence[Program]) -> None:
        """Set what is done to each slot."""
        slots = len(programs)
        vectors: list[F32] = []
        index: dict[int, int] = {}

        def vector(v: F32) -> int:
            if id(v) not in index:
                index[id(v)] = len(vectors)
                vectors.append(v)
            return index[id(v)]

        ops: list[tuple[Any, ...]] = []
        gates: list[tuple[Any, ...]] = []
        op_at, gate_at = np.zeros((2, self.layers, slots + 1), np.int32)
        for layer in range(self.layers):
            for i, program in enumerate(programs):
                op_at[layer, i], gate_at[layer, i] = len(ops), len(gates)
                gates += [(vector(g.vector), g.threshold, g.below, g.flag) for g in program.gates if g.layer == layer]
                ops += [
                    (
                        KINDS[o.kind], vector(o.vector), o.threshold, o.strength, o.gate,
                        sum(1 << s for s in o.spans), o.fired,
                    )
                    for o in program.ops if o.layer == layer
                ]  # fmt: skip
            op_at[layer, slots], gate_at[layer, slots] = len(ops), len(gates)
        acted = (op_at[:, -1] > op_at[:, 0]) | (gate_at[:, -1] > gate_at[:, 0])
        self._want(ACT, np.flatnonzero(acted))
        self.columns = max((p.columns for p in programs), default=0)
        self.flags = max((p.flags for p in programs), default=0)
        s = self._state
        s.slots, s.columns, s.flags = slots, self.columns, self.flags
        self._put("vectors", np.array(vectors, np.float32).reshape(len(vectors), self.hidden))
        self._put("ops", np.array(ops, OP))
        self._put("gates", np.array(gates, GATE))
        self._put("op_at", op_at)
        self._put("gate_at", gate_at)
        self._put("open", np.zeros((self.max_rows, max(1, self.flags)), np.uint8))
        self._put("fired", np.zeros((self.max_rows, max(1, self.columns)), np.float32))

    def reading(self, directions: Mapping[str, Mapping[int, F32]]) -> None:
        """Set what is read: per direction, its vector by layer."""
        n = len(directions)
        vectors = np.zeros((self.layers, n, self.hidden), np.float32)
        for k, by_layer in enumerate(directions.values()):
            for layer, v in by_layer.items():
                vectors[layer, k] = v
        self._want(READ, sorted({layer for d in directions.values() for layer in d}))
        self._state.directions = n
        self._put("read_vectors", vectors)
        self._put("projections", np.zeros((self.layers, self.max_rows, n), np.float32))

    def summing(self, layers: Sequence[int], sums: int) -> None:
        """Set which layers are summed, and how many sums there are; all start at zero."""
        self._want(SUM, layers)
        self._put("sums", np.zeros((sums, self.layers, self.hidden)))

    def _want(self, bit: int, layers: Sequence[int] | NDArray[Any]) -> None:
        want = self.arrays["want"]
        want &= np.uint8(255 - bit)
        want[list(layers)] |= np.uint8(bit)

    def begin(
        self,
        slot: NDArray[np.int32],
        span: NDArray[np.int32],
        sums: NDArray[np.int32],
        reads: NDArray[np.uint8],
        outputs: NDArray[np.int64],
    ) -> None:
        """Before a decode of these rows: slots, spans, sums and whether each is read; ``outputs``: rows with logits."""
        n = len(slot)
        a = self.arrays
        a["slot"][:n], a["span"][:n], a["sum"][:n], a["reads"][:n] = slot, span, sums, reads
        a["output_row"][: len(outputs)] = outputs
        a["cursor"][:] = 0
        a["fired"][:n] = 0.0
        a["open"][:n] = 0
        self._state.rows, self._state.outputs, self._state.failed = n, len(outputs), 0

    @property
    def failed(self) -> int:
        """The layer whose rows were not those submitted, plus one; 0: none."""
        return int(self._state.failed)

    def hook(self, carrier: Carrier, library: Any) -> tuple[int, int]:
        """Addresses of the callback and of its data, for a context; both live as long as these tables."""
        s = self._state
        s.get_name = carrier.address("ggml_get_name")
        s.tensor_get = carrier.address("ggml_backend_tensor_get")
        s.tensor_set = carrier.address("ggml_backend_tensor_set")
        s.elements = carrier.address("ggml_nelements")
        if library is not None:
            self._keep = library
            return int(c.cast(library.homing_callback, c.c_void_p).value or 0), c.addressof(s)
        self._keep = EvalCallback(_InPython(self, carrier.lib))
        return int(c.cast(self._keep, c.c_void_p).value or 0), 0

    @property
    def rows(self) -> int:
        """Rows of the decode under way."""
        return int(self._state.rows)

    @property
    def outputs(self) -> int:
        """Rows of it whose logits are wanted."""
        return int(self._state.outputs)

    def fail(self, layer: int) -> None:
        """Note that a layer gave other rows than were submitted."""
        self._state.failed = layer + 1


def dot(h: F32, v: F32) -> F32:
    """Inner products of rows ``(n, hidden)`` with one vector, ``(n,)``, in the order of callback.c."""
    p = h * v
    rest = -p.shape[1] % LANES
    if rest:
        p = np.concatenate([p, np.zeros((len(p), rest), np.float32)], axis=1)
    lanes = p.reshape(len(p), -1, LANES)
    total = lanes[:, 0].copy()
    for i in range(1, lanes.shape[1]):
        total += lanes[:, i]
    out = total[:, 0].copy()
    for k in range(1, LANES):
        out += total[:, k]
    return out


class _InPython:
    """callback.c, line by line, over whole groups of rows."""

    def __init__(self, tables: Tables, lib: Any) -> None:
        self.tables, self.lib = tables, lib

    def __call__(self, tensor: int, ask: bool, _user: int) -> bool:
        """As callback.c; an error must not pass through the library, so it is kept, and told after the decode."""
        try:
            return self._call(tensor, ask)
        except Exception as e:
            self.tables.error = e
            return True

    def _call(self, tensor: int, ask: bool) -> bool:
        t = self.tables
        name: bytes = self.lib.ggml_get_name(tensor)
        digits = name[6:]
        if not name.startswith(b"l_out-") or not digits.isdigit() or int(digits) >= t.layers:
            return not ask
        layer = int(digits)
        want = int(t.arrays["want"][layer])
        if not want:
            return not ask
        if ask:
            return True
        n, first = int(self.lib.ggml_nelements(tensor)) // t.hidden, int(t.arrays["cursor"][layer])
        partial = layer == t.layers - 1 and t.outputs != t.rows
        if n > t.max_rows - first or first + n > (t.outputs if partial else t.rows):
            t.fail(layer)
            return True
        t.arrays["cursor"][layer] = first + n
        h = np.empty((n, t.hidden), np.float32)
        self.lib.ggml_backend_tensor_get(tensor, h.ctypes.data, 0, h.nbytes)
        rows = t.arrays["output_row"][first : first + n] if partial else np.arange(first, first + n)
        self._take(layer, want, rows, h)
        if want & ACT:
            changed = self._act(layer, rows, h)
            if changed.any():
                hit = np.flatnonzero(changed)
                part = np.ascontiguousarray(h[hit[0] : hit[-1] + 1])
                self.lib.ggml_backend_tensor_set(tensor, part.ctypes.data, int(hit[0]) * t.hidden * 4, part.nbytes)
        return True

    def _take(self, layer: int, want: int, rows: NDArray[Any], h: F32) -> None:
        a = self.tables.arrays
        if want & READ:
            here = np.flatnonzero(a["reads"][rows])
            for k in range(a["read_vectors"].shape[1] if len(here) else 0):
                a["projections"][layer, rows[here], k] = dot(h[here], a["read_vectors"][layer, k])
        if want & SUM:
            for r, row in enumerate(rows):
                if a["sum"][row] >= 0:
                    a["sums"][a["sum"][row], layer] += h[r]

    def _act(self, layer: int, rows: NDArray[Any], h: F32) -> NDArray[np.bool_]:
        a = self.tables.arrays
        changed = np.zeros(len(rows), bool)
        slots = len(a["op_at"][layer]) - 1
        of_row = a["slot"][rows]
        for slot in np.unique(of_row[(of_row >= 0) & (of_row < slots)]):
            here = np.flatnonzero(of_row == slot)
            for g in a["gates"][a["gate_at"][layer, slot] : a["gate_at"][layer, slot + 1]]:
                p = dot(h[here], a["vectors"][g["vector"]])
                a["open"][rows[here], g["flag"]] = p < g["threshold"] if g["below"] else p > g["threshold"]
            for op in a["ops"][a["op_at"][layer, slot] : a["op_at"][layer, slot + 1]]:
                touched = (int(op["spans"]) >> a["span"][rows[here]] & 1).astype(bool)
                if op["gate"] >= 0:
                    touched &= a["open"][rows[here], op["gate"]].astype(bool)
                at = here[touched]
                if not len(at):
                    continue
                v = a["vectors"][op["vector"]]
                by = _moved(op, dot(h[at], v))
                a["fired"][rows[at], op["fired"]] = by
                moving = at[by != 0]
                h[moving] += by[by != 0, None] * v
                changed[moving] = True
        return changed


def _moved(op: Any, p: F32) -> F32:
    kind, strength = int(op["kind"]), op["strength"]
    gap = op["threshold"] - p
    if kind == KINDS["floor"]:
        return np.where(gap > 0, gap * strength, np.float32(0)).astype(np.float32)
    if kind == KINDS["ceiling"]:
        return np.where(gap < 0, gap * strength, np.float32(0)).astype(np.float32)
    if kind == KINDS["add"]:
        return np.full(len(p), strength, np.float32)
    return (-strength * p).astype(np.float32)


def compiled() -> Any | None:
    """The compiled callback of this wheel, or None where it was built without a compiler."""
    spec = importlib.util.find_spec("homing.engine.llamacpp")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for path in sorted(Path(folder).glob("_callback*.so")):
            try:
                library = c.CDLL(str(path))
                library.homing_callback.argtypes = [c.c_void_p, c.c_bool, c.c_void_p]
                library.homing_callback.restype = c.c_bool
            except (OSError, AttributeError):
                continue
            return library
    return None
