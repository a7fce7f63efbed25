"""Reproducible model bake-offs: parameterised notebooks in, one comparison report out."""
