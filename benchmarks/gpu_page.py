"""The case `gpu` as a section of docs/benchmarks.md, written from its record by no library but Python's own."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

WAYS = {
    "machine": "the device alone",
    "ours": "`fit`, Bakeoff's batches",
    "bare": "`fit`, arrays in memory",
    "device_batches": "`fit`, batches gathered on the device",
    "one_call": "an epoch in one call, images on the device",
    "host_batches": "Bakeoff's batches, no training",
    "training": "a whole training",
}
GOAL = 10  # times its floor, for the epoch of a small network
_GAIN = 1.1  # less is no reason to change a default
_LARGE = 3  # times its floor: what computes so long is limited by something else
_PRODUCT = "product, TFLOP/s, "
_AS_IT_STANDS = {"precision": "float32", "tf32": True, "other_xla": False, "steps_per_execution": 1}

Found = Mapping[str, Any]  # a row of the record: what was asked for and what was found


def words(row: Found) -> str:
    """A row in words, for a line of progress."""
    return ", ".join(filter(None, (row["variant"], setting(row), _way(row))))


def setting(row: Found) -> str:
    """What differs from float32, one step at a time."""
    steps = row["steps_per_execution"]
    parts = [
        "" if row["precision"] == "float32" else row["precision"],
        "" if row["tf32"] else "without TF32",
        f"steps_per_execution {steps}" if steps != 1 else "",
        ("with XLA" if row["xla"] else "without XLA") if row["other_xla"] else "",
    ]
    return ", ".join(filter(None, parts))


def result(found: Found) -> str:
    """What was found, for a line of progress."""
    if "failure" in found:
        return str(found["failure"])
    if "accuracy" in found:
        return f"{found['accuracy']:.4f} on the test images after {found['seconds']:.1f} s"
    if "limits" in found:
        return "; ".join(f"{name} {value:.4g}" for name, value in found["limits"].items())
    compiled = found["compile_seconds"]
    return f"{1e3 * found['step_seconds'][0]:.3f} ms a step" + (f", compiled in {compiled:.1f} s" if compiled else "")


def lines(record: Mapping[str, Any]) -> list[str]:
    """The section."""
    rows = [row for row in record["rows"] if row["way"] not in ("machine", "training")]
    limits: dict[str, float] = next((row["limits"] for row in record["rows"] if "limits" in row), {})
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    every = [name for name in variants if any(row["way"] == "device_batches" for row in _of(rows, name))]
    others = [name for name in variants if name not in every]
    text = [
        "## On a GPU",
        "",
        *_setting_words(record),
        "",
        *_table(("the device at most", "measured"), _limits(limits)),
    ]
    text += ["", *_steps(every, rows, limits, record["images"])] if every else []
    text += ["", "The other variants that are trained from scratch:", ""] if others else []
    text += _steps(others, rows, limits, record["images"]) if others else []
    text += _trainings(record["rows"])
    text += ["", "What limits:", "", *(f"- {_limit_words(name, rows, limits)}" for name in every)] if every else []
    text += (
        ["", "What follows for defaults:", "", *_defaults(every, rows), *_goal(every, rows, limits)] if every else []
    )
    return [*text, "", f"{_where(record)}.", ""]


def _setting_words(record: Mapping[str, Any]) -> list[str]:
    missing = record["planned"] - len(record["rows"])
    text = (
        "`python -m benchmarks gpu`. Training steps on synthetic images, each row for itself: the median over "
        "chunks of steps that begin and end with the device at rest. The first chunk, in which functions are "
        "compiled, is told apart; what was compiled for an earlier row is taken from there. The floor of a step is "
        "what takes longer, of its memory traffic at the speed of a large copy, and of its arithmetic at the speed "
        "of a large product of matrices of the row's own precision (16 bits: of bfloat16). Traffic: each "
        "convolution and dense layer reads its input twice, writes its output, reads the gradient of that and "
        "writes that of its input; all else between them counts as part of them; the optimizer reads and writes "
        "variables and slots; nothing stays in a cache. Arithmetic: three forward passes. `fit` on arrays augments "
        "nothing."
    )
    said = f"{len(record['rows'])} of {record['planned']} rows were measured"
    return [
        text,
        "",
        f"{said}; {missing} were not reached in {record['minutes']:g} minutes." if missing else f"{said}.",
    ]


def _where(record: Mapping[str, Any]) -> str:
    device: dict[str, str] = next((row["device"] for row in record["rows"] if "device" in row), {})
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    kind = device.get("kind") or device.get("device") or "an unknown device"
    driver = f", driver {record['driver']}" if record["driver"] else ""
    return f"{kind}{driver}; {record['machine']}; backend {record['backend']}; {versions}; {record['date']}"


# ---------------------------------------------------------------- tables


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def _limits(limits: Mapping[str, float]) -> list[list[str]]:
    return [[name, f"{value:.4g}"] for name, value in limits.items()]


def _steps(variants: Sequence[str], rows: Sequence[Found], limits: Mapping[str, float], images: int) -> list[str]:
    head = ("variant", "setting", "way", "a step", "lowest to highest", "images/s", f"epoch of {images:,}")
    told = [_cells(row, images, rows, limits) for name in variants for row in _of(rows, name)]
    return _table((*head, "times as fast as it stands", "times its floor", "compiling"), told)


def _cells(row: Found, images: int, rows: Sequence[Found], limits: Mapping[str, float]) -> list[str]:
    start = [row["variant"], setting(row) or "as it stands", _way(row)]
    if "failure" in row:
        return [*start, f"not measured: {row['failure']}", *[""] * 6]
    (taken, low, high), size = row["step_seconds"], row["batch_size"]
    base, floor, compiled = _seconds(_find(rows, row["variant"], "ours")), floor_of(row, limits), row["compile_seconds"]
    return [
        *(*start, _ms(taken), f"{_ms(low)} to {_ms(high)}", f"{size / taken:,.0f}"),
        f"{taken * row['steps_in_epoch']:.2f} s",
        f"{base / taken:.2f}" if base else "",
        f"{taken / floor[0]:.1f} ({floor[1]})" if floor else "",
        f"{compiled:.1f} s" if compiled else "",
    ]


def _trainings(rows: Sequence[Found]) -> list[str]:
    told = [row for row in rows if row["way"] == "training"]
    if not told:
        return []
    head = ("training on real images", "epochs", "seconds", "of them not compiling", "accuracy", "of six views")
    cells = [
        [words(row), f"not measured: {row['failure']}", *[""] * 4]
        if "failure" in row
        else [
            f"{words(row)}; {row['images']:,} images, {row['test_images']:,} tested",
            *(f"{row['epochs']}", f"{row['seconds']:.1f} s", f"{row['seconds_without_compiling']:.1f} s"),
            *(f"{row['accuracy']:.4f}", f"{row['accuracy_of_views']:.4f}"),
        ]
        for row in told
    ]
    return ["", *_table(head, cells)]


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f} ms"


def _way(row: Found) -> str:
    return WAYS[row["way"]] + (", images on the device" if row["on_device"] else "")


# ---------------------------------------------------------------- what the figures say


def floor_of(row: Found, limits: Mapping[str, float]) -> tuple[float, str] | None:
    """The least seconds of a row's step, and of what: memory or arithmetic."""
    exact = "float32 as it stands" if row["tf32"] else "float32 without TF32"
    product = _PRODUCT + (exact if row["precision"] == "float32" else "bfloat16")
    copy = "copy, GB/s read and written"
    if row["way"] == "host_batches" or product not in limits or copy not in limits:
        return None
    parts = (row["gigabytes"] / limits[copy], "memory"), (row["gflop"] / 1e3 / limits[product], "arithmetic")
    return max(parts)


