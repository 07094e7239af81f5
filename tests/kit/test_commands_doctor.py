"""``dlcvkit doctor``: every line can be ok, and every line can be something else."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib.metadata import version

import pytest

from dlcvkit.commands import doctor

Usage = namedtuple("Usage", "total used free")


def signs(folder):
    return {sign.name: sign for sign in doctor.examine(folder)}


def test_a_sound_installation_has_no_failing_sign(command):
    code, out, err = command("doctor")
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines() if line[0] != " "][:4] == [
        "python",
        "torch",
        "jupyter",
        "versions",
    ]


def test_json_holds_every_sign_with_its_status(command):
    code, out, _ = command("doctor", "--json")
    told = json.loads(out)
    assert code == 0 and told["ok"] is True
    assert {sign["name"] for sign in told["signs"]} >= {"python", "torch", "jupyter", "versions", "data", "disk"}
    assert all(sign["status"] in ("ok", "warn", "fail") and sign["found"] for sign in told["signs"])


def test_a_python_too_old_fails_with_exit_code_1(command, monkeypatch):
    monkeypatch.setattr(doctor, "PYTHON", (9, 9))
    code, out, _ = command("doctor")
    assert code == 1
    assert "install Python 9.9 or newer" in out


def test_a_broken_torch_is_told_and_the_rest_is_still_looked_at(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    run = subprocess.run(
        [sys.executable, "-c", "from dlcvkit.cli import main; main(['doctor'])"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stderr
    assert "fail  torch     cannot be imported: ImportError: libtorch_cpu.so" in run.stdout
    assert "disk" in run.stdout and run.stderr == ""


def test_versions_are_compared_with_the_constraints_of_the_course(tmp_path):
    (tmp_path / "MANIFEST.sha256").touch()
    (tmp_path / "constraints.txt").write_text(f"# pins\nnumpy=={version('numpy')}\nnot-installed==1\nrich==0.0.1\n")
    found = signs(tmp_path)["versions"]
    assert found.status == "warn"
    assert found.found == f"rich {version('rich')} (tried with 0.0.1)"
    (tmp_path / "constraints.txt").write_text(f"numpy=={version('numpy')}+cpu\n")
    assert signs(tmp_path)["versions"].found.startswith("1 packages as in ")
    (tmp_path / "constraints.txt").write_text("nothing\n")
    assert signs(tmp_path)["versions"].status == "warn"


def test_a_constraints_file_that_is_not_the_course_s_is_left_alone(tmp_path):
    (tmp_path / "constraints.txt").write_text("rich==0.0.1\n")
    assert doctor.find_constraints(tmp_path) is None


@pytest.mark.parametrize(("free", "status"), [(2**40, "ok"), (2**30, "warn"), (2**20, "fail")])
def test_the_disk_is_judged_by_what_is_free(tmp_path, monkeypatch, free, status):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**41, 0, free))
    assert signs(tmp_path)["disk"].status == status


def test_damaged_data_are_told_and_missing_data_are_not_a_fault(tmp_path, monkeypatch):
    from dlcvkit.data.manifest import load_manifest

    monkeypatch.setenv("DLCVKIT_DATA", str(tmp_path))
    assert signs(tmp_path)["data"].status == "ok"
    file = load_manifest()["cifar10"].files[0]
    archive = tmp_path / file.folder / file.name
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(b"cut short")
    found = [sign for sign in doctor.examine(tmp_path) if sign.name == "data"]
    assert [sign.status for sign in found] == ["warn", "ok"]
    assert found[0].advice == "dlcvkit data cifar10 mends it"


def test_a_missing_jupyter_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert signs(tmp_path)["jupyter"].status == "warn"
