"""fracture compare: two checkpoints of one model, the same answers and the same insides? On concepts that a file names."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.errors import InputError
from homing.fracture.checkpoint_figures import Insides, Layout, best_block
from homing.fracture.checkpoints import compare_concept, overall, unanswered
from homing.fracture.concept_file import ConceptPrompts, read_concepts
from homing.verbs.progress import Progress, Silent

if TYPE_CHECKING:
    from homing.fracture.decoder import Decoder
    from homing.fracture.decoder_read import Prompt

__all__ = ["SCHEMA", "compare_checkpoints", "compare_decoders", "compare_text", "gradient_blocks"]

SCHEMA = "homing.fracture-compare/1"
F64 = NDArray[np.float64]
NUDGE = 0.5
"""Logits by which an edit is to move the read-outs that it is made on."""
GRADIENT_BLOCKS = 4


@dataclass(frozen=True, eq=False, slots=True)
class _Side:
    """A checkpoint that is open, and what was read of it so far."""

    letter: str
    decoder: Decoder
    said: F64
    streams: NDArray[np.float32]


def compare_checkpoints(
    a: str, b: str, concepts: Path, *, seed: int = 0, threads: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Compare two checkpoints by name.

    Args:
        a, b: ``smollm2``, directories, GGUF files (dequantised) or hub ids.
        concepts: see :mod:`homing.fracture.concept_file`.
        seed: of resamples. ``threads``: of torch.

    Returns:
        What ``homing fracture compare --json`` prints.

    Raises:
        InputError: the file, or the checkpoints are of different shape, tokens or family. ModelError: one cannot be opened.
    """
    named = read_concepts(concepts)
    told = progress or Silent()
    opened: dict[str, Decoder] = {}
    tokens: dict[str, list[Prompt]] = {}
    for letter, name in (("A", a), ("B", b)):
        told.stage(f"opening {letter}, {name}")
        opened[letter], tokens[letter] = _open(letter, name, named, threads)
    if tokens["A"] != tokens["B"]:
        raise InputError(
            "A and B make other tokens of the same prompts; two checkpoints of one model have one tokenizer"
        )
    found = compare_decoders(opened["A"], opened["B"], named, tokens["A"], seed=seed, progress=told)
    opened.clear()
    gc.collect()
    return {"schema": SCHEMA, "a": a, "b": b, **found}


def _open(letter: str, name: str, named: Sequence[ConceptPrompts], threads: int | None) -> tuple[Decoder, list[Prompt]]:
    from homing.engine.template import ChatTemplate
    from homing.fracture.decoder import Decoder
    from homing.fracture.decoder_read import Prompt
    from homing.models.hugging import loaded
    from homing.models.sources import resolve

    model, tokenizer, _ = loaded(resolve(name), "float32", threads)
    model.eval()
    template = ChatTemplate.from_tokenizer(tokenizer) if any(c.chat for c in named) else None

    def encoded(text: str, chat: bool) -> tuple[str, list[int]]:
        """A prompt as the model sees it, and its tokens."""
        if chat and template is not None:
            found = template.encode(Conversation.of(text), tokenizer)
            return found.text, list(found.tokens)
        return text, [int(i) for i in tokenizer(text).input_ids]

    def follows(seen: str, tokens: list[int], option: str, c: ConceptPrompts) -> int:
        """The first token of an option where it stands: behind the prompt, and not by itself."""
        longer = [int(i) for i in tokenizer(seen + option, add_special_tokens=not c.chat).input_ids]
        if longer[: len(tokens)] != tokens or len(longer) == len(tokens):
            raise InputError(
                f"{c.name!r}: option {option!r} runs together with the end of a prompt in {letter} ({seen[-30:]!r}); begin"
                " the option with a space and end the prompt without one"
            )
        return longer[len(tokens)]

    def prompts() -> list[Prompt]:
        out: list[Prompt] = []
        for c in named:
            for texts in (t for sides in c.contexts.values() for t in sides):
                for text in texts:
                    seen, ids = encoded(text, c.chat)
                    first, second = (follows(seen, ids, o, c) for o in c.options)
                    if first == second:
                        raise InputError(
                            f"{c.name!r}: both options begin with the same token of {letter}; give words that begin differently"
                        )
                    out.append(Prompt(tuple(ids), first, second))
        return out

    return Decoder.of(model, name=f"{letter} ({name})"), prompts()


