"""Parameters from anybody: whatever a file or a --set holds, it is frozen parameters or one sentence, and runs nothing.

Some thousand cases in every run; BAKEOFF_FUZZ_CASES=100000 tries that many, other ones each time.
"""

from __future__ import annotations

import ast
import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from papermill.translators import PythonTranslator

from bakeoff.errors import BakeoffError
from bakeoff.params import DIRECTORY, PROFILES, Parameters, load_parameters, options, own_network, rules, variant_names

WANTED = int(os.environ.get("BAKEOFF_FUZZ_CASES", "0"))
TARGETS = 6
CANARY = "bakeoff_canary"  # a file in the working folder or a variable of the environment, made by what ought not run
# What nobody may do while parameters are read; `open` is looked at more closely.
FORBIDDEN = ("compile", "exec", "import", "marshal.", "pickle.", "os.exec", "os.fork", "os.posix_spawn", "os.system")
FORBIDDEN += ("os.mkdir", "os.putenv", "os.remove", "os.rename", "os.rmdir", "os.symlink", "shutil.", "socket.")
FORBIDDEN += ("subprocess.", "ctypes.", "os.chmod", "os.link", "os.truncate", "os.unsetenv")

CODE = [
    f"__import__('os').environ.__setitem__('{CANARY}', '1')",
    f"open('{CANARY}', 'w').close()",
    f"x'; open('{CANARY}', 'w'); '",
    f'x"; open("{CANARY}", "w"); "',
    f'""" + str(open("{CANARY}", "w")) + """',
    f"\\'; open('{CANARY}', 'w') #",
    f'\\"; open("{CANARY}", "w") #',
    f"0\nopen('{CANARY}', 'w')",
    f"0\ropen('{CANARY}', 'w')",
    f"0\u2028open('{CANARY}', 'w')",
    f"$(touch {CANARY})`touch {CANARY}`; touch {CANARY}",
    f"{{__import__('os').system('touch {CANARY}')}}",
    "%(name)s {0.__class__.__mro__} ${HOME}",
    f"!touch {CANARY}",
    f"%%bash\ntouch {CANARY}",
]
TAGS = [
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"!!python/object/new:os.system ['touch {CANARY}']",
    f"!!python/object/apply:builtins.exec [\"open('{CANARY}', 'w')\"]",
    "!!python/name:os.system ''",
    "!!python/module:os ''",
    "!!python/tuple [1, 2]",
    *("!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "!!timestamp 2020-01-01", "!evil 1e5", "!a%0Ab x", "!<int> 3"),
    *("!!int ''", "!!int x", "!!int '-'", "!!float ''", "!!float +", "!!bool maybe", "!!null x", "!!str", "!!map []"),
]
BOMBS = [
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nepochs: *c",
    "builder_options: &x {a: *x}",
    "<<: {epochs: 3}",
    "epochs: 0x" + "f" * 5000,
    "epochs: " + "9" * 5000,
    "examples_per_side: 0x" + "f" * 400,
    "learning_rate: 0x" + "f" * 5000,
    "learning_rate: 1e999",
    "epochs: 1" + ":59" * 300,
    "published: {a: 0x" + "f" * 5000 + "}",
    "published: {a: [{b: .nan}, .inf]}",
    "published: " + "[" * 100_000,
    "published: " + "{a: " * 3000 + "1" + "}" * 3000,
    "- " * 5000,
    "published:\n" + "".join(f"{' ' * depth}a:\n" for depth in range(1, 200)),
    "published: {a: " + "[" * 60 + "]" * 60 + "}",
    "search: grid\nsearch_space: {units: 3}",
    "search: tuner\nsearch_space: {learning_rate: {min: a, max: 3, step: 1}}",
    "search: tuner\nsearch_space: {learning_rate: {min: {}, max: [], step: null}}",
    "run: {title: [x]}\nrun: 3",
    "run: {run: {run: 1}}",
    "? [a, b]\n: 1",
    "--- \n...\n---\nepochs: 3",
    "%YAML 9.9\n---\nepochs: 3",
    "\ufeffepochs: 3",
    "\x00",
    "epochs: 3\n\x07",
]
NUMBERS = [0, 1, -1, 3, 0.5, -0.0, 1e-300, 2**31, 2**63 - 1, 2**63, -(2**63), 10**400, math.nan, math.inf, -math.inf]

(ANN,) = load_parameters(["ann"], "full")
BASE = {**ANN.stage, **ANN.run}
CATALOGUE = [(DIRECTORY / "variants" / f"{name}.yaml").read_text(encoding="utf-8") for name in variant_names()]


@dataclass
class Guard:
    """Counts the cases, and sees what Python does while parameters are read."""

    seen: list[str] = field(default_factory=list)
    watching: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def __call__(self, event: str, arguments: Sequence[Any]) -> None:
        """The audit hook."""
        if not self.watching:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {arguments[:2]}")

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Nothing forbidden may happen in the block."""
        self.seen.clear()
        self.watching = True
        try:
            yield
        finally:
            self.watching = False
        assert self.seen == []


GUARD = Guard()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A copy of params/ in a folder of its own, which is the working folder too; says in the end how many cases ran."""
    place = tmp_path_factory.mktemp("fuzz")
    # Without the sources' claims, which are the project's own and take half of the time to read.
    shutil.copytree(DIRECTORY, place / "params", ignore=shutil.ignore_patterns("*.csv"))
    sys.addaudithook(GUARD)  # stays, and does nothing when nobody watches
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for builder in options.builders():  # what is imported or remembered once
            options.builder(builder, own_network.find)
        load_parameters(None, "smoke", ["epochs=1"], place / "params")
        yield place / "params"
        assert {path.name for path in place.iterdir()} == {"params"}
        assert {path.name for path in (place / "params" / "variants").iterdir()} >= {"ann.yaml"}
    output = request.config.pluginmanager.getplugin("capturemanager")
    with output.global_and_fixture_disabled():
        tried = sum(GUARD.counts.values())
        print(f"\n{tried} cases: {', '.join(f'{count} {name}' for name, count in sorted(GUARD.counts.items()))}")


def fuzz(*examples: Any) -> Any:
    """Settings of each target; `examples` are tried first, on top of the random cases."""
    set_hypothesis_home_dir(Path(os.environ.get("TMPDIR", "/tmp")) / "bakeoff-hypothesis")
    configured = settings(
        max_examples=max(WANTED, 2000) // TARGETS + 1,
        database=None,
        derandomize=not WANTED,  # the same cases in every `make test`
        deadline=timedelta(seconds=20),
        suppress_health_check=list(HealthCheck),
    )

    def decorate(test: Any) -> Any:
        for each in reversed(examples):
            test = example(each)(test)
        return configured(test)

    return decorate


def check(target: str, names: Sequence[str] | None, profile: str, chosen: Sequence[str], folder: Path) -> None:
    """Frozen parameters that survive their way into a notebook, or an error of one line; nothing has run."""
    try:
        with GUARD.watch():
            found = load_parameters(names, profile, chosen, folder)
    except BakeoffError as error:
        GUARD.counts[f"{target} refused"] += 1
        message = str(error)
        assert message.isprintable() and 0 < len(message) < 1000, repr(message)
    else:
        GUARD.counts[f"{target} accepted"] += 1
        for each in found:
            check_accepted(each)
    assert CANARY not in os.environ and not Path(CANARY).exists()


def check_accepted(found: Parameters) -> None:
    """What papermill makes of the parameters are assignments of literals, which mean the same values."""
    with pytest.raises(TypeError):
        found.stage["epochs"] = 1  # type: ignore[index]
    stage = dict(found.stage)
    code = PythonTranslator.codify(stage)
    tree = ast.parse(code)
    assigned = {}
    for node in tree.body:
        assert isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name), code
        assigned[node.targets[0].id] = ast.literal_eval(node.value)
    assert repr(assigned) == repr(stage)  # NaN, -0.0 and True count as what they are
    assert len(tree.body) == len(stage) and set(stage) <= set(BASE)
    json.dumps([stage, dict(found.run), found.overrides], ensure_ascii=False, allow_nan=False).encode("utf-8")
    for name in rules.PATTERNS:
        assert ".." not in str({**stage, **found.run}[name]).split("/"), name


