"""Hidden cases are found in a module or a package of the notebook's name, in whichever folder is named."""

from __future__ import annotations

import pytest

from dlcvkit.checking import SpecsNotFound, find_exercise
from dlcvkit.checking.specs import SPECS_VARIABLE, load_hidden, specs_folder

ID = "a1/predict_labels"
HIDDEN = "from dlcvkit.checking import Hidden\n\npredict_labels = Hidden(mutants={%r: lambda *a: None})\n"


@pytest.fixture
def notebook():
    return find_exercise(ID).notebook


def test_a_module_is_read(tmp_path, notebook):
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1" / f"{notebook}.py").write_text(HIDDEN % "one", encoding="utf-8")
    assert list(load_hidden(ID, tmp_path).mutants) == ["one"]


def test_a_package_is_read_with_its_modules(tmp_path, notebook):
    home = tmp_path / "a1" / notebook
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("from .voting import predict_labels\n", encoding="utf-8")
    (home / "voting.py").write_text(HIDDEN % "two", encoding="utf-8")
    assert list(load_hidden(ID, tmp_path).mutants) == ["two"]


def test_two_folders_do_not_mix(tmp_path, notebook):
    for name in ("first", "second"):
        home = tmp_path / name / "a1" / notebook
        home.mkdir(parents=True)
        (home / "__init__.py").write_text("from .voting import predict_labels\n", encoding="utf-8")
        (home / "voting.py").write_text(HIDDEN % name, encoding="utf-8")
    for name in ("first", "second", "first"):
        assert list(load_hidden(ID, tmp_path / name).mutants) == [name]


def test_what_is_missing_is_named(tmp_path, notebook, monkeypatch):
    with pytest.raises(SpecsNotFound, match="no hidden cases for a1/predict_labels"):
        load_hidden(ID, tmp_path)
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1" / f"{notebook}.py").write_text("predict_labels = 3\n", encoding="utf-8")
    with pytest.raises(SpecsNotFound, match="defines no Hidden named predict_labels"):
        load_hidden(ID, tmp_path)
    monkeypatch.setenv(SPECS_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(SpecsNotFound, match="is no folder"):
        specs_folder()
