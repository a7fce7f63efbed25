"""params/schema.json and docs/parameters.md: they say what the parameters' own checks say, of every parameter."""

from __future__ import annotations

import re

import jsonschema
import pytest
import yaml

from bakeoff.params import DIRECTORY, load_parameters, variant_names
from docs import parameters

FIRST_LINE = "# yaml-language-server: $schema=../schema.json"


def test_the_written_files_are_those_that_the_checks_give() -> None:
    assert parameters.PAGE.read_text(encoding="utf-8") == parameters.page(), "run make parameters"
    assert parameters.SCHEMA.read_text(encoding="utf-8") == parameters.text(parameters.schema()), "run make parameters"


def test_every_parameter_is_explained() -> None:
    (chosen,) = load_parameters(("simple_cnn",), "full")
    page = parameters.page()
    for name in {**chosen.stage, **chosen.run}:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert len(row.split("|")[4].strip()) > 5, name


@pytest.mark.parametrize("variant", variant_names())
def test_the_schema_takes_every_variant_of_the_catalogue(variant: str) -> None:
    text = (DIRECTORY / "variants" / f"{variant}.yaml").read_text(encoding="utf-8")
    assert text.splitlines()[0] == FIRST_LINE
    as_editors_read_it = re.sub(r"\b(\d)e-", r"\1.0e-", text)  # YAML 1.1 takes 2e-5 for a text
    jsonschema.validate(yaml.safe_load(as_editors_read_it), parameters.schema())


@pytest.mark.parametrize(
    "wrong",
    [
        "epochs: -1",
        "optimiser: adam",
        "optimizer: adma",
        "run: {replicates: many}",
        "augmentation: {zoom: 2}",
        "builder: simple_cnm",
        "gray_weights: 3",
    ],
)
def test_the_schema_refuses_what_the_checks_refuse(wrong: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(wrong), parameters.schema())