def _of(rows: Sequence[Found], variant: str) -> list[Found]:
    return [row for row in rows if row["variant"] == variant]


def _find(rows: Sequence[Found], variant: str, way: str, **settings: Any) -> Found | None:
    """The measured row of a variant that differs in these settings alone from the variant as it stands."""
    wanted = {"way": way, **_AS_IT_STANDS, **settings}
    found = (row for row in _of(rows, variant) if all(row[name] == value for name, value in wanted.items()))
    return next((row for row in found if "failure" not in row), None)


def _seconds(row: Found | None) -> float | None:
    return row["step_seconds"][0] if row else None


def _limit_words(variant: str, rows: Sequence[Found], limits: Mapping[str, float]) -> str:
    """Where the time of a variant's step goes."""
    ours, host, device, one = (
        _find(rows, variant, way) for way in ("ours", "host_batches", "device_batches", "one_call")
    )
    if ours is None:
        return f"{variant}: not measured as it stands."
    step, batches, fed, alone = map(_seconds, (ours, host, device, one))
    assert step is not None
    parts = [f"{variant}: {_ms(step)} a step as it stands"]
    parts += [f"{_ms(batches)} for a batch on the host alone"] if batches else []
    parts += [f"{_ms(fed)} in `fit` with batches gathered on the device"] if fed else []
    parts += [f"{_ms(alone)} in one call"] if alone else []
    floor = floor_of(ours, limits)
    parts += [f"at least {_ms(floor[0])} by its {floor[1]}"] if floor else []
    return f"{', '.join(parts)}. {_verdict(step, batches, alone or fed, floor)}"


