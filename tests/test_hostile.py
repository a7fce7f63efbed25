"""One report of nothing but attacks, opened in Chromium with and without its policy: none of them acts."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import Browser, Page, Route

from bakeoff.params import Parameters
from bakeoff.plan.resolve import Source
from bakeoff.plan.steps import Row
from bakeoff.report import variant
from bakeoff.report.clean import inert, terminal
from bakeoff.report.html import to_html
from bakeoff.report.images import EmbeddedImages
from bakeoff.report.merge import TAKEN, Merger
from bakeoff.store import Store
from tests.browser import chromium
from tests.hostile import ATTACKS, TRAP

TITLE = "A report of attacks"
# What may stand in the part of the page that outputs fill.
TAGS = {
    *("a", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "figcaption", "figure"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "input", "label", "li", "ol", "output", "p", "pre", "s"),
    *("span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"),
}
ATTRIBUTES = {
    *("href", "title", "colspan", "rowspan", "scope", "class", "tabindex", "src", "width", "height", "alt", "decoding"),
    *("id", "hidden", "role", "for", "type", "autocomplete", "aria-live", "open"),
}
OURS = {
    "variant",
    "text",
    "text computed",
    "output",
    "table",
    "scroll",
    "code",
    "filter",
    "highlight",
    "highlight hl-ipython3",
}


def _png(text: str) -> str:
    """An image whose metadata hold the text."""
    about = PngImagePlugin.PngInfo()
    about.add_itxt("Title", text)
    about.add_text("Comment", text.encode("latin-1", "replace").replace(b"\0", b""))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG", pnginfo=about, exif=b"Exif\0\0" + text.encode())
    return base64.b64encode(buffer.getvalue()).decode()


def _outputs(place: str, text: str) -> list[dict[str, Any]]:
    """The outputs of a code cell that put the text in a place."""

    def shown(data: dict[str, Any], **metadata: Any) -> list[dict[str, Any]]:
        return [{"output_type": "display_data", "data": data, "metadata": metadata}]

    drawing = f'<svg width="9" height="9" xmlns="http://www.w3.org/2000/svg">{text}</svg>'
    about = {"bakeoff": {"caption": text, "kind": text}}
    plain = {"text/plain": text}
    widget = {"model_id": text, "version_major": 2}
    found = {
        "stdout": [{"output_type": "stream", "name": "stdout", "text": text}],
        "stderr": [{"output_type": "stream", "name": "stderr", "text": text}],
        "plain": shown({"text/plain": text}),
        "html": shown({"text/html": text}),
        "table": shown({"text/html": f"<table><tr><td>{text}</td></tr></table>"}),
        "markdown": shown({"text/markdown": text}),
        "svg": shown({"image/svg+xml": drawing, "text/plain": text}),
        "png": shown({"image/png": _png(text), "text/plain": text}),
        "latex": shown({"text/latex": text}),
        "traceback": [{"output_type": "error", "ename": "E", "evalue": "e", "traceback": [text, "\n", text]}],
        "error": [{"output_type": "error", "ename": text, "evalue": text, "traceback": [f"{text}: {text}"]}],
        "caption": shown({"image/png": _png("x")}, **about) + shown({"text/html": "<p>x</p>"}, **about),
        "alternative": shown({"image/png": _png("x")}, **{"image/png": {"alt": text}, text: {"alt": text}}),
        "mime": shown({"application/javascript": text, "text/vnd.mermaid": text, text: text, "text/plain": text})
        + shown({"application/vnd.jupyter.widget-view+json": widget, "text/html": {"a": text}, "image/png": 5, **plain})
        + shown({"text/html": "<p>x</p>", "text/latex": None}, bakeoff=text),
    }
    return found.get(place, [])


def _notebook(folder: Path) -> Path:
    """An executed notebook with each attack that a notebook can hold."""
    cells: list[dict[str, Any]] = []
    for number, (_, place, text) in enumerate(ATTACKS):
        metadata = {"tags": ["report"], "bakeoff": {"links": True, "name": "ranking", "ids": ["main"]}}
        common = {"id": f"c{number}", "metadata": metadata}
        if place == "cell":
            cells.append({**common, "cell_type": "markdown", "source": text})
        elif place == "code" or _outputs(place, text):
            code = {"cell_type": "code", "execution_count": 1, "source": text if place == "code" else "1"}
            cells.append({**common, **code, "outputs": _outputs(place, text)})
    path = folder / "hostile.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def _merged(folder: Path) -> Merger:
    """The notebook, and a chapter for each attack that parameters and messages can hold."""
    merger = Merger()
    for number, (_, place, text) in enumerate(ATTACKS):
        if place in ("title", "notes", "message"):
            run = {"title": "x", "source": "", "assumed": [], "notes": ""}
            run |= {"title": text} if place == "title" else {}
            run |= {"source": text, "assumed": [text], "notes": text} if place == "notes" else {}
            result = {"limited": text, "status": text, "message": text} if place == "message" else {}
            name = text if place == "title" else f"variant{number}"
            row = Row(Parameters(name, {}, run, ()), 0, 0, Source(text, text), "none", {})
            results = variant.Results({row.folder_name: {"limited": "", "status": "ok", **result}})
            variant.chapter(merger, [row], results, Store(folder / "runs"))
    merger.heading(3, "ann", "variant-ann")
    merger.notebook(_notebook(folder), "x", 3)
    return merger


def _facts() -> dict[str, Any]:
    texts = [text for _, place, text in ATTACKS if place == "fact"]
    machine = {"device": " ".join(texts), "cores": 2, "backend": " ".join(texts)}
    datasets = [(text, text) for text in texts]
    packages = {text: text for text in texts}
    return {
        "profile": " ".join(texts),
        "datasets": datasets,
        "machine": machine,
        "revision": texts[0],
        "packages": packages,
    }


@dataclass
class Opened:
    """The page, what it asked for, and what it said."""

    page: Page
    ids: set[str]
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def asked(self) -> list[str]:
        """What was asked for beside the page and its own data."""
        return [url for url in self.requests if not url.startswith(("data:", "blob:")) and url != self.page.url]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """The page's file, and the ids that it may have."""
    folder = tmp_path_factory.mktemp("hostile")
    merger = _merged(folder)
    (folder / "report.html").write_text(to_html(merger, TITLE, ["x"], _facts()), encoding="utf-8")
    return folder / "report.html", merger.ids | set(TAKEN)


