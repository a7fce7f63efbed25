"""Figures, tables and sentences of the notebooks. Nothing here decides a number, so nothing here causes a training."""
