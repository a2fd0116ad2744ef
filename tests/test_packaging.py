"""The package list, the wheel away from the checkout, light imports, nothing that ties us to one machine."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = re.compile(r"^(\.git|\.venv.*|build|dist|__pycache__|\..*_cache|\.hypothesis|.*\.egg-info)$")
BUILD_INPUTS = ("setup.cfg", "pyproject.toml", "LICENSE", "README.md")


def read_setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def mapped_folders() -> dict[str, Path]:
    """Return {"lnnc.templates": ROOT/templates, ...} from setup.cfg's package_dir."""
    lines = read_setup_cfg()["options"]["package_dir"].strip().splitlines()
    pairs = (line.split("=") for line in lines)
    return {package.strip(): ROOT / folder.strip() for package, folder in pairs}


def project_files(top: Path = ROOT) -> Iterator[Path]:
    """Walk what belongs to the project: no virtual environment, no cache, no build output."""
    for path in sorted(top.iterdir()):
        if NOT_OURS.match(path.name):
            continue
        if path.is_dir():
            yield from project_files(path)
        elif path.is_file():
            yield path


def packages_in(folder: Path, name: str) -> Iterator[str]:
    """Name the packages of a folder that is installed as package `name`."""
    for path in project_files(folder):
        if path.name == "__init__.py":
            yield ".".join([name, *path.relative_to(folder).parent.parts])


# --- the list in setup.cfg against the tree ---


def test_package_list_equals_the_tree() -> None:
    listed = read_setup_cfg()["options"]["packages"].split()
    tree = set(packages_in(ROOT / "lnnc", "lnnc"))
    for name, folder in mapped_folders().items():
        tree |= set(packages_in(folder, name))
    assert listed == sorted(tree)


def test_every_folder_of_python_files_is_a_package() -> None:
    folders = {path.parent for path in project_files(ROOT / "lnnc") if path.suffix == ".py"}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_a_mapped_folder_is_a_package() -> None:
    """Without an __init__.py an editable install loses the folder."""
    assert [name for name, folder in mapped_folders().items() if not (folder / "__init__.py").exists()] == []


# --- the wheel, installed where no file of the checkout can help it ---


class Installed(NamedTuple):
    """A virtual environment outside the checkout that holds lnnc's wheel."""

    wheel: Path
    bin: Path
    cwd: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's commands; no variable or folder leads back to the checkout."""
        left_out = ("PYTHON", "VIRTUAL_ENV")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
        path = os.pathsep.join([str(self.bin), os.environ["PATH"]])
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.cwd,
            env={**kept, "PATH": path, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )


def build_wheel(work: Path) -> Path:
    """Build from a copy: an old build/ folder in the checkout would lend the wheel files that are gone."""
    source = work / "source"
    source.mkdir()
    for name in BUILD_INPUTS:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    for folder in [ROOT / "lnnc", *mapped_folders().values()]:
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__", "build"))
    options = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(work / "dist"), str(source)]
    done = subprocess.run([sys.executable, *options], cwd=work, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (work / "dist").glob("lnnc-*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path) -> Path:
    """Make a virtual environment that holds the wheel and borrows our dependencies; return its bin folder.

    The dependencies come through a .pth file that names the running environment's site-packages, so that
    torch (hundreds of megabytes) is not installed again. Python reads no .pth file of a folder added that
    way: the editable install of the checkout, which is such a file, stays out of reach. The wheel goes in
    first, or pip would find lnnc installed already.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    install = [*pip, "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (site_packages,) = folder.glob("lib/python*/site-packages")
    borrowed = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    (site_packages / "borrowed.pth").write_text("\n".join(dict.fromkeys(borrowed)) + "\n", encoding="utf-8")
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    work = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(work)
    cwd = work / "elsewhere"
    cwd.mkdir()
    return Installed(wheel, make_environment(work / "venv", wheel), cwd)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


class TestWheel:
    def test_holds_every_file_of_the_mapped_folders(self, installed: Installed) -> None:
        packed = set(zipfile.ZipFile(installed.wheel).namelist())
        expected = {
            "/".join([*name.split("."), *path.relative_to(folder).parts])
            for name, folder in mapped_folders().items()
            for path in project_files(folder)
            if name != "lnnc.examples"
        }
        assert sorted(expected - packed) == []

    def test_holds_the_example_model_and_the_type_marker(self, installed: Installed) -> None:
        packed = set(zipfile.ZipFile(installed.wheel).namelist())
        assert {"lnnc/examples/soh/student.pt", "lnnc/examples/core_temperature/core.pt", "lnnc/py.typed"} <= packed

    def test_is_what_is_imported_there(self, installed: Installed) -> None:
        done = installed.run("python", "-c", "import lnnc; print(lnnc.__file__, lnnc.__version__)")
        assert done.returncode == 0, done.stderr
        file, version = done.stdout.split()
        assert Path(file).is_relative_to(installed.bin.parent)
        assert installed.wheel.name.startswith(f"lnnc-{version}-")

    @pytest.mark.needs("gcc")
    def test_demo_passes(self, installed: Installed) -> None:
        done = installed.run("lnnc", "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        assert last_line(done.stdout).startswith("PASS"), done.stdout

    @pytest.mark.needs("gcc")
    def test_verify_passes(self, installed: Installed) -> None:
        where = "from lnnc.resources import example_path; print(example_path('soh/student.pt'))"
        model = installed.run("python", "-c", where).stdout.strip()
        assert Path(model).is_relative_to(installed.bin.parent)
        done = installed.run("lnnc", "verify", model, "--on", "host")
        assert done.returncode == 0, done.stdout + done.stderr
        assert last_line(done.stdout).startswith("PASS"), done.stdout


# --- light imports ---

HEAVY = ("torch", "numpy", "jinja2", "safetensors", "h5py", "serial", "unicorn", "elftools")


@pytest.mark.parametrize("module", ["lnnc", "lnnc.cli"])
def test_import_stays_light(module: str) -> None:
    """`lnnc --help` answers at once because this import pulls in nothing heavy."""
    code = f"import {module}, sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_every_public_name_can_be_imported() -> None:
    import lnnc

    assert [name for name in lnnc.__all__ if not hasattr(lnnc, name)] == []
    assert set(lnnc.__all__) <= set(dir(lnnc))


def test_an_unknown_name_is_an_attribute_error() -> None:
    import lnnc

    with pytest.raises(AttributeError, match="nonsense"):
        lnnc.nonsense  # noqa: B018


# --- nothing that holds on one machine only ---


def foreign_words() -> list[str]:
    """Paths of this machine and hosts of registries, put together here so that this file holds none."""
    homes = ["/" + "home/", "/" + "root/", "/" + "work/", "/" + "opt/", "/" + "tmp/"]
    here = [str(ROOT), str(Path.home())]
    hosts = ["py" + "pi.org", "python" + "hosted.org", "pytorch" + ".org", "registry." + "npmjs"]
    hosts += ["deb." + "debian.org", "archive." + "ubuntu.com"]
    return homes + [path for path in here if path.count("/") > 1] + hosts


def test_no_file_names_a_path_of_this_machine_or_a_registry() -> None:
    # A path counts where it begins: not inside a longer relative path or an address.
    found = re.compile("|".join(rf"(?<![\w.]){re.escape(word)}" for word in foreign_words()))
    hits = []
    for path in project_files():
        data = path.read_bytes()
        if b"\0" in data or path.name == "LICENSE":
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if found.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert hits == []


def test_constraints_pin_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin)] == []
    assert pins == sorted(pins)
    assert "torch==2.13.0" in pins
