"""YAML files to checked, frozen parameters: base <- variant <- profile limits <- --set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, inf, prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bakeoff import claims
from bakeoff.errors import BakeoffError, ParameterError, RequestError, nearest, shown
from bakeoff.lab.ranking import MINIMUM_SHOWN
from bakeoff.params import own_network, rules, yaml_file
from bakeoff.params.own_network import OwnNetwork
from bakeoff.params.yaml_file import Entry

DIRECTORY = Path(__file__).parents[2] / "params"
PROFILES = ("smoke", "quick", "evening", "full")
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
    most_epochs: int = 0  # of the variant itself, where max_epochs cut them

    def of_few_images(self, images: int) -> Parameters:
        """These, where max_epochs would show too few of `images` training images to be ranked: with more epochs.

        As many as that takes, at most the variant's own. 0 images: not known. Limits that would rank no variant on a
        large data set either (profile smoke) stay.
        """
        most = self.stage["max_train_examples"] or inf
        if not images or not self.most_epochs or self.stage["epochs"] * most < MINIMUM_SHOWN:
            return self
        shown = min(images, most) * (1 - self.stage["validation_split"] * (self.stage["validation"] == "split"))
        epochs = min(max(self.stage["epochs"], ceil(MINIMUM_SHOWN / shown)), self.most_epochs)
        others = [each for each in self.overrides if not each.startswith("epochs ")]
        cut = [_override("epochs", epochs, self.most_epochs)] if epochs < self.most_epochs else []
        stage = MappingProxyType({**self.stage, "epochs": epochs})
        return replace(self, stage=stage, overrides=(*others, *cut))


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
    base = yaml_file.read(directory / "base.yaml")
    limits = yaml_file.read(directory / "profiles" / f"{profile}.yaml")
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
    entries = yaml_file.read(_variant_file(name, directory))
    of_run = {key for key, entry in entries.items() if entry.where.startswith("run ")}
    stage = {key: entry.value for key, entry in entries.items() if key not in of_run}
    return stage, {key: entries[key].value for key in of_run}


def _read_variant(name: str, base: Mapping[str, Entry], directory: Path) -> dict[str, Entry]:
    path = _variant_file(name, directory)
    if not rules.is_name(name):
        raise ParameterError(str(path), name, "cannot be a variant's name; use letters, digits and _")
    return _checked(yaml_file.read(path), base)


def _check_hypothesis(variant: Mapping[str, Entry], known: Sequence[str]) -> None:
    """Raise ParameterError for a hypothesis about a variant that there is not."""
    about = variant.get("hypothesis_of", Entry("", ""))
    if about.value and about.value not in known:
        place = about.where.removeprefix("run ")
        raise ParameterError(place, "hypothesis_of", f"is {shown(about.value)}; {nearest(about.value, known)}")


def _beside(variant: Mapping[str, Entry], figures: Mapping[str, Any]) -> dict[str, Entry]:
    """The variant with the figures that params/claims.csv has of it; what its own file says of them wins."""
    own = variant.get("published", Entry({}, "params/claims.csv"))
    return {**variant, "published": Entry({**figures, **own.value}, own.where)} if figures else dict(variant)


def _merge(
    name: str,
    base: Mapping[str, Entry],
    variant: Mapping[str, Entry],
    limits: Mapping[str, Entry],
    chosen: Mapping[str, Entry],
) -> Parameters:
    """base <- variant <- limits <- --set; the cuts that this makes are kept in words."""
    variant = _own_options(variant)
    catalogue = {key: entry.value for key, entry in {**base, **variant}.items()}
    find = cache(own_network.find)  # so that what is checked is what is digested, and what a run's snapshot holds
    _check_model(name, catalogue, variant, find)  # before what only a sound search space can be asked
    capped = {
        **catalogue,
        **{key: entry.value for key, entry in {**limits, **chosen}.items() if key in _limits(base)},
    }
    _limit(capped)
    final = {**capped, **{key: entry.value for key, entry in _own_options(chosen).items()}}
    _check_model(name, final, {**variant, **chosen}, find)
    cut = final["epochs"] == final["max_epochs"] and "epochs" not in chosen
    network = find(final["builder"]) if own_network.is_own(final["builder"]) else None
    final["builder"] = network.name if network else final["builder"]
    return Parameters(
        variant=name,
        stage=MappingProxyType({key: final[key] for key in base if not _of_run(key, base)}),
        run=MappingProxyType({key: final[key] for key in base if _of_run(key, base)}),
        overrides=_overrides(catalogue, final, base),
        network=network,
        most_epochs=catalogue["epochs"] if cut else 0,
    )


def _own_options(entries: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """Entries that name a builder and no options, with none: those of base.yaml belong to base.yaml's builder."""
    if "builder" not in entries or "builder_options" in entries:
        return entries
    return {**entries, "builder_options": Entry({}, entries["builder"].where)}


def _check_model(
    name: str, values: Mapping[str, Any], given: Mapping[str, Entry], find: Callable[[str], OwnNetwork]
) -> None:
    wrong = rules.model_fault(values, find)
    if wrong:
        place = given.get(wrong[0])
        raise ParameterError(place.where if place else f"params/variants/{name}.yaml", *wrong)


def _limits(base: Mapping[str, Entry]) -> set[str]:
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


def _overrides(catalogue: Mapping[str, Any], final: Mapping[str, Any], base: Mapping[str, Entry]) -> tuple[str, ...]:
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
        _override(name, final[name], uncut[name]) for name in base if name not in skipped and final[name] != uncut[name]
    )


def _override(name: str, value: Any, own: Any) -> str:
    return f"{name} {_short(value)} (catalogue: {_short(own)})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _of_run(name: str, base: Mapping[str, Entry]) -> bool:
    return base[name].where.startswith("run ")


def _settings(settings: Sequence[str], base: Mapping[str, Entry]) -> dict[str, Entry]:
    chosen: dict[str, Entry] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ParameterError("--set", setting, "has no value; write --set name=value")
        place = f"--set {_short(setting)}"
        chosen[name.strip()] = Entry(yaml_file.parse(text, place), place)
    return _checked(chosen, base)


def _checked(entries: Mapping[str, Entry], base: Mapping[str, Entry]) -> dict[str, Entry]:
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
        checked[name] = Entry(value, entry.where)
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
