"""The tokenizer of a GGUF: ids from the library, and the characters that each token stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.llamacpp.context import Weights
from homing.errors import InputError, TemplateError

__all__ = ["GgufTokenizer"]


class GgufTokenizer:
    """What is used of a fast tokenizer, over the vocabulary of a GGUF; torch and transformers are not needed.

    Ids are the library's own, which reads the kind of splitting from the header.

    Args:
        weights: the model in memory. It must outlive this object.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.chat_template = weights.chat_template
        self._pieces: dict[int, bytes] = {}
        # what a chat template may write
        self.bos_token = self._special("bos")
        self.eos_token = self._special("eos")
        self.unk_token = self._special("unknown")
        self.pad_token = self._special("padding")

    def _special(self, name: str) -> str | None:
        token = self.weights.meta(f"tokenizer.ggml.{name}_token_id")
        return None if token is None else self._piece(int(token)).decode("utf-8", "replace")

    def __call__(
        self, text: str, *, add_special_tokens: bool = False, return_offsets_mapping: bool = True
    ) -> Mapping[str, Any]:
        """``input_ids`` and ``offset_mapping`` of a text; special tokens that it writes out are recognised, none is added.

        A token that holds part of a character's bytes stands for the whole character.

        Raises:
            InputError: the text is not Unicode. TemplateError: the tokenizer changes the text, so places are not exact.
        """
        if add_special_tokens:
            raise ValueError("the chat template writes the special tokens")
        try:
            raw = text.encode()
        except UnicodeEncodeError as e:
            raise InputError(f"the text has half a character at {e.start}, a lone surrogate; remove it") from None
        ids = self.weights.tokenize(raw)
        if not return_offsets_mapping:
            return {"input_ids": ids}
        return {"input_ids": ids, "offset_mapping": self._offsets(raw, ids)}

    def _piece(self, token: int) -> bytes:
        if token not in self._pieces:
            self._pieces[token] = self.weights.piece(token, special=True)
        return self._pieces[token]

    def _offsets(self, raw: bytes, ids: tuple[int, ...]) -> list[tuple[int, int]]:
        character = _characters(raw)
        out: list[tuple[int, int]] = []
        at = 0
        for i in ids:
            piece = self._piece(i)
            if not raw.startswith(piece, at) and raw.startswith(piece[1:], at) and piece[:1] == b" ":
                piece = piece[1:]  # SentencePiece writes a space before the first word, which the text has not
            if not raw.startswith(piece, at):
                raise self._changed(raw, at)
            end = at + len(piece)
            out.append((int(character[at]), int(character[end - 1]) + 1 if piece else int(character[at])))
            at = end
        if at != len(raw):
            raise self._changed(raw, at)
        return out

    def _changed(self, raw: bytes, at: int) -> TemplateError:
        near = raw[at : at + 24].decode("utf-8", "replace")
        kind = self.weights.meta("tokenizer.ggml.model")
        return TemplateError(
            f"the tokenizer of {self.weights.path.name} (of kind {kind!r}) changes the text near {near!r},"
            " so the place of a reply in a prompt is not exact; run this model on torch"
        )


def _characters(raw: bytes) -> NDArray[np.int64]:
    """For each byte, and the end, the index of the character that it belongs to."""
    starts = (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80
    inside = np.cumsum(starts) - 1
    return np.append(inside, int(starts.sum()))
