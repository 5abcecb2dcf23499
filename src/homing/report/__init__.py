"""The report: one self-contained HTML page from plain data."""

from __future__ import annotations

from homing.report.model import ReportData
from homing.report.render import render, write

__all__ = ["ReportData", "render", "write"]