texts = st.one_of(
    st.sampled_from(CODE), st.text(max_size=30), st.sampled_from(["", "null", "yes", "1e3", "0x1f", "a: b"])
)
hostile_names = st.one_of(
    st.sampled_from(["__class__", "__builtins__", "import", "epochs ", "épochs", "a\nb", "../x", "x;y", "<<", "?", ""]),
    texts,
)
names = st.one_of(st.sampled_from(sorted(BASE)), st.sampled_from(sorted(BASE)), hostile_names)
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(hostile_names | st.sampled_from("abc"), inner, max_size=4)
    ),
    max_leaves=12,
)


SGD = options.OPTIMIZER["sgd"]
OF_TRAINERS = {name: kind for each in options.TRAINERS.values() for name, kind in each.items()}


def _near(name: str) -> st.SearchStrategy[Any]:
    """Values that the parameter may take, among others."""
    default = BASE[name]
    likely: list[st.SearchStrategy[Any]] = [st.just(default)]
    if name in rules.CHOICES:
        likely.append(st.sampled_from(rules.CHOICES[name]))
    known = {"augmentation": options.AUGMENTATION, "trainer_options": OF_TRAINERS, "optimizer_options": SGD}
    if name in known:
        likely.append(st.dictionaries(st.sampled_from(sorted(known[name])), values, max_size=3))
    kinds = {bool: st.booleans(), int: st.integers(-2, 5000), float: st.floats(-1, 2), str: texts}
    kinds |= {dict: st.dictionaries(st.sampled_from("abc"), values, max_size=3), list: st.lists(values, max_size=3)}
    kind = kinds.get(type(default), st.integers(1, 100))
    return st.one_of(*likely, *likely, kind, kind, values)


