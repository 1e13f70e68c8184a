"""The buttons above a page: its executed notebook to download, and where to run it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from docutils import nodes
from pydata_sphinx_theme.utils import get_theme_options_dict
from sphinx.application import Sphinx

from report.sections import sections

_HOSTS = {"github.com": "gh", "gitlab.com": "gl"}


def launch_address(repository: str, branch: str, path: str) -> str | None:
    """Binder's address that opens a text notebook of a public repository in JupyterLab.

    `postBuild` makes Jupytext the viewer of Markdown there. None if Binder cannot read the repository.

    Args:
        repository: its address. branch: of it. path: the notebook, from the top of the repository.
    """
    found = re.fullmatch(r"https://([\w.]+)/(.+?)(?:\.git)?/?", repository)
    if not found or found[1] not in _HOSTS:
        return None
    host, name = _HOSTS[found[1]], found[2] if found[1] == "github.com" else quote(found[2], safe="")
    return f"https://mybinder.org/v2/{host}/{name}/{quote(branch, safe='')}?urlpath=lab/tree/{quote(path)}"


def improve(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Say what the theme's download button gives, and add a launch button where `_config.yml` names a repository."""
    groups = context.get("header_buttons", [])
    for button in (button for group in groups for button in group.get("buttons", [])):
        if button.get("text") == ".ipynb":
            button["tooltip"] = "Download this page as an executed notebook"
    options = get_theme_options_dict(app)
    files = {section.name: f"book/{section.source.name}" for section in sections()}
    name = page.rsplit("/")[-1]
    address = launch_address(
        options.get("repository_url") or "", options.get("repository_branch") or "main", files.get(name, "")
    )
    if address and name in files:
        groups.append(
            {
                "type": "link",
                "url": address,
                "tooltip": "Run this page on Binder",
                "icon": "fas fa-rocket",
                "label": "launch-binder-button",
            }
        )
