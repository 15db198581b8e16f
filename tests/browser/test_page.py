"""The page as it is seen: drawn, silent, readable, reachable by keyboard, and alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import NO_BROWSER, chromium
from playwright.sync_api import Browser, Page, sync_playwright

from recorded import recorded
from wellfed._report.html import render_html

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 900}


class Opened:
    """A page from disk, with all that it asked for and complained of."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda one: self.requests.append(one.url))
        page.on("console", lambda one: self.complaints.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: self.complaints.append(str(one)))
        page.goto(file.as_uri())
        page.wait_for_selector(".chart .main-svg")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip(NO_BROWSER)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(recorded("uneven_batches")), encoding="utf-8")
    return path


@pytest.fixture(params=["light", "dark"])
def opened(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    page = browser.new_page(viewport=DESK, color_scheme=request.param)  # type: ignore[arg-type]
    yield Opened(page, file)
    page.close()


def test_it_asks_for_nothing_but_itself_and_does_not_complain(opened: Opened, file: Path) -> None:
    assert [one for one in opened.requests if not one.startswith(("data:", "blob:"))] == [
        file.as_uri()
    ]
    assert opened.complaints == []


def test_every_chart_is_drawn_and_not_empty(opened: Opened) -> None:
    charts = opened.page.locator(".chart")
    assert charts.count() >= 8
    for place in range(charts.count()):
        chart = charts.nth(place)
        marks = chart.locator(".main-svg :is(.trace, .bars .point, .hm, .contour) *")
        assert marks.count() > 0, chart.get_attribute("id")
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 100


def test_pointing_at_a_bar_says_what_it_is(opened: Opened) -> None:
    bar = opened.page.locator("#chart-stages .bars .point").first
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = opened.page.locator("#chart-stages .hovertext")
    label.wait_for(timeout=5000)

    assert "computing" in (label.text_content() or "")


def test_a_number_that_is_reached_by_keyboard_says_what_it_is(opened: Opened) -> None:
    number = opened.page.locator(".whole .tip").first
    number.focus()
    said = number.locator(".said")
    said.wait_for(timeout=5000)

    assert "From one batch to the next" in (said.text_content() or "")
    box = said.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= DESK["width"]


def test_a_findings_link_opens_what_the_documentation_says(opened: Opened) -> None:
    opened.page.locator("header a").click()
    shown = opened.page.locator("#WF501")
    shown.locator("h3").first.wait_for(timeout=5000)

    assert "When to ignore it" in (shown.text_content() or "")


def test_on_paper_everything_is_open_and_light(opened: Opened) -> None:
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert opened.page.locator("details:not([open])").count() == 0
    ink = opened.page.evaluate("document.getElementById('chart-stages').layout.font.color")
    assert ink == "#1c2128"


def test_contrast_names_and_structure_pass_axe(opened: Opened) -> None:
    found = Axe().run(opened.page, context={"exclude": [[".main-svg"]]})

    assert found.violations_count == 0, found.generate_report()


def test_details_open_by_keyboard(opened: Opened) -> None:
    summary = opened.page.locator("details:not([open]) summary").first
    summary.focus()
    opened.page.keyboard.press("Enter")

    assert opened.page.evaluate("document.activeElement.parentElement.open")


def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, file: Path) -> None:
    page = browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
    Opened(page, file)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.close()


def test_the_first_screen_says_what_to_do(opened: Opened) -> None:
    for text in ("One slow batch holds back others", "waiting for data", "prefetch_factor=8"):
        box = opened.page.get_by_text(text).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < DESK["height"], text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_card_of_a_notebook_is_read_on_its_paper(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    paper = (
        "background: #fff; color: #111" if scheme == "light" else "background: #111; color: #ddd"
    )
    file = tmp_path / "cell.html"
    card = recorded("uneven_batches")._repr_html_()
    file.write_text(
        f'<!doctype html><html lang="en"><title>cell</title><body style="{paper}"><main>'
        f"<h1>A notebook</h1>{card}</main>",
        encoding="utf-8",
    )
    page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
    requests: list[str] = []
    page.on("request", lambda one: requests.append(one.url))
    page.goto(file.as_uri())

    strip = page.locator(".wellfed-card .strip .waiting").bounding_box()
    page.locator(".wellfed-card summary").click()
    found = Axe().run(page)
    page.close()

    assert requests == [file.as_uri()]
    assert strip is not None
    assert strip["width"] > 10
    assert found.violations_count == 0, found.generate_report()
