"""The report: one self-contained HTML page from plain data."""

from __future__ import annotations

from homing.report.model import ReportData

__all__ = ["ReportData"]
