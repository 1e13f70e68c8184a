"""What the theme does not give: where a page can be run."""

import pytest
import yaml

from report.sphinx_extension import launch_address
from study.parameters import ROOT


@pytest.mark.parametrize(
    ("repository", "branch", "address"),
    [
        ("https://github.com/me/paper", "main", "gh/me/paper/main?urlpath=lab/tree/book/a.md"),
        ("https://github.com/me/paper.git", "a/b", "gh/me/paper/a%2Fb?urlpath=lab/tree/book/a.md"),
        (
            "https://gitlab.com/group/me/paper/",
            "main",
            "gl/group%2Fme%2Fpaper/main?urlpath=lab/tree/book/a.md",
        ),
    ],
)
def test_binder_opens_the_text_notebook(repository, branch, address):
    assert launch_address(repository, branch, "book/a.md") == f"https://mybinder.org/v2/{address}"


@pytest.mark.parametrize("repository", ["", "https://example.org/me/paper", "me/paper"])
def test_no_button_for_what_binder_cannot_read(repository):
    assert launch_address(repository, "main", "book/a.md") is None


def test_no_repository_is_made_up():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert config["html_theme_options"]["repository_url"] == ""
    assert "jupytext-config set-default-viewer markdown" in (ROOT / "postBuild").read_text()