def _open(browser: Browser, path: Path, ids: set[str], bypass: bool) -> Opened:
    context = browser.new_context(bypass_csp=bypass, viewport={"width": 1280, "height": 900})
    opened = Opened(context.new_page(), ids)

    def answer(route: Route) -> None:
        """No request leaves; 204 makes a browser stay where it is."""
        if route.request.url == path.as_uri():
            route.continue_()
        else:
            route.fulfill(status=204)

    context.route("**/*", answer)
    page = opened.page
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("console", lambda message: opened.messages.append(message.text))
    page.on("pageerror", lambda error: opened.messages.append(str(error)))
    page.on("dialog", lambda dialog: (opened.messages.append(dialog.message), dialog.dismiss()))
    context.on("page", lambda another: opened.messages.append(f"opened {another.url}"))
    page.goto(path.as_uri())
    page.wait_for_timeout(300)
    opened.messages = [
        text for text in opened.messages if text != f"opened {page.url}" and text != "opened about:blank"
    ]
    return opened


@pytest.fixture(scope="module", params=[False, True], ids=["with the policy", "by the cleaning alone"])
def opened(browser: Browser, made: tuple[Path, set[str]], request: pytest.FixtureRequest) -> Iterator[Opened]:
    found = _open(browser, *made, bypass=request.param)
    yield found
    found.page.context.close()


def test_there_are_enough_attacks() -> None:
    assert len({name for name, _, _ in ATTACKS}) >= 60
    assert len({place for _, place, _ in ATTACKS}) >= 18


