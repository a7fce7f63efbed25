"""Reproducible model bake-offs: parameterised notebooks in, one comparison report out."""

import sys


def fast_imports() -> None:
    """Have nbformat imported in this process without the grammar of IRIs that jsonschema would build: 1.3 s.

    It checks a format that no notebook's schema has; jsonschema does without where the package is not installed. So
    does papermill without pyarrow, with which it would read notebooks from Hadoop: 0.1 s.
    """
    for name in ("rfc3987_syntax", "pyarrow.fs"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
