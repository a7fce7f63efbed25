"""Reproducible model bake-offs: parameterised notebooks in, one comparison report out."""

import sys


def fast_imports() -> None:
    """Have nbformat imported in this process without the grammar of IRIs that jsonschema would build: 1.3 s.

    It checks a format that no notebook's schema has; jsonschema does without where the package is not installed.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
