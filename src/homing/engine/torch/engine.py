"""The reference engine: an untouched Hugging Face causal language model, read and acted on while it generates."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import os
from typing import Any

import torch
import transformers
from torch import nn

from homing.engine.base import EngineInfo, Sampling
from homing.engine.front import Front
from homing.engine.loop import Loop
from homing.engine.prefixes import PrefixStore
from homing.engine.torch.batch import Batch
from homing.engine.torch.layers import find, text_config
from homing.engine.torch.probe import Probe, Table
from homing.engine.torch.runner import Runner
from homing.engine.torch.sampler import generator_for
from homing.engine.torch.selftest import prove
from homing.errors import Unsupported

__all__ = ["TorchEngine"]

_SUPPORTS = frozenset({"floor", "ceiling", "add", "ablate", "gate", "mean", "score", "thinking"})


class TorchEngine(Front):
    """Engine over one model object, which is never changed: hooks come and go, and are gone after ``close``.

    Args:
        model: a causal language model of transformers, on one device.
        tokenizer: its tokenizer.
        slots: most rows decoded at once.
        max_tokens: most rows times columns of keys and values; None: what all slots can use, a quarter of the free
            memory at most.
        dtype_note: shown by doctor. fingerprint: of model and weights. origin: of the GGUF file behind them.
        layers: dotted name of the decoder layers, where structure is not enough.
        queue: most rows that may wait for a slot.
        prefix_bytes: memory for stored prefixes; None: an eighth of the device's, at least half a gigabyte.

    Raises:
        LayersError: the decoder layers cannot be found. Unsupported: the model keeps state that has no slots.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        slots: int = 32,
        max_tokens: int | None = None,
        dtype_note: str = "",
        fingerprint: str = "",
        origin: str = "",
        layers: str | None = None,
        queue: int = 65536,
        prefix_bytes: int | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        devices = {p.device for p in model.parameters()}
        if len(devices) != 1:
            raise Unsupported(f"the model lies on {len(devices)} devices; this engine wants it on one")
        self._was_training = model.training
        model.eval()
        found = find(model, layers=layers)
        device = next(iter(devices))
        config = text_config(model)
        table = Table(layers=len(found.layers), hidden=found.hidden, device=device)
        runner = Runner(
            model,
            probe=Probe(found.layers),
            table=table,
            cache_layers=max(len(found.layers), int(config.num_hidden_layers)),
            vocab=int(config.vocab_size),
        )
        self._known = table
        proof = prove(runner)
        context = int(getattr(config, "max_position_embeddings", None) or 2048)
        if max_tokens is None:
            # Never more than the slots can use: where memory is ample the figure then does not depend on what else runs,
            # and neither does the company that a row of a seeded run decodes in.
            room = _free_bytes(device) // 4 // max(proof.bytes_per_token, 1)
            max_tokens = max(4 * context, min(room, slots * min(context, 2048)))
        self._stops = _stop_ids(model, tokenizer)
        self._info = EngineInfo(
            engine="torch",
            fingerprint=fingerprint,
            dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
            layers=len(found.layers),
            hidden=found.hidden,
            vocab=int(config.vocab_size),
            context=min(context, max_tokens),
            slots=slots,
            supports=_SUPPORTS,
            details={
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "threads": torch.get_num_threads(),
                "device": str(device),
                "layers_path": found.path,
                "layers_found": found.how,
                "dtype_note": dtype_note,
                "max_tokens": max_tokens,
                "hook_neutral": proof.neutral,
                "shift_arrives": proof.arrives,
                "cache_error": proof.cache_error,
                "trees": runner.trees,
            },
            origin=origin,
        )
        if prefix_bytes is None:
            # of all memory, not of what is free now: what is kept then does not depend on what else runs
            prefix_bytes = max(512 * 2**20, _all_bytes(device) // 8)
        self._prefixes = PrefixStore(prefix_bytes)
        self._loop = Loop(Batch(runner, self._prefixes, slots=slots, max_tokens=max_tokens), queue=queue)
        self._closed = False

    def clear_prefixes(self) -> None:
        """Forget every stored prefix, at the next step boundary."""
        self._loop.call(self._prefixes.clear)

    def close_now(self) -> None:
        """The same from code without an event loop; waits for the step that is running."""
        if self._closed:
            return
        self._closed = True
        self._loop.close()
        self.model.train(self._was_training)

    def _generator(self, sampling: Sampling) -> Any:
        return generator_for(sampling)

    def _decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _stop_ids(model: nn.Module, tokenizer: Any) -> frozenset[int]:
    """End tokens of the generation configuration and of the tokenizer together."""
    generation = getattr(model, "generation_config", None)
    out: set[int] = set()
    for value in (getattr(generation, "eos_token_id", None), getattr(tokenizer, "eos_token_id", None)):
        if isinstance(value, int):
            out.add(value)
        elif value is not None:
            out.update(int(x) for x in value)
    return frozenset(out)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _all_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
