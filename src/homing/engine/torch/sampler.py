"""Drawing tokens: each row with its own temperature, nucleus and generator, over float32 logits."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Sequence

import torch

from homing.engine.base import LEAST_TEMPERATURE, Sampling
from homing.engine.rows import Drawn

__all__ = ["Sampler", "generator_for"]

_NUCLEUS = 512
"""So many of the likeliest tokens are looked at first; a row whose nucleus is larger is sorted whole."""


def generator_for(sampling: Sampling) -> torch.Generator | None:
    """The generator of one row, or None where nothing is drawn at random."""
    if sampling.temperature == 0.0:
        return None
    g = torch.Generator()
    g.manual_seed(sampling.seed)
    return g


class Sampler:
    """Draws one token a row; a row's draw depends on its own logits and its own generator alone."""

    def draw(
        self, logits: torch.Tensor, samplings: Sequence[Sampling], generators: Sequence[torch.Generator | None]
    ) -> list[Drawn]:
        """Draw.

        Args:
            logits: ``(rows, vocab)``. samplings, generators: one a row.
        """
        x = logits.float()
        norm = torch.logsumexp(x, dim=-1)
        ids = x.argmax(dim=-1)
        hot = [i for i, s in enumerate(samplings) if s.temperature > 0.0]
        if hot:
            ids = ids.clone()
            for rows, open_nucleus in (
                ([i for i in hot if samplings[i].top_p < 1.0], False),
                ([i for i in hot if samplings[i].top_p >= 1.0], True),
            ):
                if rows:
                    ids[rows] = self._sample(x, rows, samplings, generators, open_nucleus=open_nucleus)
        logprobs = (x.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - norm).tolist()
        tops: list[tuple[tuple[int, float], ...]] = [()] * len(samplings)
        for i, s in enumerate(samplings):
            if s.top_logprobs:
                v, k = torch.topk(x[i], min(s.top_logprobs, x.shape[-1]))
                tops[i] = tuple(zip(k.tolist(), (v - norm[i]).tolist(), strict=True))
        return [Drawn(t, p, top) for t, p, top in zip(ids.tolist(), logprobs, tops, strict=True)]

    def _sample(
        self,
        x: torch.Tensor,
        rows: list[int],
        samplings: Sequence[Sampling],
        generators: Sequence[torch.Generator | None],
        *,
        open_nucleus: bool,
    ) -> torch.Tensor:
        """Inverse-transform draws, one uniform number a row from its own generator."""
        temperature = torch.tensor([samplings[i].temperature for i in rows], device=x.device).clamp_(
            min=LEAST_TEMPERATURE
        )
        y = x[rows] / temperature.unsqueeze(-1)
        u = torch.stack([torch.rand((), generator=generators[i], dtype=torch.float64) for i in rows]).to(x.device)
        if open_nucleus:
            mass = torch.softmax(y, dim=-1).double().cumsum(-1)
            pick = torch.searchsorted(mass, (u * mass[:, -1]).unsqueeze(-1), right=True)
            return pick.squeeze(-1).clamp_(max=y.shape[-1] - 1)
        top_p = torch.tensor([samplings[i].top_p for i in rows], device=x.device, dtype=torch.float64)
        norm = torch.logsumexp(y, dim=-1, keepdim=True)
        k = min(_NUCLEUS, y.shape[-1])
        values, index = torch.topk(y, k, dim=-1)
        out = self._nucleus(values, index, norm, top_p, u)
        short = ((values - norm).double().exp().sum(-1) < top_p).nonzero().flatten().tolist() if k < y.shape[-1] else []
        for i in short:
            v, j = torch.sort(y[i : i + 1], dim=-1, descending=True, stable=True)
            out[i] = self._nucleus(v, j, norm[i : i + 1], top_p[i : i + 1], u[i : i + 1])[0]
        return out

    @staticmethod
    def _nucleus(
        values: torch.Tensor, index: torch.Tensor, norm: torch.Tensor, top_p: torch.Tensor, u: torch.Tensor
    ) -> torch.Tensor:
        p = (values - norm).double().exp()
        mass = p.cumsum(-1)
        p = torch.where(mass - p < top_p.unsqueeze(-1), p, 0.0)  # the token that crosses the mass is kept
        mass = p.cumsum(-1)
        pick = torch.searchsorted(mass, (u * mass[:, -1]).unsqueeze(-1), right=True)
        last = (p > 0).sum(-1, keepdim=True) - 1
        return index.gather(-1, torch.minimum(pick, last)).squeeze(-1)
