"""The paper as one PDF: what is printed, and what happens where it cannot be."""

import re

import pytest
from bs4 import BeautifulSoup

from report import pdf

PAGE = """<!DOCTYPE html><html><head><title>Paper</title><link rel="stylesheet" href="_static/paper.css"></head><body>
<nav>not printed</nav><article class="bd-article"><h1 id="top">{title}</h1>
<p><a href="second.html#claim">there</a> <a href="#top">here</a> <a href="second.html">all</a>
<a href="https://example.org/x.html">out</a></p><p id="claim">{text}</p>
<details><summary>Data</summary>not printed</details></article><footer>{footer}</footer></body></html>"""


@pytest.fixture
def html(tmp_path):
    for page in ("first", "second"):
        text = PAGE.format(title=page.title(), text=f"text of {page}", footer=pdf.PLACEHOLDER)
        (tmp_path / f"{page}.html").write_text(text)
    return tmp_path


def test_all_articles_become_one_document_whose_links_stay_inside(html):
    document = BeautifulSoup(pdf._joined(html, ["first", "second"]), "html.parser")
    articles = document.find_all("article")
    assert [article.h1.text for article in articles] == ["First", "Second"]
    assert "not printed" not in document.text
    names = [tag["id"] for tag in document.find_all(id=True)]
    assert len(names) == len(set(names))
    inside = [a["href"] for a in articles[0].find_all("a")]
    assert inside == ["#second.claim", "#first.top", "#second", "https://example.org/x.html"]
    assert all(link[1:] in names for link in inside[:3])


@pytest.mark.book
def test_the_pdf_holds_every_page_and_is_linked_from_each(html, chromium):
    made = pdf.write(html, ["first", "second"], chromium)
    content = made.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", content)) >= 1
    for page in ("first", "second"):
        assert pdf.LINK in (html / f"{page}.html").read_text()
    assert not list(html.glob(".*.html")), "what was printed from is gone"


def test_without_a_pdf_no_page_links_to_one(html, tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(pdf.PrintFailed, match="no display"):
        pdf.write(html, ["first", "second"], str(broken))
    assert pdf.NAME not in (html / "first.html").read_text()
    assert not (html / pdf.NAME).exists()
