"""The report as a reader sees it: opened in Chromium, clicked, resized, printed, and read by axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser import chromium
from tests.test_report import hostile_page

LEVELS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
WIDTHS = (360, 768, 1440)
STICKING_OUT = """() => [...document.querySelectorAll('body *')]
    .filter(e => e.checkVisibility() && !e.closest('.skip, .scroll table, pre, math'))
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
    .map(e => e.outerHTML.slice(0, 120))"""
VISIBLE_NAMES = "rows => rows.filter(row => !row.hidden).map(row => row.cells[1].textContent)"


@dataclass
class Opened:
    """A page, and what happened while it was open."""

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def reader(browser: Browser) -> Iterator[Any]:
    """Opens a file in a context of its own; `settings` are playwright's."""
    contexts = []

    def open_file(path: Path, width: int = 1440, **settings: Any) -> Opened:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **settings))
        opened = Opened(contexts[-1].new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.messages.append(message.text))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.on("dialog", lambda dialog: opened.messages.append(dialog.message))
        opened.page.goto(path.as_uri())
        return opened

    yield open_file
    for context in contexts:
        context.close()


@pytest.fixture
def report(small_report: Path) -> Path:
    return small_report / "report.html"


def _names(page: Page) -> list[str]:
    return page.eval_on_selector_all("#ranking tbody tr", VISIBLE_NAMES)


def test_nothing_leaves_the_page_and_nothing_goes_wrong(reader: Any, report: Path) -> None:
    opened = reader(report)
    for button in opened.page.locator("nav button").all():
        button.click()
    opened.page.mouse.wheel(0, 100_000)
    opened.page.wait_for_timeout(200)
    left = [url for url in opened.requests if not url.startswith("data:")]
    assert left == [report.as_uri()]
    assert opened.messages == []
    broken = "images => images.filter(image => !image.naturalWidth).length"
    assert opened.page.eval_on_selector_all("img", broken) == 0


@pytest.mark.parametrize("bypass", [False, True], ids=["with the policy", "by the cleaning alone"])
def test_nothing_hostile_acts(reader: Any, tmp_path: Path, bypass: bool) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(hostile_page(), encoding="utf-8")
    opened = reader(path, bypass_csp=bypass)
    opened.page.locator("nav button").last.click()
    opened.page.wait_for_timeout(300)
    assert opened.page.evaluate("window.acted") is None
    assert opened.page.url == path.as_uri()
    assert [url for url in opened.requests if not url.startswith("data:")] == [path.as_uri()]
    assert opened.messages == []
    assert opened.page.locator("h1").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing(reader: Any, report: Path, scheme: str, width: int) -> None:
    page = reader(report, width, color_scheme=scheme, bypass_csp=True).page
    page.locator("#open-variants").click()
    page.locator("#open-code").click()
    found = Axe().run(page, options=LEVELS)
    assert found.violations_count == 0, found.generate_report()


def test_there_is_code_in_colours_for_axe_to_look_at(reader: Any, report: Path) -> None:
    page = reader(report).page
    colors = "spans => new Set(spans.map(span => getComputedStyle(span).color)).size"
    assert page.eval_on_selector_all(".highlight span", colors) >= 5


def test_the_ranking_sorts_by_any_column(reader: Any, report: Path) -> None:
    page = reader(report).page
    ranked = _names(page)
    page.locator("#ranking th button", has_text="variant").click()
    assert _names(page) == sorted(ranked)
    assert page.locator("#ranking th[aria-sort=ascending]").inner_text().startswith("variant")
    page.locator("#ranking th button", has_text="parameters").click()
    assert _names(page) == ["simple_cnn", "gray_cnn", "ann"]  # 168 thousand, 536 thousand, 12 million
    page.locator("#ranking th button", has_text="parameters").click()
    assert _names(page) == ["ann", "gray_cnn", "simple_cnn"]
    assert page.locator("#ranking th[aria-sort]").count() == 1
    page.locator("#ranking th button", has_text="rank").first.press("Enter")
    assert _names(page) == ranked


def test_sorting_knows_units_signs_groups_and_blanks(reader: Any, report: Path) -> None:
    page = reader(report).page
    order = """values => {
        const rows = [...document.querySelectorAll('#ranking tbody tr')];
        const body = rows[0].parentNode;
        body.replaceChildren(...values.map(value => {
            const row = rows[0].cloneNode(true);
            row.cells[0].textContent = value;
            return row;
        }));
        document.querySelector('#ranking th button').click();
        return [...body.rows].map(row => row.cells[0].textContent);
    }"""
    for ascending in (
        ["450 ms", "3.5 s", "12 s", "1.5 min", "2.0 h", ""],
        ["\u22123.1 (\u22124.0 to \u22122.2)", "-1", "0.5 (-1 to +2)", "+2", "10", ""],
        ["9 %", "10.5 %", "1 234", "12 345"],
        ["ann", "cnn 2", "cnn 10", ""],
    ):
        page.reload()
        assert page.evaluate(order, sorted(ascending)) == ascending


