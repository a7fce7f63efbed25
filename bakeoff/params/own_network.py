"""Networks from outside the package: `builder: ./my_net.py:build`, or `builder: mypackage.mymodule:build`.

Their text is read once, when the parameters are checked: it is in the keys, and a copy of it is what kernels import.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bakeoff.errors import RequestError, nearest, shown
from bakeoff.plan.python_source import tokens
from bakeoff.store import digest_value

FOLDER = "own_networks"  # of a snapshot: see `bakeoff.lab.models.find_network`
_OUTSIDE = ("site-packages", "dist-packages")  # installed packages are imported as they are


@dataclass(frozen=True)
class OwnNetwork:
    """A function that builds a network, and the files that come with it."""

    name: str  # "my_net.py:build" or "mypackage.mymodule:build": what notebooks get
    path: Path  # the file that defines it
    function: ast.FunctionDef
    files: Mapping[str, bytes]  # below `FOLDER`: the file, or all Python files of its package
    installed: bool = False  # kernels import it from where it is

    def digest(self) -> str:
        """Of the tokens of its files, by which results are kept."""
        return digest_value({name: tokens(content.decode("utf-8-sig")) for name, content in self.files.items()})

    def text_digest(self) -> str:
        """Of its text, comments included, by which pages are kept."""
        return digest_value({name: content.decode("utf-8-sig") for name, content in self.files.items()})


def is_own(builder: str) -> bool:
    """Whether a builder names a file or module and a function in it."""
    return ":" in builder


def find(builder: str) -> OwnNetwork:
    """The network that `builder` names; RequestError says in a sentence why there is none."""
    place, _, function = builder.rpartition(":")
    by_file = place.endswith(".py")
    path, root = _file(place) if by_file else _module(place)
    installed = any(name in path.parts for name in _OUTSIDE)
    files = _files(path, root, installed)
    found = _function(path, files[_below(path, root)], function)
    return OwnNetwork(f"{path.name if by_file else place}:{function}", path, found, files, installed)


def _file(place: str) -> tuple[Path, Path]:
    """A file and the folder that its name is taken from."""
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise RequestError(f"builder: there is no file {path}; write its path as seen from {Path.cwd()}")
    return path, path.parent


def _module(place: str) -> tuple[Path, Path]:
    """A module's file and the folder that its package lies in, found without importing it."""
    for folder in (Path.cwd(), *map(Path, sys.path)):
        path = folder.joinpath(*place.split("."))
        for each in (path.with_suffix(".py"), path / "__init__.py"):
            if each.is_file():
                return each.resolve(), folder.resolve()
    raise RequestError(
        f"builder: there is no module {place} in {Path.cwd()} or on Python's path; write ./file.py:function, or "
        "package.module:function as seen from the folder that you are in"
    )


def _files(path: Path, root: Path, installed: bool) -> dict[str, bytes]:
    """The file itself, and of a module in a package of the user's every Python file of the package."""
    package = root / path.relative_to(root).parts[0]
    paths = sorted(package.rglob("*.py")) if package.is_dir() and not installed else [path]
    return {_below(each, root): each.read_bytes() for each in paths}


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _function(path: Path, content: bytes, name: str) -> ast.FunctionDef:
    """The function of this name at the top of a file; RequestError where it is not there or cannot be called."""
    functions = top_functions(path, content)
    if name not in functions:
        raise RequestError(f"{path}: there is no function {shown(name)}; {nearest(name, functions)}")
    function = functions[name]
    if not takes_images(function):
        raise RequestError(
            f"{path}:{function.lineno}: {name} must take input_shape and num_classes first, then its options: "
            f"def {name}(input_shape, num_classes, ...)"
        )
    return function


def top_functions(path: Path, content: bytes) -> dict[str, ast.FunctionDef]:
    """The functions at the top of a file, by name; RequestError where it is no Python."""
    try:
        tree = ast.parse(content.decode("utf-8-sig"))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise RequestError(f"{path}{line}: this is no Python ({getattr(error, 'msg', error)}); mend it") from None
    return {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}


def takes_images(function: ast.FunctionDef) -> bool:
    """Whether a function has the first two arguments of every network."""
    return [each.arg for each in function.args.args[:2]] == ["input_shape", "num_classes"]


def copies(networks: Iterable[OwnNetwork]) -> dict[str, bytes]:
    """What a snapshot holds of these networks; RequestError where two files of different content have one name."""
    found: dict[str, bytes] = {}
    for network in networks:
        for name, content in network.files.items() if not network.installed else ():
            if found.setdefault(f"{FOLDER}/{name}", content) != content:
                raise RequestError(f"builder: two variants use different files named {name}; rename one of them")
    return found
