"""The built smoke book in a real browser, with no network."""

import json
import re
from html.parser import HTMLParser
from importlib import resources
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from report.sections import sections, texts
from study import claims

pytestmark = [pytest.mark.book, pytest.mark.timeout(900)]
PAGES = [section.name for section in sections()] + [path.stem for path in texts()] + ["status", "search"]
AXE = (resources.files("axe_core_python") / "axe.min.js").read_text()
SHARED = "/_static/"  # what all pages have in common, loaded once


class Links(HTMLParser):
    """Addresses and anchors of one page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        elif tag in ("script", "link", "img", "iframe", "source"):
            self.loads += [attributes[name] for name in ("src", "href") if attributes.get(name)]


def open_page(browser, path, width=1280, dark=False, query=""):
    """Open a page; return when its charts are drawn and nothing moves any more."""
    for log in ("performance", "browser"):
        browser.get_log(log)  # what earlier pages left
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme, "media": ""})
    browser.get(path.as_uri() + query)
    settled = """return (!document.querySelector('.chart') || document.documentElement.dataset.charts === 'drawn')
        && document.getAnimations().every(animation => animation.playState === 'finished')"""
    WebDriverWait(browser, 120).until(lambda b: b.execute_script(settled))
    return browser


@pytest.fixture
def view(browser, smoke_book):
    """Open a page of the smoke book."""
    return lambda name, **options: open_page(browser, smoke_book / f"{name}.html", **options)


def requests_of(browser):
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith("chrome:")]  # the browser's own start page


def violations(browser):
    browser.execute_script(AXE)
    found = browser.execute_async_script("axe.run().then(arguments[0])")["violations"]
    return [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in found]


MARKS = """return Array.from(document.querySelectorAll('.chart'), chart => [chart.id,
    chart.querySelectorAll('.role-mark path, .role-mark text').length,
    getComputedStyle(chart.querySelector('.role-axis-label text, .role-legend-label text') || chart).fill])"""
WIDTHS = "return [document.documentElement.scrollWidth, window.innerWidth]"
PICTURES = """return [Array.from(document.querySelectorAll('.chart'), e => e.offsetHeight),
    Array.from(document.querySelectorAll('img.chart-static'), e => e.offsetHeight && e.naturalWidth)]"""


@pytest.fixture(scope="module", params=PAGES)
def visit(request, browser, smoke_book):
    """What a browser meets on a page in light mode, printed, in dark mode, and on a phone; opened once in each."""
    path, seen = smoke_book / f"{request.param}.html", {}
    open_page(browser, path)
    seen["requests"] = requests_of(browser)
    seen["messages"] = [
        e["message"] for e in browser.get_log("browser") if e["level"] in ("WARNING", "SEVERE")
    ]
    seen["light"] = {"charts": browser.execute_script(MARKS), "violations": violations(browser)}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    seen["print"] = browser.execute_script(PICTURES)
    open_page(browser, path, dark=True)
    seen["dark"] = {"charts": browser.execute_script(MARKS), "violations": violations(browser)}
    open_page(browser, path, width=320)
    seen["phone"] = {"widths": browser.execute_script(WIDTHS), "violations": violations(browser)}
    return seen


def test_page_asks_nobody_and_complains_of_nothing(visit):
    asked = [url for url in visit["requests"] if not url.startswith(("file:", "data:", "blob:"))]
    assert asked == []
    assert visit["messages"] == []


def test_every_chart_has_marks_in_light_and_dark(visit):
    light, dark = visit["light"]["charts"], visit["dark"]["charts"]
    assert [name for name, count, _ in light if count == 0] == []
    assert [(name, count) for name, count, _ in dark] == [(name, count) for name, count, _ in light]
    assert not {fill for *_, fill in light} & {fill for *_, fill in dark}, "text of charts follows the mode"


@pytest.mark.parametrize("mode", ["light", "dark", "phone"])
def test_page_is_accessible(visit, mode):
    assert visit[mode]["violations"] == []


def test_page_fits_a_phone(visit):
    assert visit["phone"]["widths"] == [320, 320], "a page that does not fit widens the window of a phone"


def test_print_has_pictures_in_place_of_charts(visit):
    charts, pictures = visit["print"]
    assert len(charts) == len(pictures)
    assert not any(charts)
    assert all(pictures)


def test_page_is_light(visit, smoke_book):
    loaded = {unquote(urlsplit(url).path) for url in visit["requests"] if url.startswith("file:")}
    sizes = {path: smoke_book.joinpath(path).stat().st_size for path in loaded if SHARED not in path}
    assert sum(sizes.values()) < 3_000_000, sizes


def test_what_is_picked_in_one_chart_is_picked_in_the_others(browser, project):
    """By click on a legend or on a mark; a family is picked with its pretraining, and its networks with it."""
    names = {"pretraining": ["a", "b"], "family": ["a/x", "b/x"], "model": ["a/x/0", "b/x/0"]}
    cells = ["import pandas as pd", "from report import figures"]
    body = "\n".join([*cells, f"df = pd.DataFrame({{'x': [1, 2], 'y': [1, 2]}} | {names!r})"]) + "\n```\n"
    kinds = {"by-pretraining": "pretraining", "by-family": "family", "by-model": "model"}
    for name, by in kinds.items():
        chart = "figures.curves" if by == "family" else "figures.bars"
        show = f"figures.show({chart}(df, 'x', 'y', '{by}'), '{name}', 'A chart.', 'A chart.')"
        body += "\n```{code-cell} ipython3\n" + show + "\n```\n"
    project.section("first", "# First\n\n```{code-cell} ipython3\n" + body)
    done = project.run("book", "--profile", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    open_page(browser, project.root / "_build" / "smoke" / "html" / "first.html")
    opacities = """const marks = document.querySelectorAll(
            `#chart-${arguments[0]} :is(.mark-symbol, .mark-rect).role-mark path`);
        return Array.from(marks, e => Number(e.getAttribute('opacity')) < 0.5)"""
    faded = lambda: [browser.execute_script(opacities, name) for name in kinds]  # noqa: E731
    assert faded() == [[False, False]] * 3
    click = """document.querySelectorAll(arguments[0])[arguments[1]].dispatchEvent(
        new MouseEvent('click', {bubbles: true}))"""
    browser.execute_script(click, "#chart-by-pretraining .role-legend-label text", 0)
    WebDriverWait(browser, 20).until(lambda b: faded() == [[False, True]] * 3)
    browser.execute_script(click, "#chart-by-model .mark-rect.role-mark path", 1)
    WebDriverWait(browser, 20).until(lambda b: faded() == [[True, False]] * 3)


EXPLORED = """const box = document.querySelector('.explorer'), ink = (letter, name) =>
    box.querySelector(`[data-view=${letter}] canvas[data-picture=${name}]`).toDataURL();
