"""requirements.py PYPROJECT: what the package, its build and its tests take, one requirement a line."""

import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    pyproject = tomllib.load(file)
project = pyproject["project"]
for requirement in sorted(
    {
        *pyproject["build-system"]["requires"],
        *project["dependencies"],
        *project["optional-dependencies"]["test"],
    }
):
    print(requirement)
