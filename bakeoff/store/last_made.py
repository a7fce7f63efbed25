"""Which step each variant made last, a small file a variant: what --explain compares with, what durations come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bakeoff.store import write_atomically

_OLD = "latest.json"  # one file for all variants, as earlier stores have it
_MANY_LINES = 200  # from here on a file is written anew without the lines that later ones replace


@dataclass
class LastMade:
    """The result key that each variant last made each of its steps with, by the step's label.

    A file has a line a step that was made; a later line replaces an earlier one, so that runs which share a store
    only ever add to it. Losing a line costs an explanation, never a result.
    """

    root: Path
    _known: dict[str, dict[str, str]] = field(default_factory=dict)  # variant -> label -> result key
    _old: dict[str, dict[str, str]] | None = None
    _writer: ThreadPoolExecutor | None = None

    def key(self, variant: str, label: str) -> str | None:
        """The result key, or None where the variant never made such a step."""
        if variant not in self._known:
            self._known[variant] = self._before().get(variant, {}) | _read(self._path(variant))
        return self._known[variant].get(label)

    def items(self) -> Iterator[tuple[str, str, str]]:
        """(variant, label, result key) of everything that was made."""
        variants = {path.stem for path in self._folder.glob("*.jsonl")} | set(self._before())
        for variant in sorted(variants):
            self.key(variant, "")
            yield from ((variant, label, key) for label, key in self._known[variant].items())

    def add(self, variants: Iterable[str], label: str, key: str) -> None:
        """Record a step; written in a thread of its own, since thousands of variants may share one."""
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1)
            self._writer.submit(self._take_over)
        names = list(variants)
        for variant in names:
            if variant in self._known:
                self._known[variant][label] = key
        self._writer.submit(self._append, names, json.dumps({label: key}))

    def close(self) -> None:
        """Wait until everything is written."""
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None

    @property
    def _folder(self) -> Path:
        return self.root / "latest"

    def _path(self, variant: str) -> Path:
        return self._folder / f"{variant}.jsonl"

    def _append(self, variants: Iterable[str], line: str) -> None:
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for variant in variants:
                path = self._path(variant)
                with path.open("a", encoding="utf-8") as stream:
                    stream.write(f"{line}\n")
                    long = stream.tell() > _MANY_LINES * (len(line) + 1)
                if long:
                    write_atomically(path, json.dumps(_read(path)) + "\n")

    def _before(self) -> dict[str, dict[str, str]]:
        """What an earlier Bakeoff wrote for all variants in one file."""
        if self._old is None:
            self._old = {}
            with suppress(OSError, ValueError, AttributeError):
                for name, key in json.loads((self.root / _OLD).read_text(encoding="utf-8")).items():
                    variant, _, label = name.rpartition("/")
                    self._old.setdefault(variant, {})[label] = key
        return self._old

    def _take_over(self) -> None:
        """Write what the one file held into the variants' own files, and remove it."""
        with suppress(OSError):
            for variant, made in self._before().items():
                write_atomically(self._path(variant), json.dumps(made | _read(self._path(variant))) + "\n")
            (self.root / _OLD).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, str]:
    made: dict[str, str] = {}
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError):  # a line that was cut short
                made |= json.loads(line)
    return made