return {status: box.querySelector('[role=status]').textContent, hash: location.hash,
    pictures: [ink('a', 'map'), ink('a', 'masked'), ink('b', 'map'), ink('b', 'masked')],
    rows: Array.from(box.querySelectorAll('tbody tr'), row => row.textContent)}"""


def explored(browser, unlike=None):
    """What the explorer shows, once it shows something else than `unlike`."""
    changed = lambda b: b.execute_script(EXPLORED)["status"] not in ("", (unlike or {}).get("status"))  # noqa: E731
    WebDriverWait(browser, 20).until(changed)
    return browser.execute_script(EXPLORED)


def test_the_explorer_answers_the_keyboard_and_keeps_its_state_in_the_address(view):
    browser = view("explorer")
    before = explored(browser)
    assert before["hash"] == ""
    assert len(before["rows"]) == 8 and all("0." in row or "1." in row for row in before["rows"])
    field = lambda name: browser.find_element("css selector", f".explorer [name={name}]:checked")  # noqa: E731
    field("face").send_keys(Keys.ARROW_RIGHT)
    other_face = explored(browser, before)
    assert all(a != b for a, b in zip(before["pictures"], other_face["pictures"], strict=True))
    field("mode").send_keys(Keys.ARROW_RIGHT)
    removed = explored(browser, other_face)
    assert removed["pictures"][::2] == other_face["pictures"][::2], "the map does not depend on the mask"
    assert removed["pictures"][1] != other_face["pictures"][1]
    browser.find_element("css selector", ".explorer [name=b]").send_keys(Keys.ARROW_DOWN)
    after = explored(browser, removed)
    assert after["pictures"][:2] == removed["pictures"][:2] and after["pictures"][2] != removed["pictures"][2]
    assert "removed" in after["status"] and "mode=remove" in after["hash"]
    focused = browser.execute_script("return document.activeElement.name")
    assert focused == "b", "the focus stays where the reader works"
    browser.get("about:blank")
    restored = explored(view("explorer", query=after["hash"]))
    assert restored == after
    assert [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_the_explorer_ignores_an_address_that_makes_no_sense(view):
    usual = explored(view("explorer"))
    odd = explored(view("explorer", query="#face=nobody&a=%22%5D&p=1e9&mode=keep"))
    assert (odd["status"], odd["pictures"]) == (usual["status"], usual["pictures"])


def test_search_finds_a_term(view):
    browser = view("search", query="?q=relevance")
    results = "return Array.from(document.querySelectorAll('#search-results li a'), a => a.textContent)"
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(results))
    assert [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(smoke_book):
    pages = {path.resolve(): Links(path.read_text()) for path in smoke_book.glob("*.html")}
    broken, foreign = [], []
    for path, page in pages.items():
        foreign += [(path.name, url) for url in page.loads if urlsplit(url).netloc]
        for url in page.links + page.loads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target in pages and unquote(parts.fragment) not in pages[target].anchors | {""}
            if not target.exists() or known:
                broken.append((path.name, url))
    assert (broken, foreign) == ([], [])


def test_downloads_hold_the_data(smoke_book):
    tables = list(smoke_book.glob("_downloads/*/*.csv"))
    specs = list(smoke_book.glob("_downloads/*/*.vl.json"))
    assert tables and specs
    for path in tables:
        assert len(pd.read_csv(path)) > 0
    for path in specs:
        assert json.loads(path.read_text())["description"]


def test_images_are_described(smoke_book):
    for path in smoke_book.glob("*.html"):
        for image in re.findall(r"<img [^>]*>", path.read_text()):
            # an empty text says that the image repeats the label it stands in
            assert re.search(r'alt="([^"]{3,})?"', image), (path.name, image[:200])


def test_the_whole_paper_is_there_as_a_pdf(smoke_book, chromium):
    assert (smoke_book / "paper.pdf").read_bytes().startswith(b"%PDF")
    for page in PAGES:
        assert 'href="paper.pdf"' in (smoke_book / f"{page}.html").read_text()


def test_every_section_can_be_downloaded_as_an_executed_notebook(smoke_book):
    for section in sections():
        page = (smoke_book / f"{section.name}.html").read_text()
        assert f'href="_sources/{section.name}.ipynb"' in page
        cells = json.loads((smoke_book / "_sources" / f"{section.name}.ipynb").read_text())["cells"]
        assert any(cell.get("outputs") for cell in cells)


def test_figures_say_that_their_faces_are_synthetic(smoke_book):
    captions = [
        caption.text
        for path in smoke_book.glob("*.html")
        for caption in BeautifulSoup(path.read_text(), "html.parser").select("figcaption .caption-text")
    ]
    assert captions
    assert [caption for caption in captions if "Synthetic faces" not in caption] == []


def test_the_original_stands_beside_this_run(smoke_book):
    page = BeautifulSoup((smoke_book / "index.html").read_text(), "html.parser")
    rows = page.select("[aria-label='The original and this run'] tbody tr")
    assert [row.th.text for row in rows] == list(claims.STEPS)