def _verdict(step: float, batches: float | None, best: float | None, floor: tuple[float, str] | None) -> str:
    if batches and batches > 0.8 * step:
        return "The input pipeline on the host limits."
    if best and step > 2 * best:
        return "What surrounds a step limits: Python, handing over, and batches from the host."
    if floor and step > _LARGE * floor[0]:
        return "The device limits, by operations too small to fill it."
    return f"The device limits, by {floor[1]}." if floor else "The device limits."


def _defaults(variants: Sequence[str], rows: Sequence[Found]) -> list[str]:
    """A sentence for each setting and way: how many times as fast it makes the variants."""
    comparisons: list[tuple[str, str, dict[str, Any], str]] = [
        ("steps_per_execution 10", "ours", {"steps_per_execution": 10}, "ours"),
        ("steps_per_execution 50", "ours", {"steps_per_execution": 50}, "ours"),
        ("mixed_bfloat16, as it stands", "ours", {"precision": "mixed_bfloat16"}, "ours"),
        ("mixed_bfloat16, in one call", "one_call", {"precision": "mixed_bfloat16"}, "one_call"),
        ("mixed_float16, as it stands", "ours", {"precision": "mixed_float16"}, "ours"),
        ("float32 without TF32, batches gathered on the device", "device_batches", {"tf32": False}, "device_batches"),
        ("batches gathered on the device", "device_batches", {}, "ours"),
        ("an epoch in one call", "one_call", {}, "ours"),
        ("XLA the other way", "ours", {"other_xla": True}, "ours"),
        ("Bakeoff's batches against `fit` on arrays", "ours", {}, "bare"),
    ]
    told = []
    for name, way, settings, against in comparisons:
        ratios = []
        for variant in variants:
            new, old = _seconds(_find(rows, variant, way, **settings)), _seconds(_find(rows, variant, against))
            ratios += [old / new] if new and old else []
        if ratios:
            told.append(f"- {name}: {_range(ratios)} times as fast ({len(ratios)} variants). {_advice(ratios)}")
    return told


def _range(ratios: Sequence[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"


def _advice(ratios: Sequence[float]) -> str:
    if min(ratios) >= _GAIN:
        return "It speeds up each of them."
    if statistics.geometric_mean(ratios) >= _GAIN:
        return "It pays for some of them."
    return "No reason to change a default."


def _goal(variants: Sequence[str], rows: Sequence[Found], limits: Mapping[str, float]) -> list[str]:
    """How near each variant comes to its floor."""
    told = []
    for variant in variants:
        near = [
            (row["step_seconds"][0] / floor[0], words(row))
            for row in _of(rows, variant)
            if "failure" not in row and (floor := floor_of(row, limits))
        ]
        if near:
            times, which = min(near)
            kept = "kept" if times <= GOAL else "MISSED"
            told.append(f"- nearest to its floor: {which}: **{times:.1f}** times (at most {GOAL}: {kept})")
    return told
