"""Drives headless Chromium as its caller says, line by line: run by the Python that has Playwright.

    python browse.py CHROMIUM

Each line on standard input is `{"who": NAME, "do": VERB, ...}`, each answer `{"ok": ...}` or `{"failed": ...}`. A name
is a browser of its own: its cookies are nobody else's. Imports nothing of this project.
"""

from __future__ import annotations

import importlib
import io
import json
import re
import sys
from typing import Any

LIMIT_MS = 15_000
COLOURS = 64


class Browsers:
    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._pages: dict[str, Any] = {}

    def page(self, who: str) -> Any:
        if who not in self._pages:
            context = self._browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
            context.set_default_timeout(LIMIT_MS)
            self._pages[who] = context.new_page()
        return self._pages[who]

    def do(self, asked: dict[str, Any]) -> Any:
        page = self.page(asked["who"])
        found = getattr(self, f"do_{asked['do']}")(page, asked)
        if asked["do"] == "close":
            del self._pages[asked["who"]]
        return found

    def standing(self) -> str:
        """Where everybody is, for whoever looks into a failure."""
        return "\n".join(f"{who}: {page.url}: {page.inner_text('body')[:300]!r}" for who, page in self._pages.items())

    def do_goto(self, page: Any, asked: dict[str, Any]) -> Any:
        response = page.goto(asked["url"])
        return None if response is None else response.status

    def do_fill(self, page: Any, asked: dict[str, Any]) -> None:
        page.fill(asked["at"], asked["text"])

    def do_click(self, page: Any, asked: dict[str, Any]) -> None:
        page.click(asked["at"], click_count=asked.get("times", 1))

    def do_arrive(self, page: Any, asked: dict[str, Any]) -> str:
        page.wait_for_url(re.compile(asked["at"]))
        page.wait_for_load_state()
        return str(page.url)

    def do_see(self, page: Any, asked: dict[str, Any]) -> str:
        """Waits until the heading says so; the text of the page."""
        page.wait_for_selector(f"h1:has-text({json.dumps(asked['heading'])})")
        return str(page.inner_text("body"))

    def do_url(self, page: Any, asked: dict[str, Any]) -> str:
        return str(page.url)

    def do_text(self, page: Any, asked: dict[str, Any]) -> str:
        return str(page.inner_text("body"))

    def do_back(self, page: Any, asked: dict[str, Any]) -> None:
        page.go_back()

    def do_run(self, page: Any, asked: dict[str, Any]) -> Any:
        return page.evaluate(asked["script"])

    def do_cookies(self, page: Any, asked: dict[str, Any]) -> Any:
        return page.context.cookies()

    def do_frames(self, page: Any, asked: dict[str, Any]) -> Any:
        """A page that holds an address in a frame; where the frame ended, and what it shows."""
        page.goto(asked["on"])
        with page.expect_event("framenavigated", lambda frame: frame is not page.main_frame) as gone:
            page.evaluate(
                """url => {
                    const frame = document.createElement("iframe");
                    frame.src = url;
                    document.body.append(frame);
                }""",
                asked["url"],
            )
        frame = gone.value
        frame.wait_for_load_state()
        return {"url": frame.url, "text": frame.evaluate("document.body.innerText")}

    def do_size(self, page: Any, asked: dict[str, Any]) -> None:
        page.set_viewport_size({"width": asked["width"], "height": asked["height"]})

    def do_dark(self, page: Any, asked: dict[str, Any]) -> None:
        page.emulate_media(color_scheme="dark" if asked["dark"] else "light")

    def do_shot(self, page: Any, asked: dict[str, Any]) -> None:
        whole = page.screenshot(full_page=True)
        image = importlib.import_module("PIL.Image").open(io.BytesIO(whole)).convert("RGB")
        image.quantize(COLOURS).save(asked["path"], optimize=True)  # letters are as sharp with fewer shades of grey

    def do_overflows(self, page: Any, asked: dict[str, Any]) -> bool:
        found = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        return bool(found)

    def do_axe(self, page: Any, asked: dict[str, Any]) -> Any:
        with open(asked["script"], encoding="utf-8") as source:
            page.evaluate(source.read() + "; undefined")
        found = page.evaluate("async () => (await axe.run(document)).violations")
        return [{"id": one["id"], "impact": one["impact"], "at": [n["html"] for n in one["nodes"]]} for one in found]

    def do_close(self, page: Any, asked: dict[str, Any]) -> None:
        page.context.close()


def main(chromium: str) -> None:
    playwright = importlib.import_module("playwright.sync_api").sync_playwright()
    with playwright as play:
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]  # root in a container has neither
        browser = play.chromium.launch(executable_path=chromium, headless=True, args=flags)
        browsers = Browsers(browser)
        for line in sys.stdin:
            try:
                answer = {"ok": browsers.do(json.loads(line))}
            except Exception as exc:
                answer = {"failed": f"{type(exc).__name__}: {exc}\n{browsers.standing()}"}
            print(json.dumps(answer), flush=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