real_pairs = st.sampled_from(sorted(BASE)).flatmap(lambda name: st.tuples(st.just(name), _near(name)))
pairs = st.one_of(real_pairs, real_pairs, real_pairs, st.tuples(names, values))
lines = st.one_of(
    st.sampled_from(TAGS).map(lambda tag: f"epochs: {tag}"),
    st.sampled_from(TAGS).map(lambda tag: f"published: {{a: {tag}}}"),
    st.sampled_from(TAGS).map(lambda tag: f"notes: {tag}"),
    st.sampled_from(BOMBS),
    st.tuples(names, texts).map(lambda both: f"{both[0]}: {both[1]}"),
    pairs.map(lambda pair: yaml.dump({pair[0]: pair[1]}, allow_unicode=True)),
    pairs.map(lambda pair: json.dumps({str(pair[0]): pair[1]})),
    st.text(max_size=60),
    st.text("[]{}:,-&*!|>'\"%@`#? \n\tab1.", max_size=60),
)


def _dumped(entries: Sequence[tuple[str, Any]]) -> str:
    """A file of these entries, those of the run where they belong."""
    stage = {name: value for name, value in entries if name not in ANN.run}
    nested = {name: value for name, value in entries if name in ANN.run}
    return yaml.dump({**stage, **({"run": nested} if nested else {})}, allow_unicode=True)


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")


@fuzz(*([bomb] for bomb in BOMBS), *([f"published: {{a: {tag}}}"] for tag in TAGS))
@given(st.lists(lines, min_size=1, max_size=3))
def test_any_text_as_a_variant_s_file(folder: Path, text: list[str]) -> None:
    _write(folder, "variants/mine.yaml", "\n".join(text))
    check("variant's text", ["mine"], "smoke", (), folder)


@fuzz()
@given(st.lists(pairs, max_size=3))
def test_any_mapping_as_a_variant_s_file(folder: Path, entries: list[tuple[str, Any]]) -> None:
    _write(folder, "variants/mine.yaml", _dumped(entries))
    check("variant's mapping", ["mine"], "quick", (), folder)


@fuzz()
@given(st.sampled_from(CATALOGUE), st.integers(0, 5000), st.integers(0, 20), st.one_of(lines, texts, st.just("\n")))
def test_any_change_of_a_catalogue_s_file(folder: Path, text: str, place: int, cut: int, put: str) -> None:
    place %= len(text)
    _write(folder, "variants/mine.yaml", text[:place] + put + text[place + cut :])
    check("changed variant", ["mine"], "evening", (), folder)


@fuzz()
@given(
    st.sampled_from([*variant_names(), "ann"]),
    st.lists(st.one_of(lines, pairs.map(lambda pair: f"{pair[0]}={json.dumps(pair[1])}"), texts), max_size=4),
)
def test_any_setting(folder: Path, variant: str, chosen: list[str]) -> None:
    chosen = [text if "=" in text else text.replace(":", "=", 1) for text in chosen]
    check("setting", [variant], "quick", chosen, folder)


@fuzz()
@given(
    st.lists(st.one_of(st.tuples(st.sampled_from([n for n in sorted(BASE) if n.startswith("max_")]), values), pairs)),
    st.one_of(st.none(), lines),
)
def test_any_profile(folder: Path, entries: list[tuple[str, Any]], text: str | None) -> None:
    profile = folder / "profiles" / "smoke.yaml"
    kept = profile.read_bytes()
    try:
        _write(folder, "profiles/smoke.yaml", yaml.dump(dict(entries)) if text is None else text)
        check("profile", ["ann", "gray_grid"], "smoke", (), folder)
    finally:
        profile.write_bytes(kept)


@fuzz()
@given(
    st.one_of(hostile_names, st.sampled_from(["../../base", "..", "/etc/passwd", "a/b", "a\\b", "CON", "-h", "ann\n"])),
    st.one_of(st.sampled_from(PROFILES), hostile_names, st.just("../variants/ann")),
    st.booleans(),
)
def test_any_name_of_a_variant_and_of_a_profile(folder: Path, name: str, profile: str, made: bool) -> None:
    (folder / "variants" / "mine.yaml").unlink(missing_ok=True)  # left by the tests above
    path = None
    if made and "/" not in name and "\\" not in name:
        path = folder / "variants" / f"{name}.yaml"
        try:
            path.write_text("epochs: 2\n")
        except (OSError, ValueError):  # no name of a file
            path = None
    try:
        check("name", [name], profile, (), folder)
        check("name among all", None, profile, (), folder)
    finally:
        if path is not None:
            path.unlink()


def test_the_cases_are_no_straw_men(folder: Path) -> None:
    """Of each kind some pass and some do not, and the guard sees what it is there to see."""
    for target in ("variant's text", "variant's mapping", "changed variant", "setting", "profile"):
        accepted, refused = GUARD.counts[f"{target} accepted"], GUARD.counts[f"{target} refused"]
        assert min(accepted, refused) >= 3, (target, GUARD.counts)
    assert sum(GUARD.counts.values()) >= max(WANTED, 2000)
    for act in (lambda: Path("written").write_text("x"), lambda: exec("1"), lambda: os.system("true")):
        with pytest.raises(AssertionError), GUARD.watch():
            act()
    Path("written").unlink()
