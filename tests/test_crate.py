"""The crate beside a report: that it holds together and tells the truth, and that --check-report finds what is off."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bakeoff.errors import RequestError
from bakeoff.report.check import _section_ids, check_report
from bakeoff.report.crate import COPY, METADATA
from bakeoff.report.merge import Merger
from bakeoff.store import Store, digest_file, write_manifest
from bakeoff.store.last_made import LastMade
from tests.stubs import StubProject, commit

NAME = "smoke-selection"
ROOT_NEEDS = ("name", "description", "datePublished", "license", "hasPart", "mentions", "conformsTo")


@pytest.fixture
def folder(stub_run: tuple[StubProject, Path], tmp_path: Path) -> Path:
    """A copy of a finished report's folder, far from its store."""
    return Path(shutil.copytree(stub_run[1] / "reports" / NAME, tmp_path / "sent"))


@pytest.fixture
def crate(folder: Path) -> dict[str, dict[str, Any]]:
    """@id -> entity."""
    graph = json.loads((folder / METADATA).read_text())["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        assert set(value) == {"@id"}, "entities are flat"
        yield value["@id"]
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _actions(crate: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entity["name"]: entity for entity in crate.values() if entity["@type"] == "CreateAction"}


def test_both_names_hold_the_same_bytes_and_the_descriptor_is_the_standards(folder: Path) -> None:
    assert (folder / METADATA).read_bytes() == (folder / COPY).read_bytes()
    document = json.loads((folder / METADATA).read_text())
    assert document["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    descriptor = document["@graph"][0]
    assert descriptor["@id"] == "ro-crate-metadata.json" and descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert descriptor["about"] == {"@id": "./"}


def test_every_reference_leads_somewhere_and_every_entity_is_referred_to(crate: dict[str, dict[str, Any]]) -> None:
    referred = {name for entity in crate.values() for key, value in entity.items() for name in _references(value)}
    assert referred - set(crate) == {"https://w3id.org/ro/crate/1.1"}
    assert set(crate) - referred == {METADATA}


def test_required_properties_are_there(crate: dict[str, dict[str, Any]]) -> None:
    root = crate["./"]
    assert root["@type"] == "Dataset" and all(root.get(name) for name in ROOT_NEEDS)
    assert root["conformsTo"]["@id"] == "https://w3id.org/ro/wfrun/process/0.5"
    assert crate[root["conformsTo"]["@id"]]["@type"] == "CreativeWork"
    for entity in crate.values():
        assert entity.get("name") or entity["@id"] == METADATA, entity
        if entity["@type"] == "CreateAction":
            kind = crate[entity["instrument"]["@id"]]["@type"]
            assert kind in ("SoftwareSourceCode", "SoftwareApplication")
            assert entity in [crate[each["@id"]] for each in root["mentions"]]
            assert datetime.fromisoformat(entity["endTime"]) >= datetime.fromisoformat(
                entity.get("startTime", entity["endTime"])
            )
        if entity["@type"] == "PropertyValue":
            assert "value" in entity


def test_files_of_the_folder_are_named_with_their_digests(folder: Path, crate: dict[str, dict[str, Any]]) -> None:
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    files = {unquote(name): entity for name, entity in crate.items() if entity["@type"] == "File"}
    assert set(files) == there - {METADATA, ".built.json"}
    assert {"report.html", "report.pdf", "results.csv", "claims.csv", "notebooks/stub_1/train.ipynb"} <= set(files)
    for name, entity in files.items():
        assert {"@id": entity["@id"]} in crate["./"]["hasPart"]
        if name != COPY:
            assert entity["sha256"] == digest_file(folder / name)
            assert int(entity["contentSize"]) == (folder / name).stat().st_size


def test_an_action_tells_what_the_store_knows(
    stub_run: tuple[StubProject, Path], crate: dict[str, dict[str, Any]]
) -> None:
    runs = stub_run[1] / "runs"
    actions = _actions(crate)
    assert len(actions) == 13  # five stages of two variants, background, comparison, and the report
    key = LastMade(runs).key("stub_1", "train")
    manifest = json.loads((runs / "train" / key[:32] / "step.json").read_text())
    train = actions["train of stub_1"]
    assert train["@id"] == f"#train/{key}"
    used = [crate[each["@id"]] for each in train["object"]]
    values = {each["name"]: each["value"] for each in used if each["@type"] == "PropertyValue"}
    assert values["learning_rate"] == manifest["parameters"]["learning_rate"]
    assert values["seed"] == 1 and values["threads"] == manifest["key_inputs"]["settings"]["threads"]
    assert set(manifest["parameters"]) | set(manifest["key_inputs"]["settings"]) == set(values)
    load = json.loads((runs / "load" / manifest["inputs"]["load"][:32] / "step.json").read_text())
    digests = {each["sha256"] for each in used if "sha256" in each}
    assert {digest for name, (digest, _) in load["files"].items() if name != "notebook.ipynb"} <= digests
    made = {crate[each["@id"]]["sha256"] for each in train["result"]}
    stored = {digest for name, (digest, _) in manifest["files"].items() if name != "notebook.ipynb"}
    copy = digest_file(stub_run[1] / "reports" / "smoke-selection" / "notebooks" / "stub_1" / "train.ipynb")
    assert made == stored | {copy}  # the copy is masked: other bytes than the store's
    (usage,) = _listed(train["resourceUsage"])
    assert crate[usage["@id"]]["value"] == manifest["seconds"]
    assert datetime.fromisoformat(train["endTime"]) == datetime.fromisoformat(manifest["finished"])


def test_the_date_is_that_of_the_newest_step(crate: dict[str, dict[str, Any]]) -> None:
    ends = [action["endTime"] for action in _actions(crate).values()]
    assert crate["./"]["datePublished"] == max(ends)


def test_the_crate_is_written_again_with_the_same_bytes_when_it_is_gone_or_changed(
    stub_run: tuple[StubProject, Path], tmp_path: Path
) -> None:
    project, whole = stub_run
    place = Path(shutil.copytree(whole, tmp_path / "place"))
    path = place / "reports" / NAME / COPY
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    (path.parent / METADATA).unlink()
    code, said = project.run(place, ["stub_0", "stub_1"])
    assert code == 0 and "0 to run" not in said, said
    assert path.read_bytes() == before == (path.parent / METADATA).read_bytes()
    (path.parent / "report.pdf").unlink()
    code, said = project.run(place, ["stub_0", "stub_1"], "--no-pdf")
    assert code == 0 and "report.pdf" not in path.read_text(), said
    assert _faults(path.parent) == []


# Each step from its own record


def _again(project: StubProject, place: Path, ends: int = 0, says: str = "Report written") -> dict[str, dict[str, Any]]:
    """The crate of a report that is written anew."""
    (place / "reports" / NAME / ".built.json").unlink()
    code, said = project.run(place, ["stub_0", "stub_1"], "--no-pdf")
    assert code == ends and says in said, said
    graph = json.loads((place / "reports" / NAME / METADATA).read_text())["@graph"]
    return {entity["@id"]: entity for entity in graph}


def test_software_and_device_are_those_that_each_step_recorded(
    stub_run: tuple[StubProject, Path], tmp_path: Path
) -> None:
    """On the code before, all steps had the packages and the revision of the hour in which the report was written."""
    project, whole = stub_run
    place = Path(shutil.copytree(whole, tmp_path / "place"))
    runs = place / "runs"
    key = LastMade(runs).key("stub_1", "train")
    folder = runs / "train" / key[:32]
    manifest = json.loads((folder / "step.json").read_text())
    now = manifest["software"]["packages"]["keras"]
    manifest["software"] = {"revision": "0123abc", "packages": {"keras": "2.0"}}
    manifest["machine"] |= {"measured": {"device": "gpu", "kind": "a kind of GPU"}}
    write_manifest(folder, manifest)
    crate = _again(project, place)
    train, other = (_actions(crate)[f"train of stub_{number}"] for number in (1, 0))
    assert "on a kind of GPU," in train["description"] and "GPU" not in other["description"]
    notebook = crate[train["instrument"]["@id"]]
    software = crate[notebook["isPartOf"]["@id"]]
    assert software["softwareVersion"] == "0123abc"
    assert [crate[each["@id"]]["softwareVersion"] for each in _listed(software["softwareRequirements"])] == ["2.0"]
    others = crate[crate[other["instrument"]["@id"]]["isPartOf"]["@id"]]
    packages = {crate[each["@id"]]["name"]: crate[each["@id"]] for each in others["softwareRequirements"]}
    assert packages["keras"]["softwareVersion"] == now and others["softwareVersion"] != "0123abc"
    page = (place / "reports" / NAME / "report.html").read_text()
    assert re.search(rf"<th[^>]*>keras</th><td>2\.0 \(1 step\), {re.escape(now)} \(\d+ steps\)</td>", page)
    assert "0123abc (1 step)" in page


def test_shared_features_are_an_input_of_the_trainings_that_used_them(
    stub_run: tuple[StubProject, Path], tmp_path: Path
) -> None:
    project, whole = stub_run
    place = Path(shutil.copytree(whole, tmp_path / "place"))
    store = Store(place / "runs")
    for number in range(2):
        key = LastMade(store.root).key(f"stub_{number}", "train")
        folder = store.folder("train", key)
        summary = json.loads((folder / "training.json").read_text())
        (folder / "training.json").write_text(json.dumps(summary | {"feature_files": {"features-1.npz": "a" * 64}}))
        commit(store, "train", key, store.read_manifest("train", key) or {})
    crate = _again(project, place)
    (features,) = (each for each in crate.values() if each.get("name") == "features-1.npz")
    assert features["sha256"] == "a" * 64
    for number in range(2):
        assert {"@id": features["@id"]} in _actions(crate)[f"train of stub_{number}"]["object"]


def test_an_execution_that_failed_is_there_with_its_message(stub_run: tuple[StubProject, Path], tmp_path: Path) -> None:
    project, place = StubProject(Path(shutil.copytree(stub_run[0].root, tmp_path / "project"))), tmp_path / "place"
    shutil.copytree(stub_run[1], place)
    path = project.root / "notebooks" / "5_train.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][-1]["source"] = "if seed == 1:\n    raise ValueError('no luck')\n" + "".join(
        notebook["cells"][-1]["source"]
    )
    path.write_text(json.dumps(notebook))
    crate = _again(project, place, 1, "Not finished: stub_1")
    actions = _actions(crate)
    failed = [each for each in actions.values() if each["actionStatus"].endswith("FailedActionStatus")]
    assert [each["name"] for each in failed] == ["train of stub_1"]  # and not its evaluation, which was left out
    assert failed[0]["error"].endswith("no luck") and "result" not in failed[0]
    assert datetime.fromisoformat(failed[0]["endTime"]) and failed[0] in [
        crate[each["@id"]] for each in crate["./"]["mentions"]
    ]
    assert "evaluate of stub_1" not in actions and "evaluate of stub_0" in actions
    folder = place / "reports" / NAME
    assert _faults(folder) == []
    with (folder / "results.csv").open(newline="") as stream:
        rows = {row["variant"]: row for row in csv.DictReader(stream)}
    assert (rows["stub_0"]["status"], rows["stub_1"]["status"]) == ("ok", "failed")
    assert rows["stub_1"]["message"].endswith("no luck")
    page = (folder / "report.html").read_text()
    links = re.findall(r'href="(notebooks/[^"]+)"', page)
    assert 'id="variant-stub-1"' in page and "no luck" in page
    assert links and all((folder / link).is_file() for link in links)


def test_replicates_are_rows_with_seeds_of_their_own_and_share_a_chapter(
    stub_run: tuple[StubProject, Path], tmp_path: Path
) -> None:
    project, place = stub_run[0], Path(shutil.copytree(stub_run[1], tmp_path / "place"))
    code, said = project.run(place, ["stub_0"], "--set", "replicates=2", "--set", "max_replicates=2")
    assert code == 0, said
    folder = place / "reports" / NAME
    with (folder / "results.csv").open(newline="") as stream:
        assert [row["seed"] for row in csv.DictReader(stream)] == ["0", "1"]
    page = (folder / "report.html").read_text()
    assert page.count('<h3 id="variant-') == 1 and 'id="variant-stub-0"' in page
    assert "stub_0 (seed 1)" in page and "(mean of 2)" in page and "notebooks/stub_0-1/train.ipynb" in page
    assert {path.name for path in (folder / "notebooks").iterdir()} == {"stub_0", "stub_0-1"}
    assert (folder / "report.pdf").is_file() and _faults(folder) == []


# --check-report


def _faults(folder: Path) -> list[str]:
    said: list[str] = []
    code = check_report(folder, said.append)
    lines = "\n".join(said).splitlines()
    assert code == (0 if lines[-1].endswith("no other is there.") else 1)
    return lines if code else []


def test_a_whole_report_passes_far_from_its_store(folder: Path) -> None:
    assert _faults(folder) == []


@pytest.mark.parametrize("name", ["report.html", "report.pdf", "claims.csv", "notebooks/stub_0/train.ipynb"])
def test_a_changed_or_missing_file_is_named(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as stream:
        stream.write(b"\n")
    assert f"{name} has other bytes than those recorded" in _faults(folder)
    (folder / name).unlink()
    assert f"{name} is gone" in _faults(folder)


def test_a_file_that_nobody_named_is_found(folder: Path) -> None:
    (folder / "notebooks" / "stub_0" / "extra.ipynb").write_text("{}")
    (folder / "link").symlink_to("/etc/hostname")
    assert _faults(folder) == [
        f"link is not named in {METADATA}",
        f"notebooks/stub_0/extra.ipynb is not named in {METADATA}",
    ]


def test_what_systems_leave_in_folders_is_named_and_not_held_against_a_report(folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "notebooks" / "stub_0" / ".ipynb_checkpoints").mkdir()
    (folder / "notebooks" / "stub_0" / ".ipynb_checkpoints" / "train-checkpoint.ipynb").write_bytes(b"{}")
    said: list[str] = []
    assert check_report(folder, said.append) == 0
    assert ".DS_Store" in said[0] and "train-checkpoint.ipynb" in said[0]
    (folder / ".DS_Store.exe").write_bytes(b"x")
    assert check_report(folder, said.append) == 1


def test_replicates_and_odd_names_have_their_sections() -> None:
    rows = [
        {"variant": "ann", "seed": "0", "replicate": "0"},
        {"variant": "ann", "seed": "1", "replicate": "1"},
        {"variant": "My__Net_", "seed": "0", "replicate": "0"},
        {"variant": "my_net", "seed": "0", "replicate": "0"},
    ]
    ids = _section_ids(rows)
    assert ids == {"ann": "ann", "ann (seed 1)": "ann-seed-1", "My__Net_": "my-net", "my_net": "my-net-2"}
    merger = Merger()
    made = [merger.heading(3, f"{name}: a title", f"variant-{name}") for name in ids]
    assert made == [f"variant-{identifier}" for identifier in ids.values()]


def _rewrite(folder: Path, change: Any) -> None:
    """Change the crate under both names, as somebody would who wants to deceive."""
    document = json.loads((folder / METADATA).read_text())
    change({entity["@id"]: entity for entity in document["@graph"]})
    for name in (METADATA, COPY):
        (folder / name).write_text(json.dumps(document))


def _digest(folder: Path, *names: str) -> None:
    _rewrite(folder, lambda crate: [crate[name].update(sha256=digest_file(folder / name)) for name in names])


def test_a_number_changed_in_the_table_alone_is_found_even_with_its_digest(folder: Path) -> None:
    table = folder / "results.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[1]["test_accuracy"] = "0.987"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _digest(folder, "results.csv")
    (fault,) = _faults(folder)
    assert re.fullmatch(r"stub_1: test accuracy \d+\.\d % in report.html, 98.70 % in results.csv", fault)


def test_a_row_or_a_section_too_many_is_found(folder: Path) -> None:
    table, page = folder / "results.csv", folder / "report.html"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith("stub_1")))
    _digest(folder, "results.csv")
    assert _faults(folder) == ["results.csv has no row of stub-1, a section of report.html"]
    page.write_text(page.read_text().replace('id="variant-stub-0"', 'id="variant-other"'))
    _digest(folder, "report.html")
    faults = _faults(folder)
    assert "report.html has no section of stub_0, a row of results.csv" in faults
    table.write_bytes(b"\xff\xfe")
    _digest(folder, "results.csv")
    assert "results.csv or report.html cannot be read" in _faults(folder)


