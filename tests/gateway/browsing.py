"""What a person does with the dashboard in a real browser, and sees."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from tests.gateway.page_double import PageDouble, until

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--force-device-scale-factor=1",
)  # fmt: skip
browser_test = pytest.mark.browser


class Page:
    """What a person does, and sees."""

    def __init__(self, driver: Any, service: PageDouble) -> None:
        self.driver, self.service = driver, service
        self.expected: list[str] = []
        """Parts of console messages that a test provokes: the browser itself tells of every refused request."""

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def all(self, css: str) -> list[Any]:
        return self.driver.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        return until(lambda: self.all(css), css)[0]

    def text(self, css: str) -> str:
        return self.script(
            "const e = document.querySelector(arguments[0]); return e && e.checkVisibility() ? e.innerText : ''", css
        )

    def click(self, css: str) -> None:
        element = self.one(css)
        self.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()

    def shows(self, css: str, part: str, seconds: float = 15) -> str:
        def there() -> str:
            text = self.text(css)
            return text if part in text else ""

        try:
            return until(there, f"{part!r} in {css}", seconds)
        except AssertionError:
            raise AssertionError(f"{css} shows {self.text(css)!r} and not {part!r}") from None

    def ids(self) -> list[str]:
        return self.script(
            "return [...document.querySelectorAll('#rows a')].map(a => decodeURIComponent(a.hash.slice(4)))"
        )

    def open(self, at: str = "#/") -> Page:
        self.driver.get("about:blank")
        self.driver.get(self.service.url + at)
        return self

    def live(self) -> Page:
        until(lambda: self.script("return document.getElementById('live').dataset.state") == "live", "the stream")
        return self

    def fleet(self, count: int) -> Page:
        self.open().live()
        until(lambda: len(self.ids()) == count, f"{count} rows")
        return self

    def conversation(self, id: str, turns: int) -> Page:
        from urllib.parse import quote

        self.open(f"#/c/{quote(id, safe='')}").live()
        until(lambda: len(self.all(".turn")) == turns, f"{turns} turns")
        return self

    def size(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def theme(self, name: str) -> None:
        media = {"features": [{"name": "prefers-color-scheme", "value": name}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def focused(self) -> str:
        return self.script("const e = document.activeElement; return e.id || e.getAttribute('href') || e.tagName")

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def asked(self, method: str, path: str) -> list[Any]:
        return [body for m, p, body in self.service.calls if (m, p) == (method, path)]


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.fail(f"{name} is not installed; run: apt-get install chromium chromium-driver", pytrace=False)
    return found
