"""The explorer's part of a page: its controls and views, which `book/_static/explorer.js` brings to life."""

from __future__ import annotations

import hashlib
import html
import json
from pathlib import Path
from typing import Any

FOLDER = "explorer"  # under _static


def markup(figure: dict[str, Any], static: Path) -> str:
    """The HTML of an explorer. What belongs to one face becomes a script of its own, read when it is first shown.

    Args:
        figure: the payload of `report.figures.explorer`.
        static: the folder of the book's static files, which gets the scripts.
    """
    name = figure["name"]
    shared = {
        key: figure[key] for key in ("faces", "models", "tasks", "classes", "modes", "percents", "size")
    }
    shared["rules"] = figure["rules"]
    shared["scripts"] = [_script(index, face, static) for index, face in enumerate(figure["data"])]
    about = html.escape(json.dumps(shared, separators=(",", ":")), quote=True)
    faces = [
        (f'<img alt="" src="data:image/png;base64,{picture}">{html.escape(label)}', label)
        for label, picture in zip(figure["faces"], (face["pixels"] for face in figure["data"]), strict=True)
    ]
    models = [(m, m) for m in figure["models"]]
    rules = [(rule.replace("_", " "), rule) for rule in figure["rules"]]
    modes = [({"keep": "kept", "remove": "removed"}[mode], mode) for mode in figure["modes"]]
    percents = [(f"{percent:g} %", f"{percent:g}") for percent in figure["percents"]]
    controls = (
        _radios("face", "Face", faces)
        + _select("a", "Network A", models)
        + _select("b", "Network B", models)
        + _select("rule", "Rule", rules)
        + _radios("mode", "The most relevant pixels are", modes)
        + _radios("p", "Share of the pixels", percents)
    )
    views = "".join(_view(letter) for letter in "ab")
    return (
        f'<div class="explorer" id="explorer-{name}" data-explorer="{about}">'
        f'<form class="explorer-controls" aria-label="What to show">{controls}</form>'
        f'<div class="explorer-views">{views}</div>'
        '<p class="explorer-status" role="status"></p>'
        '<div class="table-scroll explorer-decisions" tabindex="0" role="region" aria-label="Decisions of networks">'
        '<table class="table"><thead><tr><th scope="col">Network</th><th scope="col">whole face</th>'
        '<th scope="col" data-head="a">mask of A</th><th scope="col" data-head="b">mask of B</th></tr></thead>'
        "<tbody></tbody></table></div>"
        "<noscript><p>The explorer needs scripts, which are switched off.</p></noscript></div>"
    )


def _script(index: int, face: dict[str, Any], static: Path) -> str:
    text = f"explorerFace({index}, {json.dumps(face, separators=(',', ':'))});\n"
    file = f"face-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}.js"
    (static / FOLDER).mkdir(parents=True, exist_ok=True)
    (static / FOLDER / file).write_text(text)
    return f"_static/{FOLDER}/{file}"


def _radios(name: str, legend: str, options: list[tuple[str, str]]) -> str:
    items = "".join(
        f'<label><input type="radio" name="{name}" value="{html.escape(value, quote=True)}">{label}</label>'
        for label, value in options
    )
    return f'<fieldset class="explorer-{name}"><legend>{legend}</legend>{items}</fieldset>'


def _select(name: str, label: str, options: list[tuple[str, str]]) -> str:
    items = "".join(
        f'<option value="{html.escape(value, quote=True)}">{html.escape(text)}</option>'
        for text, value in options
    )
    return f'<label class="explorer-{name}">{label} <select name="{name}">{items}</select></label>'


def _view(letter: str) -> str:
    pictures = "".join(
        f'<div><canvas data-picture="{name}" role="img" aria-label="{text}"></canvas><span>{text}</span></div>'
        for name, text in (("map", "relevance map"), ("masked", "masked face"))
    )
    return (
        f'<div class="explorer-view" data-view="{letter}"><p class="explorer-title"></p>'
        f'<div class="explorer-pictures">{pictures}</div><p class="explorer-answer"></p></div>'
    )