def test_the_ranking_filters_and_says_how_many(reader: Any, report: Path) -> None:
    page = reader(report).page
    count = page.locator("#ranking-count")
    assert count.get_attribute("aria-live") == "polite"
    assert count.inner_text() == "3 of 3 shown"
    page.get_by_label("Filter the ranking").fill("CNN")
    assert set(_names(page)) == {"simple_cnn", "gray_cnn"}
    assert count.inner_text() == "2 of 3 shown"
    page.get_by_label("Filter the ranking").fill("no such variant")
    assert _names(page) == []


def test_code_is_closed_and_one_button_opens_it_all(reader: Any, report: Path) -> None:
    page = reader(report).page
    open_code = "codes => codes.filter(code => code.open).length"
    every = page.locator("details.code").count()
    assert page.eval_on_selector_all("details.code", open_code) == 0
    page.locator("#open-code").click()
    assert page.eval_on_selector_all("details.code", open_code) == every > 5
    page.locator("#open-code").click()
    assert page.eval_on_selector_all("details.code", open_code) == 0


def test_the_theme_follows_the_system_until_it_is_chosen_and_is_remembered(reader: Any, report: Path) -> None:
    page = reader(report, color_scheme="dark").page
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == "light"
    light = page.evaluate(ground)
    assert (dark, light) == ("rgb(22, 24, 28)", "rgb(255, 255, 255)")
    page.reload()
    assert page.evaluate(ground) == light
    page.locator("#theme").click()
    assert page.evaluate(ground) == dark
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") is None
    assert page.locator("#theme").inner_text() == "Theme: system"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(reader: Any, report: Path, width: int) -> None:
    page = reader(report, width).page
    page.locator("#open-variants").click()
    page.locator("#open-code").click()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.evaluate(STICKING_OUT) == []


def test_the_contents_stand_beside_the_text_or_fold_above_it(reader: Any, report: Path) -> None:
    page = reader(report).page
    page.evaluate("scrollTo(0, 3000)")
    assert page.evaluate("scrollY") > 1000
    assert page.locator("nav").bounding_box()["y"] == 0
    page.set_viewport_size({"width": 360, "height": 740})
    link = page.locator("nav a", has_text="The ranking")
    assert not link.is_visible()
    page.locator("nav summary").click()
    link.click()
    assert page.url.endswith("#compare-the-ranking")
    assert not link.is_visible()


def test_it_prints_without_tools_and_without_cut_tables(reader: Any, report: Path) -> None:
    page = reader(report, 680, color_scheme="dark").page  # the width of an A4 page between its margins
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in ("nav", ".skip", ".filter", "details.code"):
        assert not page.locator(hidden).first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 27, 27)"
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 680
    wide = "tables => tables.filter(table => table.getBoundingClientRect().right > innerWidth).length"
    assert page.eval_on_selector_all("table, img", wide) == 0


def test_without_scripts_all_can_be_read_and_no_button_stands_about(reader: Any, report: Path) -> None:
    page = reader(report, java_script_enabled=False).page
    assert page.locator("nav a", has_text="The ranking").is_visible()
    assert page.locator("#ranking tbody tr").count() == 3
    assert not page.locator("button").first.is_visible()
    assert not page.locator("#ranking-filter").is_visible()
    page.locator("details.code summary").first.click()
    assert page.locator("details.code .highlight").first.is_visible()


def test_images_get_a_frame_in_the_dark(reader: Any, report: Path) -> None:
    frame = "getComputedStyle(document.querySelector('figure img')).borderTopWidth"
    assert reader(report, color_scheme="light").page.evaluate(frame) == "0px"
    page = reader(report, color_scheme="dark").page
    assert page.evaluate(frame) != "0px"
    page.locator("#theme").click()
    assert page.evaluate(frame) == "0px"


OPEN = "chapters => chapters.filter(chapter => chapter.open).map(chapter => chapter.querySelector('h3').id)"


def test_a_chapter_is_closed_until_a_link_leads_to_it(reader: Any, report: Path) -> None:
    page = reader(report).page
    assert page.eval_on_selector_all("details.variant", OPEN) == []
    page.locator("#ranking td a", has_text="simple_cnn").click()
    page.wait_for_function("document.querySelector('#variant-simple-cnn').closest('details').open")
    assert page.eval_on_selector_all("details.variant", OPEN) == ["variant-simple-cnn"]
    page.goto("about:blank")
    page.goto(f"{report.as_uri()}#variant-ann")
    assert page.eval_on_selector_all("details.variant", OPEN) == ["variant-ann"]
    page.locator("#open-variants").click()
    assert len(page.eval_on_selector_all("details.variant", OPEN)) == 3


@pytest.mark.parametrize("scripts", [True, False])
def test_closed_chapters_are_printed(reader: Any, report: Path, scripts: bool) -> None:
    page = reader(report, java_script_enabled=scripts).page
    curves = page.locator("details.variant figure img").first
    assert not curves.is_visible()
    page.emulate_media(media="print")
    assert curves.is_visible()


def test_what_is_found_in_a_closed_chapter_opens_it(reader: Any, report: Path) -> None:
    """A text fragment is found as the browser's own search finds it."""
    page = reader(report).page
    page.goto("about:blank")
    page.goto(f"{report.as_uri()}#:~:text=model.compile(")
    page.wait_for_function("document.querySelectorAll('details.variant[open]').length > 0")
