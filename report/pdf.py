"""The whole paper as one PDF, printed by a headless Chromium from the pages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bs4 import BeautifulSoup

NAME = "paper.pdf"
PLACEHOLDER = "<!-- link to the PDF -->"  # in the footer of every page
LINK = f'<a href="{NAME}">The whole paper as PDF</a>'
MISSING = "no Chromium on this machine (Debian, Ubuntu: apt-get install chromium); the PDF needs one"
SECONDS = 240


class PrintFailed(RuntimeError):
    """Chromium could not print the paper; the message says why."""


def chromium() -> str | None:
    """Path of a Chromium or Chrome; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def write(html: Path, pages: Sequence[str], browser: str) -> Path:
    """Print `pages` (names, in order) of the folder `html` into `paper.pdf` there, and link it from every page.

    Raises:
        PrintFailed: Chromium failed or took too long; no page is linked to a PDF then.
    """
    whole, target = html / ".paper.html", html / NAME
    whole.write_text(_joined(html, pages))
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=10000", "--no-pdf-header-footer", f"--user-data-dir={profile}",
            f"--print-to-pdf={target}", whole.resolve().as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium has no sandbox for root
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise PrintFailed(f"{browser} took more than {SECONDS} s") from None
        finally:
            whole.unlink()
    if done.returncode != 0 or not target.is_file():
        target.unlink(missing_ok=True)
        raise PrintFailed(f"{browser} failed: {done.stderr.strip()[-500:] or done.returncode}")
    for path in html.glob("*.html"):
        path.write_text(path.read_text().replace(PLACEHOLDER, LINK))
    return target


def _joined(html: Path, pages: Sequence[str]) -> str:
    """One document of all articles; what names an anchor of a page names it in the document."""
    articles = [_article((html / f"{page}.html").read_text(), page, pages) for page in pages]
    first = BeautifulSoup((html / f"{pages[0]}.html").read_text(), "html.parser")
    styles = "".join(str(link) for link in first.head.find_all("link", rel="stylesheet"))
    script = (
        '<script src="_static/explorer.js"></script>'  # draws what the reader of the page would pick first
    )
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
        f"{first.title}{styles}</head><body class='whole-paper'>{''.join(articles)}{script}</body></html>"
    )


def _article(text: str, page: str, pages: Sequence[str]) -> str:
    article = BeautifulSoup(text, "html.parser").find("article", class_="bd-article")
    for tag in article.find_all(id=True):
        tag["id"] = f"{page}.{tag['id']}"
    for link in article.find_all("a", href=True):
        link["href"] = _target(link["href"], page, pages)
    for tag in article.find_all(["script", "details"]):
        tag.decompose()
    article["id"] = page
    return str(article)


def _target(address: str, page: str, pages: Sequence[str]) -> str:
    found = re.fullmatch(r"(?:([\w-]+)\.html)?(?:#(.*))?", address)
    other = found and (found[1] or page)
    if not found or other not in pages:
        return address
    return f"#{other}.{found[2]}" if found[2] else f"#{other}"
