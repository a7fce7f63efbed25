"""YAML files to checked, frozen parameters: base <- variant <- profile limits <- --set. Nothing else reads YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from bakeoff import claims
from bakeoff.errors import BakeoffError, ParameterError, RequestError, nearest, one_line, shown
from bakeoff.params import own_network, rules
from bakeoff.params.own_network import OwnNetwork

DIRECTORY = Path(__file__).parents[2] / "params"
PROFILES = ("smoke", "quick", "evening", "full")
_DEEPEST = 20  # lists and mappings in each other; what the notebooks get must be short enough for Python's parser
# YAML 1.1 reads 1e-3 and 08 as text, 010 as 8 and 1:30 as 90; people mean numbers, and a text.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_WHOLE = re.compile(r"[-+]?\d+")
_SUFFIXES = (".yaml", ".yml")
# What was renamed: "old" or "mapping.old" for names, "name=old" for values -> the new one alone.
RENAMED: dict[str, str] = {
    "trainer=features": "feature_extraction",
    "trainer=staged": "fine_tune",
    "trainer=speedrun": "airbench",
    "trainer_options.bias_rate": "bias_scaler",
    "trainer_options.blend_steps": "lookahead_steps",
    "builder=batchnorm_network": "batchnorm_cnn",
    "builder=double_conv_network": "scratch_cnn",
    "builder=tuner_network": "tuner_cnn_deep",
    "builder=upsampled_base": "resnet50_transfer",
    "builder=feature_classifier_vgg16": "vgg16_dog_features",
    "builder=feature_classifier_mobilenetv2": "mobilenetv2_transfer",
    "builder=vgg16_labels": "vgg16_imagenet",
    "builder=efficientnetv2_classifier": "efficientnetv2_finetune",
}
# run limit -> the parameter that it caps
_CAPS = {
    "max_epochs": "epochs",
    "max_batch_size": "batch_size",
    "max_image_size": "image_size",
    "max_search_epochs": "search_epochs",
    "max_replicates": "replicates",
}


@dataclass(frozen=True)
class Parameters:
    """One variant's parameters under one profile: what the stages get, what only the run needs, what was cut."""

    variant: str
    stage: Mapping[str, Any]
    run: Mapping[str, Any]
    overrides: tuple[str, ...]  # of the published schedule, by profile or --set, in words
    network: OwnNetwork | None = None  # the builder's, where it is none of the package's


@dataclass(frozen=True)
class _Entry:
    """A value with the place it came from."""

    value: Any
    where: str


def variant_names(directory: Path = DIRECTORY) -> list[str]:
    """Every variant: the stems of params/variants/*.yaml and *.yml, sorted; hidden files are none."""
    return sorted({path.stem for path in (directory / "variants").glob("[!.]*") if path.suffix in _SUFFIXES})


def _variant_file(name: str, directory: Path) -> Path:
    paths = [directory / "variants" / f"{name}{suffix}" for suffix in _SUFFIXES]
    there = [path for path in paths if path.exists()]
    if len(there) > 1:
        raise RequestError(f"params/variants holds {name}.yaml and {name}.yml; keep one of them")
    return there[0] if there else paths[0]


def load_parameters(
    variants: Iterable[str] | None,
    profile: str,
    settings: Sequence[str] = (),
    directory: Path = DIRECTORY,
    refused: Callable[[BakeoffError], None] | None = None,
) -> list[Parameters]:
    """The parameters of `variants` under `profile` with `settings` ("name=value").

    None = all but hypotheses (`hypothesis_of`), which are run by name alone.

    Raises ParameterError (file, line, name, nearest valid name) or RequestError (unknown variant or profile). With
    `refused`, a variant whose own file is wrong is left out, and `refused` called with its error.
    """
    known = variant_names(directory)
    names = known if variants is None else list(dict.fromkeys(variants))
    for name in names:
        if name not in known:
            raise RequestError(f"--variants: there is no variant {shown(name)}; {nearest(name, known)}")
    if profile not in PROFILES:
        raise RequestError(f"--profile: there is no profile {shown(profile)}; {nearest(profile, PROFILES)}")
    base = _read(directory / "base.yaml")
    limits = _read(directory / "profiles" / f"{profile}.yaml")
    for name, entry in limits.items():
        if not name.startswith("max_"):
            raise ParameterError(entry.where, name, "is no limit; a profile only limits (names that begin with max_)")
    chosen = _settings(settings, base)
    limits = _checked(limits, base)
    figures = claims.published(claims.read_claims(directory))
    loaded = []
    for name in names:
        try:
            own = _read_variant(name, base, directory)
            about = own.get("hypothesis_of", base["hypothesis_of"]).value
            if variants is None and about:
                continue
            _check_hypothesis(own, known)
            loaded.append(_merge(name, base, _beside(own, figures.get(about or name, {})), limits, chosen))
        except BakeoffError as error:
            if refused is None:
                raise
            refused(error)
    return loaded