def test_no_script_runs_and_no_request_leaves(opened: Opened) -> None:
    page = opened.page
    for button in page.locator("nav button").all():
        button.click()
    page.mouse.move(600, 400)
    page.mouse.wheel(0, 1_000_000)
    page.wait_for_timeout(500)
    assert page.evaluate("window.acted") is None
    assert page.title() == TITLE
    assert opened.messages == []
    assert opened.asked() == []


def test_every_element_is_one_that_may_stand_there(opened: Opened) -> None:
    elements = opened.page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e => !e.closest('math'))
        .map(e => [e.localName, e.namespaceURI, ...e.attributes].map(x => x.name ? [x.name, x.value] : x))"""
    )
    assert len(elements) > 5000
    assert {name for name, *_ in elements} <= TAGS
    assert {space for _, space, *_ in elements} == {"http://www.w3.org/1999/xhtml"}
    given = [(name, *pair) for name, _, *pairs in elements for pair in pairs]
    assert {key for _, key, _ in given} <= ATTRIBUTES
    classes = {value for name, key, value in given if key == "class" and name not in ("span", "div")}
    assert classes <= OURS
    shown = "() => [...document.querySelectorAll('.text [class], .scroll [class]')].map(e => e.className)"
    assert all(re.fullmatch("highlight|[a-z]{1,2}[a-z0-9]?", name) for name in opened.page.evaluate(shown))
    math = "() => [...document.querySelectorAll('math *')].flatMap(e => [e.localName, ...e.getAttributeNames()])"
    assert not {"script", "style", "href", "id", "class", "annotation-xml", "maction"} & set(opened.page.evaluate(math))
    once = "() => ['html', 'head', 'body', 'title', 'style', 'script', 'main', 'nav', 'h1', 'base', 'link', 'form']"
    counts = opened.page.evaluate(f"{once}.map(name => document.getElementsByTagName(name).length)")
    assert counts == [1] * 9 + [0] * 3


def test_no_name_or_id_of_theirs_shadows_another(opened: Opened) -> None:
    ids = opened.page.evaluate("() => [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert set(ids) <= opened.ids
    assert opened.page.locator("main [name]").count() == 0
    kinds = "() => [document.getElementById, document.cookie, document.body.localName].map(x => typeof x)"
    assert opened.page.evaluate(kinds) == ["function", "string", "string"]
    assert opened.page.evaluate("document.getElementById('theme').localName") == "button"
    assert opened.page.evaluate("document.getElementById('main').localName") == "main"
    assert opened.page.locator("#variant-ann").inner_text().endswith("ann")


def test_the_page_looks_as_it_does_without_them(opened: Opened, browser: Browser, tmp_path: Path) -> None:
    looks = """() => ['html', 'body', 'h1', 'nav', 'nav a', 'main', 'main h2', 'main td', 'main pre'].map(name => {
        const style = getComputedStyle(document.querySelector(name));
        return ['display', 'position', 'color', 'backgroundColor', 'backgroundImage', 'fontSize', 'fontFamily',
                'opacity', 'visibility', 'zIndex', 'transform', 'cursor'].map(key => key + ' ' + style[key]);
    })"""
    plain = tmp_path / "plain.html"
    merger = Merger()
    merger.markdown("    code")
    facts = _facts() | {"datasets": [("x", "x")], "packages": {}}
    plain.write_text(to_html(merger, TITLE, ["x"], facts), encoding="utf-8")
    other = _open(browser, plain, set(), False)
    assert opened.page.evaluate(looks) == other.page.evaluate(looks)
    other.page.context.close()
    moved = """() => [...document.querySelectorAll('main, main *')].filter(e => {
        const style = getComputedStyle(e);
        return style.position !== 'static' || style.backgroundImage !== 'none' || style.opacity !== '1';
    }).map(e => e.outerHTML.slice(0, 100))"""
    assert opened.page.evaluate(moved) == []
    assert opened.page.evaluate("document.scrollingElement.scrollWidth") <= 1280


def test_no_link_of_theirs_is_active(opened: Opened) -> None:
    page = opened.page
    address = page.url.split("#")[0]
    links = page.evaluate("() => [...document.querySelectorAll('main a')].map(a => a.getAttribute('href') || '')")
    distinct = {href: number for number, href in enumerate(links)}
    assert len(distinct) > 5
    for href, number in distinct.items():
        kind = urlsplit(href)
        assert kind.scheme in ("", "http", "https", "mailto"), href
        assert kind.scheme or not kind.netloc, href
        page.evaluate("number => document.querySelectorAll('main a')[number].click()", number)
        page.wait_for_timeout(15)
        assert page.url.split("#")[0] == address, href
        assert page.evaluate("window.acted") is None, href
    assert page.title() == TITLE
    assert opened.messages == []
    inside = {href[1:] for href in distinct if href.startswith("#")}
    assert "ranking" not in inside
    assert all(urlsplit(url).scheme in ("http", "https", "file") for url in opened.asked())


def test_the_canaries_sing_where_nothing_is_cleaned(browser: Browser, tmp_path: Path) -> None:
    """Payloads on pages of their own act: what the tests above look for can be seen."""
    acting = {"script", "image that fails", "svg that loads", "frame", "comment", "ends of everything", "template"}
    asking = {"script of a host", "image of a host", "style from a host", "style with an address", "frame", "preload"}
    payloads = {name: text for name, place, text in ATTACKS if place == "html" and name in acting | asking}
    acted, asked = set(), set()
    context = browser.new_context()
    context.route("**/*", lambda route: route.continue_() if route.request.url[:5] == "file:" else route.abort())
    page, opened = context.new_page(), [""]
    page.on("request", lambda request: asked.add(opened[-1]) if TRAP in request.url else None)
    for number, (name, text) in enumerate(payloads.items()):
        path = tmp_path / f"{number}.html"
        path.write_text(f"<!DOCTYPE html><title>x</title><body>{text}", encoding="utf-8")
        opened.append(name)
        page.goto(path.as_uri())
        page.wait_for_timeout(100)
        if page.evaluate("window.acted") is not None:
            acted.add(name)
    context.close()
    assert acting <= acted
    assert asking <= asked


def test_an_image_s_words_are_left_behind() -> None:
    for text in {text for _, place, text in ATTACKS if place == "png"}:
        data = {"image/png": _png(text)}
        image = EmbeddedImages([data])(data)
        assert image is not None and image.source.startswith("data:image/webp;base64,")
        assert b"acted" not in base64.b64decode(image.source.split(",")[1])


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TIFF", "GIF", "ICO", "PDF"])
def test_only_images_of_three_kinds_are_opened(kind: str) -> None:
    """Pillow would start Ghostscript for PostScript that calls itself a PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind)
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    assert EmbeddedImages([data])(data) is None


@pytest.mark.parametrize(
    "root",
    [
        f'width="{"9" * 400}" height="9"',
        'viewBox="0 0 1e999 1"',
        'viewBox="0 0 nan 1"',
        'viewBox="0 0 1 -5"',
        'width="1.2.3" height="1"',
        'width="0" height="0"',
        'viewBox="1"',
    ],
)
def test_a_drawing_without_a_size_is_none(root: str) -> None:
    data = {"image/svg+xml": f"<svg {root}></svg>"}
    assert EmbeddedImages([data])(data) is None


@pytest.mark.parametrize(
    ("clean", "text"), [(inert, "<script "), (inert, "<svg"), (terminal, "\x1b]"), (terminal, "\b\r")]
)
def test_nothing_takes_long(clean: Callable[[str], str], text: str) -> None:
    """Beginnings without an end: time grows with their number, not with its square (half a minute and more)."""
    started = time.perf_counter()
    clean(text * (200_000 // len(text)))
    assert time.perf_counter() - started < 15
