"""What --explain prints: for each step whether it is done, or what changed since its variant last made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bakeoff.plan.code_digests import NOTEBOOKS
from bakeoff.plan.steps import NOT_FOUND, OLDER_LAYOUT, Plan, Step, parent_name
from bakeoff.store import MANIFEST, NOTEBOOK, Store, missing_or_cut
from bakeoff.store.last_made import LastMade

_LONGEST = 60  # characters of a value
_KEY = 12  # characters of a digest
# part of a result key -> what one of its names is called
_KINDS = {"parameters": "parameter", "parents": "parent", "versions": "package", "settings": "setting"}
_NOTHING = "none"


def explain(plan: Plan, store: Store) -> list[str]:
    """A line a step, and below it a line for everything that is not as it was when its variant last made it."""
    lines, last_made = [], LastMade(store.root)
    for row in plan.rows:
        title = f"{row.variant} (seed {row.seed})" if row.replicate else row.variant
        if row.blocked:
            lines.append(f"{title}: blocked, {row.blocked}")
        for name, step in row.steps.items():
            found = list(_findings(step, plan, store, last_made))
            lines.append(f"{title} {name}: {found[0] if found else _done(step, store)}")
            lines += [f"    {finding}" for finding in found[1:]]
        lines += [f"{title} {stage}: {NOT_FOUND}" for stage in row.unknown]
    names = {step.name for row in plan.rows for step in row.steps.values()}
    lines.append(f"{len(names)} steps, {sum(name in plan.reasons for name in names)} to run{plan.to_follow()}.")
    return lines


def _done(step: Step, store: Store) -> str:
    manifest = store.complete_manifest(*step.name) or {}
    return f"done ({manifest.get('finished', 'at an unknown time')}, {float(manifest.get('seconds', 0)):.1f} s)"


def _findings(step: Step, plan: Plan, store: Store, last_made: LastMade) -> Iterator[str]:
    """A heading and the causes; nothing for a step that is done."""
    if step.name not in plan.reasons:
        return
    if plan.reasons[step.name] == "forced":
        yield "to run, because --force names it"
    elif store.complete_manifest(*step.name) is not None:
        yield "to run, but for its page alone: only the page key differs, the numbers stay"
        yield from _page(step, store)
    elif store.read_manifest(*step.name) is not None:
        yield "to run, its files are not as it left them"
        yield from damage(step, store)
    else:
        yield from _changed(step, plan, store, last_made)


def _changed(step: Step, plan: Plan, store: Store, last_made: LastMade) -> Iterator[str]:
    """What differs from the last step of this stage that the variant made."""
    last = next((key for name in step.variants if (key := last_made.key(name, step.label))), None)
    then = store.read_manifest(step.stage.name, last) if last and last != step.result_key else None
    if then is None:
        yield "to run, new: nothing that it could be compared with was made before"
    elif "key_inputs" not in then:
        yield f"to run: {OLDER_LAYOUT}"
    else:
        yield f"to run, changed since {then.get('finished', 'its last run')}"
        yield from differences(then.get("key_inputs", {}), step, plan)
    folder = store.folder(*step.name)
    if folder.is_dir() and any(folder.iterdir()):
        yield f"begun and not finished: see {folder}"


def differences(then: Mapping[str, Any], step: Step, plan: Plan) -> Iterator[str]:
    """A sentence for each name that a result key is made of and that has another value now."""
    for part, now in step.key_inputs.items():
        before = then.get(part)
        if not isinstance(now, Mapping) or not isinstance(before, Mapping):
            continue
        for name in sorted(name for name in {*now, *before} if now.get(name) != before.get(name)):
            again = part == "parents" and parent_name((name, now.get(name, ""))) in plan.reasons
            note = " (it has to run first)" if again else ""
            yield f"{_kind(part, name)}: {_values(now.get(name), before.get(name), part)}{note}"


def _kind(part: str, name: str) -> str:
    if part == "code":
        return "code of its notebook" if name == "notebook" else f"code module {name}"
    if part == "resolved":
        return "data files" if name == "dataset" else f"file of {name}"
    return f"{_KINDS.get(part, part)} {name}"


def _values(now: Any, before: Any, part: str) -> str:
    if part in ("parents", "code", "resolved"):
        return f"{str(now or _NOTHING)[:_KEY]}, was {str(before or _NOTHING)[:_KEY]}"
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        names = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
        return "; ".join(f"{name} {_values(now.get(name), before.get(name), part)}" for name in names)
    return "{}, was {}".format(*_shortened(_text(now), _text(before)))


def _text(value: Any) -> str:
    return _NOTHING if value is None else value if isinstance(value, str) else json.dumps(value, default=list)


def _shortened(*texts: str) -> list[str]:
    """The texts, cut so that the first place where they differ is seen."""
    same = next((at for at, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) > 1), 0)
    start = max(0, same - _LONGEST // 2) if max(map(len, texts)) > _LONGEST else 0
    cut = [text[start : start + _LONGEST] for text in texts]
    return [
        f"{'...' if start else ''}{part}{'...' if start + _LONGEST < len(text) else ''}"
        for part, text in zip(cut, texts, strict=True)
    ]


def damage(step: Step, store: Store) -> Iterator[str]:
    """The files of a step that are gone or have another size than recorded."""
    folder, record = store.folder(*step.name), store.read_manifest(*step.name) or {}
    if record.get("result_key") != step.result_key:
        yield f"{folder / MANIFEST} is that of another step"
    for name, (_, size) in (record.get("files") or {}).items():
        fault = missing_or_cut(folder / name, size)
        if fault:
            yield fault


def _page(step: Step, store: Store) -> Iterator[str]:
    """What of a page changed: figures published by the source, cells, or the code that draws."""
    path = store.folder(*step.name) / NOTEBOOK
    if not path.is_file():
        yield f"{path} is gone"
        return
    then = (store.complete_manifest(*step.name) or {})["parameters"].get("published")
    now = step.parameters.get("published")
    if now != then:
        yield f"published figures: {_values(now, then, 'parameters')}"
    before, after = _cells(path), _cells(NOTEBOOKS / f"{step.stage.notebook}.ipynb")
    changed = [name for name in after if after[name] != before.get(name)] + [
        name for name in before if name not in after
    ]
    yield from (f"cell {name} of notebooks/{step.stage.notebook}.ipynb" for name in changed)
    if now == then and not changed:
        yield "the code of its figures, tables or sentences (bakeoff/lab/plots)"


def _cells(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Cell id -> source and tags, without the cell of parameters that papermill adds and those that are in no key."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = {cell.get("id", str(n)): ("".join(cell["source"]), _tags(cell)) for n, cell in enumerate(cells)}
    return {
        name: (source, tags)
        for name, (source, tags) in found.items()
        if not {"injected-parameters", "colab"} & set(tags)
    }


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))
