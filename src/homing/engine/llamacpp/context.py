"""One GGUF and one context of it: rows of tokens in, logits out, sequences copied and cut."""

from __future__ import annotations

import ctypes as c
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.llamacpp.callback import Tables
from homing.engine.llamacpp.carrier import Carrier
from homing.errors import EngineError, ModelError, TooLong

__all__ = ["Context", "Weights"]

F32 = NDArray[np.float32]
MOST_SEQUENCES = 128


class Weights:
    """A GGUF in memory.

    Args:
        carrier: the library. ``path``: of the file.

    Raises:
        ModelError: llama.cpp cannot read it.
    """

    def __init__(self, carrier: Carrier, path: Path) -> None:
        self.carrier, self.path = carrier, path
        lib = carrier.lib
        self.handle: int | None = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        if not self.handle:
            raise ModelError(
                f"llama.cpp cannot open {path}: it is damaged, larger than the memory, or of an architecture that"
                f" {carrier.package} {carrier.version} does not know; fetch it again, or another conversion of the model"
            )
        self.vocabulary = lib.llama_model_get_vocab(self.handle)
        self.vocab = int(lib.llama_vocab_n_tokens(self.vocabulary))
        self.hidden = int(lib.llama_model_n_embd(self.handle))
        self.layers = int(lib.llama_model_n_layer(self.handle))
        self.context = int(lib.llama_model_n_ctx_train(self.handle))
        heads = int(lib.llama_model_n_head(self.handle)) or 1
        width = self.hidden * int(lib.llama_model_n_head_kv(self.handle)) // heads or self.hidden
        self.cell_bytes = 2 * (2 if self.quantised else 4) * width * self.layers
        """Of the keys and values of one token, about: some architectures have heads of another width."""

    def meta(self, key: str) -> str | None:
        """One value of the header as text, or None."""
        buffer = c.create_string_buffer(2**16)
        n = self.carrier.lib.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return None if n < 0 else buffer.value.decode("utf-8", "replace")

    @property
    def keeps_state(self) -> bool:
        """Whether layers keep a running state in place of keys and values a token."""
        lib = self.carrier.lib
        return bool(lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle))

    @property
    def chat_template(self) -> str | None:
        """The chat template of the header, or None."""
        raw: bytes | None = self.carrier.lib.llama_model_chat_template(self.handle, None)
        return None if raw is None else raw.decode("utf-8", "replace")

    @property
    def stops(self) -> frozenset[int]:
        """Tokens that end a generation."""
        ends = self.carrier.lib.llama_vocab_is_eog
        return frozenset(i for i in range(self.vocab) if ends(self.vocabulary, i))

    @property
    def quantised(self) -> bool:
        """Whether weights have fewer bits than a half, and what they are multiplied with is rounded to eight bits."""
        return self.kind not in ("F32", "F16", "BF16")

    @property
    def kind(self) -> str:
        """How the weights are quantised, as ``Q4_1`` or ``Q4_K_M``."""
        buffer = c.create_string_buffer(256)
        self.carrier.lib.llama_model_desc(self.handle, buffer, len(buffer))
        # "llama 135M Q4_K - Medium": architecture, size, type; "all F32" where nothing is quantised
        name = buffer.value.decode("utf-8", "replace").split(" ", 2)[-1].replace("(guessed)", "").strip()
        name = name.removeprefix("all ")
        return re.sub(r" - (\w)\w*$", r"_\1", name)

    def tokenize(self, text: str | bytes) -> tuple[int, ...]:
        """Token ids; special tokens written out in the text are recognised, none is added."""
        raw = text.encode() if isinstance(text, str) else text
        room = len(raw) + 16
        out = (c.c_int32 * room)()
        n = self.carrier.lib.llama_tokenize(self.vocabulary, raw, len(raw), out, room, False, True)
        if n < 0:
            raise EngineError(f"a text of {len(raw)} bytes gives {-n} tokens, more than it has bytes; report this")
        return tuple(out[:n])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token; a special one has none unless asked for."""
        buffer = c.create_string_buffer(512)
        n = self.carrier.lib.llama_token_to_piece(self.vocabulary, token, buffer, len(buffer), 0, special)
        return buffer.raw[: max(n, 0)]

    def close(self) -> None:
        """Free the weights."""
        if self.handle:
            self.carrier.lib.llama_model_free(self.handle)
            self.handle = None


class Context:
    """Keys and values of many sequences in one pool of cells, and the callback that reads and acts.

    Keys and values are in float32 and attention in plain sums where the weights are floats, so that a row gives the same alone
    and in company, to the rounding of float32; with quantised weights both are as the library has them.

    The pool is unified, so that rows reach the layers in the order they were submitted in, whatever their sequences.

    Args:
        weights: the model. ``tables``: of the callback. ``library``: the compiled callback, or None for the Python one.
        cells: tokens that the pool holds. ``sequences``: most at once. ``threads``: of a decode.
        rows: most tokens of one decode. ``ubatch``: of one pass inside it.

    Raises:
        EngineError: the library cannot make it, mostly for want of memory.
    """

    def __init__(
        self,
        weights: Weights,
        tables: Tables | None,
        library: Any,
        *,
        cells: int,
        sequences: int,
        threads: int,
        rows: int = 2048,
        ubatch: int = 512,
    ) -> None:
        self.weights, self.tables = weights, tables
        carrier, lib = weights.carrier, weights.carrier.lib
        at = carrier.layout
        p = lib.llama_context_default_params()
        p.put(at.sizes, "4I", cells, rows, min(ubatch, rows), sequences)
        p.put(at.unified, "B", 1)
        if not weights.quantised:  # they round more than this by themselves
            p.put(at.flash_attention, "i", 0)
            p.put(at.callback + 16, "2i", 0, 0)
        if tables is not None:
            p.put(at.callback, "2Q", *tables.hook(carrier, library))
        self.handle: int | None = lib.llama_init_from_model(weights.handle, p)
        if not self.handle:
            raise EngineError(
                f"llama.cpp cannot make a context of {cells} tokens for {weights.path.name}; there is too little memory:"
                " ask for fewer slots (--slots)"
            )
        self.cells, self.sequences, self.rows = int(lib.llama_n_ctx(self.handle)), sequences, rows
        self._memory = lib.llama_get_memory(self.handle)
        self._batch = lib.llama_batch_init(rows, 0, 1)
        n = rows
        self._token = np.ctypeslib.as_array(self._batch.token, (n,))
        self._pos = np.ctypeslib.as_array(self._batch.pos, (n,))
        self._wanted = np.ctypeslib.as_array(self._batch.logits, (n,))
        np.ctypeslib.as_array(self._batch.n_seq_id, (n,))[:] = 1
        self._seq = [self._batch.seq_id[i] for i in range(n)]
        self._outputs: NDArray[np.int64] = np.zeros(0, np.int64)
        self.threads = 0
        self.set_threads(threads)

    def set_threads(self, threads: int) -> None:
        """Use so many from the next decode on."""
        self.threads = threads
        self.weights.carrier.lib.llama_set_n_threads(self.handle, threads, threads)

    def decode(
        self,
        tokens: Sequence[int] | NDArray[np.int32],
        positions: Sequence[int] | NDArray[np.int32],
        sequences: Sequence[int],
        wanted: NDArray[np.bool_],
    ) -> None:
        """Run rows; logits of the wanted ones can be had until the next decode.

        Raises:
            TooLong: the pool has no room for them. EngineError: the library failed.
        """
        n = len(tokens)
        self._token[:n], self._pos[:n], self._wanted[:n] = tokens, positions, wanted
        for i, s in enumerate(sequences):
            self._seq[i][0] = s
        self._batch.n_tokens = n
        self._outputs = np.flatnonzero(wanted)
        code = int(self.weights.carrier.lib.llama_decode(self.handle, self._batch))
        if code == 1:
            raise TooLong(f"the pool of {self.cells} tokens has no room for {n} more; ask for fewer or shorter rows")
        if code:
            raise EngineError(f"llama.cpp failed to decode {n} tokens (code {code}); open the model again")
        if self.tables is not None and self.tables.error is not None:
            error, self.tables.error = self.tables.error, None
            raise error
        if self.tables is not None and self.tables.failed:
            raise EngineError(
                f"layer {self.tables.failed - 1} of {self.weights.path.name} gave other rows than were asked for; this"
                " model cannot be read on llama.cpp: use torch"
            )

    def logits(self, row: int) -> F32:
        """Logits ``(vocab,)`` of one wanted row of the last decode: a view, until the next one."""
        pointer = self.weights.carrier.lib.llama_get_logits_ith(self.handle, row)
        return np.ctypeslib.as_array(pointer, (self.weights.vocab,))

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Give ``target`` the first tokens of ``source``; their keys and values are shared, not computed again."""
        self.weights.carrier.lib.llama_memory_seq_cp(self._memory, source, target, 0, tokens)

    def remove(self, sequence: int, first: int = 0) -> None:
        """Forget a sequence from one position on."""
        self.weights.carrier.lib.llama_memory_seq_rm(self._memory, sequence, first, -1)

    def clear(self) -> None:
        """Forget every sequence."""
        self.weights.carrier.lib.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free the context; the weights stay."""
        if self.handle:
            lib = self.weights.carrier.lib
            lib.llama_batch_free(self._batch)
            lib.llama_free(self.handle)
            self.handle = None
