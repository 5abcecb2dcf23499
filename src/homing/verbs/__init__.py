"""Map, watch, hold: what a person asks for, composed of the rooms below. This is the Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy

if TYPE_CHECKING:
    from homing.verbs.api import Identity, Model, open, wrap
    from homing.verbs.card import card_text
    from homing.verbs.chat import ChatSession
    from homing.verbs.compare import compare_identities
    from homing.verbs.demo import run_demo
    from homing.verbs.export import export_gguf, import_foreign
    from homing.verbs.home import run_home
    from homing.verbs.map import map_model, run_map
    from homing.verbs.plan import MapPlan, plan_map
    from homing.verbs.progress import Progress, make_progress
    from homing.verbs.proving import TestPlan, run_test, test_model
    from homing.verbs.report import report_data, write_report
    from homing.verbs.returning import ReturnPlan, return_model, run_return
    from homing.verbs.watch import watch_file

__all__ = [
    "ChatSession",
    "Identity",
    "MapPlan",
    "Model",
    "Progress",
    "ReturnPlan",
    "TestPlan",
    "card_text",
    "compare_identities",
    "export_gguf",
    "import_foreign",
    "make_progress",
    "map_model",
    "open",
    "plan_map",
    "report_data",
    "return_model",
    "run_demo",
    "run_home",
    "run_map",
    "run_return",
    "run_test",
    "test_model",
    "watch_file",
    "wrap",
    "write_report",
]

__getattr__, __dir__ = lazy(
    "homing.verbs",
    {
        "api": ("Identity", "Model", "open", "wrap"),
        "card": ("card_text",),
        "chat": ("ChatSession",),
        "compare": ("compare_identities",),
        "demo": ("run_demo",),
        "export": ("export_gguf", "import_foreign"),
        "home": ("run_home",),
        "map": ("map_model", "run_map"),
        "plan": ("MapPlan", "plan_map"),
        "progress": ("Progress", "make_progress"),
        "proving": ("TestPlan", "run_test", "test_model"),
        "report": ("report_data", "write_report"),
        "returning": ("ReturnPlan", "return_model", "run_return"),
        "watch": ("watch_file",),
    },
)
