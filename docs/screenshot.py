"""Draws docs/report.png for the README: the top of a finished report, as Chromium shows it."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

TARGET = Path(__file__).resolve().parent / "report.png"
WIDTH, HEIGHT = 1440, 1120
LARGEST = 250_000  # bytes
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main(report: Path) -> None:
    """Take a screenshot of `report` and write it with a palette of 256 colours."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None or not report.is_file():
        missing = f"{report} is not there; run `make report`" if program else f"none of {', '.join(BROWSERS)} is there"
        sys.exit(f"No screenshot: {missing}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        photograph = page.screenshot()
        browser.close()
    with Image.open(io.BytesIO(photograph)) as image:
        image.convert("RGB").quantize(256).save(TARGET, optimize=True)
    size = TARGET.stat().st_size
    print(f"{TARGET}: {size / 1000:.0f} kB")
    if size > LARGEST:
        sys.exit(f"The screenshot is larger than {LARGEST / 1000:.0f} kB.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