def test_a_crate_that_differs_from_its_copy_or_hides_something_is_found(folder: Path) -> None:
    (folder / COPY).write_text((folder / COPY).read_text() + " ")
    assert _faults(folder) == [f"{METADATA} and {COPY} are not the same bytes"]
    _rewrite(folder, lambda crate: crate["claims.csv"].pop("sha256"))
    assert _faults(folder) == ["claims.csv has no recorded digest"]
    _rewrite(folder, lambda crate: crate["claims.csv"].update({"@id": "../claims.csv"}))
    assert "../claims.csv is named in ro-crate-metadata.json and lies outside the folder, or behind a link" in _faults(
        folder
    )
    _rewrite(folder, lambda crate: crate["report.html"].update({"@type": "CreativeWork"}))
    assert f"report.html is not named in {METADATA}" in _faults(folder)


def test_a_report_behind_a_link_is_not_read(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "notebooks", tmp_path / "elsewhere")
    (folder / "notebooks").symlink_to(tmp_path / "elsewhere")
    assert any("behind a link" in fault for fault in _faults(folder))


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"@graph": 5}', '{"@graph": [5]}', '{"profile": "smoke"}'])
def test_a_folder_that_is_no_report_is_exit_code_2(folder: Path, content: str | None) -> None:
    for name in (METADATA, COPY):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_text(content)
    with pytest.raises(RequestError, match="is no report") as caught:
        _faults(folder)
    assert caught.value.exit_code == 2


def test_the_command_checks_a_folder(stub_run: tuple[StubProject, Path], folder: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, str(stub_run[0].root / "pipeline.py"), "--check-report"]
    done = [
        subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60, check=False)
        for path in (folder, folder.parent)
    ]
    assert done[0].returncode == 0 and "files are as recorded, and no other is there." in done[0].stdout
    assert done[1].returncode == 2 and "is no report" in done[1].stderr
