"""A page of a report in a browser, as wide and as bright as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def opened(browser: Any, path: Path, *, width: int = 1280, theme: str = "light") -> Any:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get_log("browser")
    browser.get(path.as_uri())
    return browser
