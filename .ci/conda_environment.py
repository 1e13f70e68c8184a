"""Print environment.yml: the dependencies of pyproject.toml under their conda-forge names."""

import re
import tomllib
from pathlib import Path

RENAMED = {"torch": "pytorch"}
NOT_ON_CONDA_FORGE = {"axe-core-python", "zennit"}


def environment(project: dict) -> str:
    """The text of environment.yml for a parsed pyproject.toml."""
    project = project["project"]
    wanted = project["dependencies"] + [
        d for extra in project["optional-dependencies"].values() for d in extra
    ]
    conda, pip = [f"python{project['requires-python']}", "pip"], []
    for requirement in sorted(wanted):
        name, limits = re.fullmatch(r"([\w.-]+)(?:\[.*\])?(.*)", requirement).groups()
        if name in NOT_ON_CONDA_FORGE:
            pip.append(requirement)
        else:
            conda.append(RENAMED.get(name, name) + limits)
    lines = ["# Written by `make lock` from pyproject.toml; then `conda env create -f environment.yml`."]
    lines += ["name: " + project["name"], "channels: [conda-forge, nodefaults]", "dependencies:"]
    lines += [f'  - "{item}"' for item in conda]
    lines += ["  - pip:"] + [f'      - "{item}"' for item in pip] + ['      - "-e ."']
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    print(environment(tomllib.loads((root / "pyproject.toml").read_text())), end="")
