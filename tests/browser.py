"""The Chromium of the system, for the tests that open the report as a reader does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; skips where there is none, and fails when BAKEOFF_BROWSER=required says so."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing = f"none of {', '.join(NAMES)} is on the path"
        if os.environ.get("BAKEOFF_BROWSER") == "required":
            pytest.fail(f"BAKEOFF_BROWSER=required, but {missing}")
        pytest.skip(f"no browser to open the report in: {missing}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