def explanations(directory: Path = DIRECTORY) -> dict[str, str]:
    """Parameter -> what base.yaml says about it."""
    text = (directory / "base.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^ *(\w+):[^#\n]*# (.*)$", text, re.MULTILINE))


def own_values(name: str, directory: Path = DIRECTORY) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a variant's own file sets: parameters of the stages, and those under `run:`."""
    entries = _read(_variant_file(name, directory))
    of_run = {key for key, entry in entries.items() if entry.where.startswith("run ")}
    stage = {key: entry.value for key, entry in entries.items() if key not in of_run}
    return stage, {key: entries[key].value for key in of_run}


def _read_variant(name: str, base: Mapping[str, _Entry], directory: Path) -> dict[str, _Entry]:
    path = _variant_file(name, directory)
    if not rules.is_name(name):
        raise ParameterError(str(path), name, "cannot be a variant's name; use letters, digits and _")
    return _checked(_read(path), base)


def _check_hypothesis(variant: Mapping[str, _Entry], known: Sequence[str]) -> None:
    """Raise ParameterError for a hypothesis about a variant that there is not."""
    about = variant.get("hypothesis_of", _Entry("", ""))
    if about.value and about.value not in known:
        place = about.where.removeprefix("run ")
        raise ParameterError(place, "hypothesis_of", f"is {shown(about.value)}; {nearest(about.value, known)}")


def _beside(variant: Mapping[str, _Entry], figures: Mapping[str, Any]) -> dict[str, _Entry]:
    """The variant with the figures that params/claims.csv has of it; what its own file says of them wins."""
    own = variant.get("published", _Entry({}, "params/claims.csv"))
    return {**variant, "published": _Entry({**figures, **own.value}, own.where)} if figures else dict(variant)


def _merge(
    name: str,
    base: Mapping[str, _Entry],
    variant: Mapping[str, _Entry],
    limits: Mapping[str, _Entry],
    chosen: Mapping[str, _Entry],
) -> Parameters:
    """base <- variant <- limits <- --set; the cuts that this makes are kept in words."""
    variant = _own_options(variant)
    catalogue = {key: entry.value for key, entry in {**base, **variant}.items()}
    _check_model(name, catalogue, variant)  # before what only a sound search space can be asked
    capped = {
        **catalogue,
        **{key: entry.value for key, entry in {**limits, **chosen}.items() if key in _limits(base)},
    }
    _limit(capped)
    final = {**capped, **{key: entry.value for key, entry in _own_options(chosen).items()}}
    _check_model(name, final, {**variant, **chosen})
    network = own_network.find(final["builder"]) if own_network.is_own(final["builder"]) else None
    final["builder"] = network.name if network else final["builder"]
    return Parameters(
        variant=name,
        stage=MappingProxyType({key: final[key] for key in base if not _of_run(key, base)}),
        run=MappingProxyType({key: final[key] for key in base if _of_run(key, base)}),
        overrides=_overrides(catalogue, final, base),
        network=network,
    )


def _own_options(entries: Mapping[str, _Entry]) -> Mapping[str, _Entry]:
    """Entries that name a builder and no options, with none: those of base.yaml belong to base.yaml's builder."""
    if "builder" not in entries or "builder_options" in entries:
        return entries
    return {**entries, "builder_options": _Entry({}, entries["builder"].where)}