def _layout(named: Sequence[ConceptPrompts]) -> Layout:
    names, concept, context, positive, held = list[str](), list[str](), list[int](), list[bool](), list[bool]()
    for c in named:
        for g, sides in c.contexts.items():
            for side, texts in zip((True, False), sides, strict=True):
                context += [len(names)] * len(texts)
                positive += [side] * len(texts)
                held += [k % 2 == 1 for k in range(len(texts))]
            names.append(f"{c.name}/{g}")
            concept.append(c.name)
    return Layout(tuple(names), tuple(concept), np.asarray(context), np.asarray(positive), np.asarray(held))


def gradient_blocks(count: int) -> list[int]:
    """The blocks whose matrices count for gradients: a few, evenly over the middle half."""
    return sorted({round(x) for x in np.linspace(count / 4, 3 * count / 4, GRADIENT_BLOCKS)} & set(range(count)))


def compare_decoders(
    a: Decoder,
    b: Decoder,
    named: Sequence[ConceptPrompts],
    prompts: Sequence[Prompt],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The same on two models that are open. Their weights are written down anew on the way; what they compute stays.

    Args:
        prompts: of all concepts, context by context, the positive ones first, as tokens.

    Raises:
        InputError: the two are of different shape.
    """
    from homing.fracture.decoder import fix_gauge
    from homing.fracture.decoder_read import read
    from homing.fracture.intruders import Spectra, panel, spectra

    if a.shape() != b.shape():
        said = " against ".join(", ".join(map(str, d.shape())) for d in (a, b))
        raise InputError(
            f"A and B are of different shape (blocks, hidden, heads, groups, units, vocabulary: {said}); two checkpoints of one"
            " model are compared, and for two models there is no telling which part is which"
        )
    for letter, decoder in (("A", a), ("B", b)):
        if odd := decoder.damaged():
            raise InputError(
                f"{letter} has weights that are not finite ({odd}); they are damaged, or of a type that overflows"
            )
    told = progress or Silent()
    layout, blocks = _layout(named), gradient_blocks(len(a.blocks))
    told.start(total=2 * (2 + len(blocks) + 2 * len(layout.names)) + 1, unit="steps", title="comparing two checkpoints")
    spectrum, sides = list[Spectra](), list[_Side]()
    for letter, decoder in (("A", a), ("B", b)):
        told.stage(f"{letter}: gauge, singular vectors, answers")
        fix_gauge(decoder)
        spectrum.append(spectra(decoder))
        told.advance()
        said, streams = read(decoder, prompts)
        if not np.isfinite(said).all() or not np.isfinite(streams).all():
            raise InputError(f"{letter} gives values that are not finite, of weights that are; they are too large")
        told.advance()
        sides.append(_Side(letter, decoder, said, streams))
    refused = {c.name: unanswered(c.name, layout, sides[0].said, sides[1].said) for c in named}
    answered = [c for c in named if refused[c.name] is None]
    found = {name: c for name, c in refused.items() if c is not None}
    block: int | None = None
    if answered:
        rows = layout.rows(*(c.name for c in answered))
        kept = [p for p, mine in zip(prompts, rows, strict=True) if mine]
        sides = [replace(s, said=s.said[rows], streams=s.streams[rows]) for s in sides]
        layout = _layout(answered)
        told.stage("where the contexts are told apart")
        block = best_block(layout, [s.streams for s in sides], seed=seed)
        told.advance()
        insides = [_inside(layout, s, kept, block, blocks, told) for s in sides]
        found |= {c.name: compare_concept(c.name, layout, insides[0], insides[1], seed=seed) for c in answered}
    return {
        "verdict": overall([found[c.name] for c in named]),
        "block": block,
        "gradient_blocks": blocks,
        "concepts": [found[c.name].to_json() for c in named],
        "panel": panel(spectrum[0], spectrum[1]).to_json(),
    }


def _inside(
    layout: Layout, s: _Side, prompts: Sequence[Prompt], block: int, blocks: Sequence[int], told: Progress
) -> Insides:
    from homing.fracture.decoder_read import gradient_gram

    told.stage(f"{s.letter}: gradients of blocks {', '.join(map(str, blocks))}")
    gram = gradient_gram(s.decoder, prompts, blocks, told=told.advance)
    told.stage(f"{s.letter}: edits")
    edits = _edits(layout, s, prompts, told)
    told.stage(f"{s.letter}: pushes behind block {block}")
    stream = s.streams[:, block].astype(np.float64)
    return Insides(s.said, stream, gram, edits, _pushes(layout, s, stream, block, prompts, told))


def _held(layout: Layout, g: int) -> list[int]:
    """Prompts on which a change made in one context is measured: the held half of every context of its concept."""
    rows = layout.rows(layout.concept[g]) & layout.held
    return [int(i) for i in np.flatnonzero(rows)]


def _edits(layout: Layout, s: _Side, prompts: Sequence[Prompt], told: Progress) -> F64:
    from homing.fracture.decoder_read import edited, mean_gradient, read

    out = np.full((len(layout.names), len(prompts)), np.nan)
    for g in range(len(layout.names)):
        mine = [int(i) for i in np.flatnonzero((layout.context == g) & ~layout.held)]
        step = mean_gradient(s.decoder, [prompts[i] for i in mine], [float(layout.signs[i]) for i in mine])
        length = sum(float((t.double() ** 2).sum()) for t in step)
        if length > 0:
            rows = _held(layout, g)
            with edited(s.decoder, step, NUDGE / length):
                out[g, rows] = read(s.decoder, [prompts[i] for i in rows])[0] - s.said[rows]
        told.advance()
    return out


def _pushes(layout: Layout, s: _Side, stream: F64, block: int, prompts: Sequence[Prompt], told: Progress) -> F64:
    from homing.fracture.decoder_read import read, steered

    out = np.full((len(layout.names), len(prompts)), np.nan)
    for g in range(len(layout.names)):
        mine = (layout.context == g) & ~layout.held
        push = stream[mine & layout.positive].mean(axis=0) - stream[mine & ~layout.positive].mean(axis=0)
        rows = _held(layout, g)
        with steered(s.decoder, block, push / 2):
            out[g, rows] = read(s.decoder, [prompts[i] for i in rows])[0] - s.said[rows]
        told.advance()
    return out


_SAYS = {
    "accuracy": "right answers",
    "auroc": "AUROC of the read-out",
    "flips": "answers that change",
    "broken": "right in A alone",
    "mended": "right in B alone",
    "kl": "divergence of answers, nats",
    "accuracy_change": "accuracy, B less A",
    "axis": "readings of A and B, correlation",
    "cosine": "cosine over contexts, corrected",
    "cosine_unrelated": "the same with another concept",
    "coupling": "cosine of gradients, corrected",
    "coupling_null": "the same with another concept",
    "kappa": "kappa of gradients",
    "edit_transfer": "an edit arrives elsewhere",
    "steering_transfer": "a push arrives elsewhere",
    "steered_backwards": "pushed the wrong way",
    "share": "share of one dimension",
    "auroc_lost": "AUROC lost elsewhere",
}


def compare_text(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    lines = [f"A {found['a']}   B {found['b']}: {found['verdict'].upper()}"]
    for c in found["concepts"]:
        lines.append(f"{c['name']}: {c['verdict']}")
        lines += [f"  {r}" for r in c["reasons"]]
        lines.append(f"  {'':<34} {'A':<22} {'B':<22} B less A")
        for key, row in c["figures"].items():
            cells = [_shown(row[k]) if k in row else "" for k in ("a", "b", "change")]
            lines.append(f"  {_SAYS[key]:<34} {cells[0]:<22} {cells[1]:<22} {cells[2]}".rstrip())
    if found["block"] is not None:
        blocks = ", ".join(map(str, found["gradient_blocks"]))
        lines.append(
            f"vectors behind block {found['block']}, gradients of the matrices of blocks {blocks}, gauges fixed"
        )
    p = found["panel"]
    lines.append(
        f"singular vectors: {_shown(p['intruders'])} of B's are far from A's, the spaces overlap by {_shown(p['overlap'])};"
        f" one rotation explains {p['basis']['value']:.3f} of B's embedding. They say nothing of a concept."
    )
    return "\n".join(lines)


def _shown(e: Mapping[str, Any]) -> str:
    if e["value"] is None:
        return "-"
    ends = "" if e["low"] is None or e["high"] is None else f" [{e['low']:.2f}, {e['high']:.2f}]"
    return f"{e['value']:.2f}{ends}"