def _check_model(name: str, values: Mapping[str, Any], given: Mapping[str, _Entry]) -> None:
    wrong = rules.model_fault(values)
    if wrong:
        place = given.get(wrong[0])
        raise ParameterError(place.where if place else f"params/variants/{name}.yaml", *wrong)


def _limits(base: Mapping[str, _Entry]) -> set[str]:
    return {name for name in base if name.startswith("max_")}


def _limit(values: dict[str, Any]) -> None:
    """Apply the run's caps in place; max_*_examples and max_*_tflop are applied by the stages that know the data."""
    if values["search"] == "grid":
        points = prod(len(choices) for choices in values["search_space"].values())
        values["search_trials"] = min(values["search_trials"] or points, points, values["max_grid_points"] or points)
    elif values["max_trials"] is not None:
        values["search_trials"] = min(values["search_trials"], values["max_trials"])
    for limit, name in _CAPS.items():
        if values[limit] is not None and values[name]:
            values[name] = min(values[name], values[limit])
    if values["max_threads"] is not None:  # threads 0 are all cores
        values["threads"] = min(values["threads"] or values["max_threads"], values["max_threads"])


def _overrides(catalogue: Mapping[str, Any], final: Mapping[str, Any], base: Mapping[str, _Entry]) -> tuple[str, ...]:
    """What differs from the published schedule, in words. Cuts by data and budget are known after the stages ran."""
    uncut = dict(catalogue)
    _limit(uncut)  # search_trials: 0 means every point; say the number
    searches = ("search_trials", "search_epochs", "search_space")
    skipped = _limits(base) | {
        "published",
        "dataset",
        "skip_broken",
        "threads",
        "gpu_share",
        "deterministic",
        "stage_timeout_seconds",
        "replicates",
        "notes",
    }
    if final["search"] == "none":
        skipped |= set(searches)
    return tuple(
        f"{name} {_short(final[name])} (catalogue: {_short(uncut[name])})"
        for name in base
        if name not in skipped and final[name] != uncut[name]
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _of_run(name: str, base: Mapping[str, _Entry]) -> bool:
    return base[name].where.startswith("run ")


def _settings(settings: Sequence[str], base: Mapping[str, _Entry]) -> dict[str, _Entry]:
    chosen: dict[str, _Entry] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ParameterError("--set", setting, "has no value; write --set name=value")
        place = f"--set {_short(setting)}"
        chosen[name.strip()] = _Entry(_value(_compose(text, place), place), place)
    return _checked(chosen, base)


def _checked(entries: Mapping[str, _Entry], base: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """The entries with their numbers as the parameters have them; ParameterError for the first that cannot be."""
    checked = {}
    for name, entry in entries.items():
        place = entry.where.removeprefix("run ")
        _refuse_old(name, entry.value, place)
        if name not in base:
            raise ParameterError(place, name, f"is not a parameter; {nearest(name, base)}")
        value = rules.normal(entry.value, base[name].value)
        why = rules.fault(name, value, base[name].value)
        if why:
            raise ParameterError(place, name, why)
        checked[name] = _Entry(value, entry.where)
    return checked


def _refuse_old(name: str, value: Any, place: str) -> None:
    """Raise ParameterError, with the new one, for a name or a value that was renamed."""
    if name in RENAMED:
        raise ParameterError(place, name, f"is now called {RENAMED[name]!r}")
    for old in value if isinstance(value, dict) else ():
        if f"{name}.{old}" in RENAMED:
            raise ParameterError(place, name, f"has {old!r}, which is now called {RENAMED[f'{name}.{old}']!r}")
    if isinstance(value, str) and f"{name}={value}" in RENAMED:
        raise ParameterError(place, name, f"is {value!r}, which is now called {RENAMED[f'{name}={value}']!r}")


def _read(path: Path) -> dict[str, _Entry]:
    """The file's names, those under `run:` beside the others, each with its place."""
    place = _shown(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"{one_line(place)}: cannot be read ({error.strerror}); restore it from the repository"
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ParameterError(
            f"{place}:{line}", "YAML", "is not written in UTF-8 here; save the file as UTF-8"
        ) from None
    node = _compose(text, place)
    entries: dict[str, _Entry] = {}
    for name, (value, line) in _items(node, place).items():
        if name == "run":
            nested = _items(value, place)
            entries |= {key: _Entry(_value(v, place), f"run {place}:{n}") for key, (v, n) in nested.items()}
        else:
            entries[name] = _Entry(_value(value, place), f"{place}:{line}")
    return entries


def _shown(path: Path) -> str:
    return "/".join(path.parts[-3:] if path.parent.name in ("variants", "profiles") else path.parts[-2:])


def _compose(text: str, place: str) -> yaml.Node | None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_shape(yaml.parse(text, Loader=loader), place)
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        number = error.problem_mark.line if error.problem_mark else 0
        line = f":{number + 1}" if error.problem_mark else ""
        if "\t" in "".join(text.splitlines()[number : number + 1]):
            raise ParameterError(f"{place}{line}", "YAML", "has a tab here; write spaces in its place") from None
        raise ParameterError(f"{place}{line}", "YAML", f"cannot be read here: {error.problem}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise ParameterError(place, "YAML", f"cannot be read: {str(error).splitlines()[0]}") from None


def _check_shape(events: Iterable[yaml.Event], place: str) -> None:
    """Refuse aliases and deep nesting before they are followed: a few letters could fill the memory or the stack."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise ParameterError(place, "*", "refers to another place in the file; write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise ParameterError(f"{place}{line}", "YAML", f"is nested more than {_DEEPEST} deep here")


def _items(node: yaml.Node | None, place: str) -> dict[str, tuple[yaml.Node, int]]:
    """A mapping node's names -> (value node, line). Refuses doubled names and names that are no identifiers."""
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ParameterError(f"{place}:{node.start_mark.line + 1}", "YAML", "must be lines of `name: value` here")
    items: dict[str, tuple[yaml.Node, int]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if not rules.is_name(name):
            raise ParameterError(f"{place}:{line}", name, "cannot be a name; use letters, digits and _")
        if name in items:
            raise ParameterError(f"{place}:{line}", name, f"stands here twice, first in line {items[name][1]}")
        items[name] = (value, line)
    return items


def _value(node: yaml.Node | None, place: str) -> Any:
    """A node's plain value: numbers, text, booleans, lists, mappings; no tags, no aliases of aliases."""
    if node is None:
        return None
    if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
        raise ParameterError(f"{place}:{node.start_mark.line + 1}", node.tag, "is a tag; only plain values are allowed")
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, place) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {name: _value(value, place) for name, (value, _) in _items(node, place).items()}
    plain = not getattr(node, "style", None)  # not in quotes
    if plain and node.tag == _TEXT and _NUMBER.fullmatch(node.value):
        return float(node.value)
    if plain and node.tag in (_TEXT, _INT) and _WHOLE.fullmatch(node.value) and len(node.value) <= _MOST_DIGITS:
        return int(node.value)
    if plain and node.tag in (_INT, _FLOAT) and ":" in node.value:
        return node.value
    return _scalar(node, place)


_TEXT, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float"))
_MOST_DIGITS = 4000  # Python reads no number of more
_COLLECTIONS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_SCALARS = {"null", "bool", "int", "float", "str"}


def _scalar(node: yaml.Node, place: str) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _SCALARS:
        if kind == "timestamp":
            return node.value
        raise ParameterError(
            f"{place}:{node.start_mark.line + 1}", str(node.value), f"has the tag {shown(node.tag)}; not allowed"
        )
    try:
        return getattr(yaml.constructor.SafeConstructor(), f"construct_yaml_{kind}")(node)
    except (ValueError, LookupError):  # what it raises depends on the kind
        place = f"{place}:{node.start_mark.line + 1}"
        raise ParameterError(place, str(node.value), f"cannot be read as the kind {kind} that it has") from None
