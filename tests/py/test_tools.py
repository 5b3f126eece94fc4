"""The project's own tools: what get-python does when things go wrong, and what count-tests adds."""

import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"

FAKE_APT_GET = """\
#!/bin/sh
# What get-python asks of apt-get, with packages that do not exist.
echo "$*" >>"$FAKE_LOG"
case "$*" in
update*) exit "${FAKE_UPDATE:-0}" ;;
*--simulate*) printf 'Inst python3.14 (3.14.8-1)\\nInst libffi8 (3)\\nInst libc6-dev (2)\\n' ;;
*--print-uris*)
    shift 2
    for name; do echo "'http://mirror.invalid/$name' ${name}_1_amd64.deb 10 SHA256:0"; done ;;
download*libffi8*) echo "E: Failed to fetch libffi8: hash mismatch" >&2; exit 100 ;;
download*) ;;
*) echo "unexpected: $*" >&2; exit 2 ;;
esac
"""

FAKE_APT_CONFIG = """\
#!/bin/sh
printf 'Dir "/";\\nDir::Etc "%s";\\n' "$FAKE_ETC"
printf 'Dir::Etc::sourcelist "sources.list";\\nDir::Etc::sourceparts "sources.list.d";\\n'
"""

DEB822 = """\
# a comment
Types: deb
URIs: http://security.invalid/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/some.gpg
"""

ONE_LINE = """\
# deb http://commented.invalid/debian bookworm main
deb-src http://source.invalid/debian bookworm main
deb http://security.invalid/debian-security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/other.gpg] http://list.invalid/debian bookworm main
"""


def load(name: str) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(TOOLS / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


class Checkout:
    """A folder with get-python in it, and an apt that reaches nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / ".pythons"
        self.etc = folder / "etc"
        self.log = folder / "log"
        self.bin = folder / "bin"
        (folder / "tools").mkdir()
        shutil.copy(TOOLS / "get-python", folder / "tools")
        self.bin.mkdir()
        for name, text in (("apt-get", FAKE_APT_GET), ("apt-config", FAKE_APT_CONFIG)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        for name in ("sh", "dpkg-deb", "gcc"):
            if path := shutil.which(name):
                (self.bin / name).symlink_to(path)
        (self.etc / "sources.list.d").mkdir(parents=True)
        (self.etc / "sources.list.d/debian.sources").write_text(DEB822)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "tools/get-python", *arguments],
            cwd=self.folder,
            env={
                "PATH": str(self.bin),
                "FAKE_LOG": str(self.log),
                "FAKE_ETC": str(self.etc),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def has_patchelf(self) -> None:
        """As if patchelf had been fetched before."""
        folder = self.store / "patchelf"
        folder.mkdir(parents=True)
        (folder / ".unpacked").write_text(f"1 {folder}\n")

    def left(self) -> set[str]:
        return {path.name for path in self.store.iterdir()} - {"apt", ".lock", "patchelf"}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path.resolve())


def test_a_failed_download_names_the_package_and_leaves_nothing(checkout: Checkout) -> None:
    checkout.has_patchelf()
    done = checkout.run("3.14")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "cannot download the package libffi8" in done.stderr
    assert "hash mismatch" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkout.left() == set()


def test_headers_of_the_system_are_not_downloaded(checkout: Checkout) -> None:
    checkout.has_patchelf()
    checkout.run("3.14")
    downloads = [line for line in checkout.log.read_text().splitlines() if "download" in line]
    assert downloads
    assert not any("libc6-dev" in line for line in downloads)


def test_unreachable_mirror(checkout: Checkout) -> None:
    checkout.has_patchelf()
    done = checkout.run("3.14", FAKE_UPDATE="100")
    assert done.returncode == 1
    assert "cannot read the package lists of Debian forky" in done.stderr
    assert checkout.left() == set()


def test_no_debian_mirror_configured(checkout: Checkout) -> None:
    (checkout.etc / "sources.list.d/debian.sources").unlink()
    checkout.has_patchelf()
    done = checkout.run("3.14")
    assert done.returncode == 1
    assert "cannot tell which mirror to use" in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "uri", "keyring"),
    [
        ("debian.sources", DEB822, "http://mirror.invalid/debian", "/usr/share/keyrings/some.gpg"),
        ("debian.list", ONE_LINE, "http://list.invalid/debian", "/usr/share/keyrings/other.gpg"),
        (
            "../sources.list",
            ONE_LINE,
            "http://list.invalid/debian",
            "/usr/share/keyrings/other.gpg",
        ),
    ],
)
def test_mirror_and_keyring_are_the_systems(
    checkout: Checkout, name: str, text: str, uri: str, keyring: str
) -> None:
    (checkout.etc / "sources.list.d/debian.sources").unlink()
    (checkout.etc / "sources.list.d" / name).write_text(text.replace("bookworm", codename()))
    checkout.has_patchelf()
    checkout.run("3.14")
    source = (checkout.store / "apt/mirror.sources").read_text()
    assert f"URIs: {uri}\n" in source
    assert f"Signed-By: {keyring}\n" in source
    assert "Suites: forky\n" in source


def codename() -> str:
    release = Path("/etc/os-release")
    for line in release.read_text().splitlines() if release.exists() else ():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return "bookworm"


def test_python_from_the_environment_must_fit(checkout: Checkout) -> None:
    (checkout.bin / "python-that-fails").write_text("#!/bin/sh\nexit 3\n")
    (checkout.bin / "python-that-fails").chmod(0o755)
    done = checkout.run(PYTHON="python-that-fails")
    assert done.returncode == 1
    assert "PYTHON=python-that-fails cannot be used: it does not run" in done.stderr


def test_python_from_the_environment_is_used(checkout: Checkout) -> None:
    done = checkout.run(PYTHON=sys.executable)
    assert (done.returncode, done.stdout) == (0, f"{sys.executable}\n")


def fake_python(checkout: Checkout, name: str, **facts: object) -> None:
    answer = {
        "implementation": "cpython",
        "version": name.removeprefix("python"),
        "executable": f"/opt/{name}",
        "headers": True,
        "debug": False,
        "free_threaded": False,
    } | facts
    (checkout.bin / name).write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    (checkout.bin / name).chmod(0o755)


def test_installed_pythons_in_the_order_of_preference(checkout: Checkout) -> None:
    fake_python(checkout, "python3.13")
    assert checkout.run().stdout == "/opt/python3.13\n"
    fake_python(checkout, "python3.15")
    assert checkout.run().stdout == "/opt/python3.15\n"
    fake_python(checkout, "python3.14", headers=False)
    assert checkout.run().stdout == "/opt/python3.15\n"
    fake_python(checkout, "python3.14", free_threaded=True)
    assert checkout.run().stdout == "/opt/python3.15\n"
    fake_python(checkout, "python3.14")
    assert checkout.run().stdout == "/opt/python3.14\n"
    assert checkout.run("3.13").stdout == "/opt/python3.13\n"


def test_an_environment_of_the_checkout_is_not_an_installed_python(checkout: Checkout) -> None:
    fake_python(checkout, "python3.15", executable=str(checkout.store / "3.15/usr/bin/python3.15"))
    fake_python(checkout, "python3.13")
    assert checkout.run().stdout == "/opt/python3.13\n"


def count(*places: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOLS / "count-tests"), *map(os.fspath, places)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_counts_are_summed(tmp_path: Path) -> None:
    pytest_like = tmp_path / "py.xml"
    pytest_like.write_text(
        '<testsuites><testsuite tests="10" failures="0" errors="0" skipped="2"/></testsuites>'
    )
    (tmp_path / "build/meson-logs").mkdir(parents=True)
    (tmp_path / "build/meson-logs/testlog.junit.xml").write_text(
        '<testsuites><testsuite tests="3" errors="0" failures="0" skipped="0"/>'
        '<testsuite tests="2" errors="0" failures="0" skipped="1"/></testsuites>'
    )
    (tmp_path / "steps.json").write_text('{"passed": 4, "failed": 0}')
    done = count(pytest_like, tmp_path / "build", tmp_path / "steps.json")
    assert done.stdout.splitlines()[-1] == "16 passed, 0 failed, 3 skipped"
    assert done.returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        '<testsuite tests="3" failures="1" errors="0" skipped="0"/>',
        '<testsuite tests="3" failures="0" errors="1" skipped="0"/>',
        '<testsuite tests="0" failures="0" errors="0" skipped="0"/>',
        '<testsuite tests="2" failures="0" errors="0" skipped="2"/>',
        "<testsuite",
        None,
    ],
    ids=["failure", "error", "no test", "only skipped", "cut short", "missing"],
)
def test_what_did_not_pass_fails(tmp_path: Path, text: str | None) -> None:
    report = tmp_path / "report.xml"
    if text is not None:
        report.write_text(text)
    done = count(report)
    assert done.returncode == 1
    assert ", 1 failed, " in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("place", "text", "complaint"),
    [
        ("core/a.c", "#include <pthread.h>\n", "only src/os may include"),
        ("core/a.c", "#include <Python.h>\n", "Python's headers belong to src/pyext"),
        ("pyext/a.c", "#if PY_VERSION_HEX > 1\n#endif\n", "only compat may ask"),
        ("pyext/a.c", "int x = _PyLong_Sign(y);\n", "only compat may use private API"),
        ("core/a.h", "size_t length;\n", "does not compile alone"),
        ("core/b.c", "int unlisted;\n", "not listed in a meson.build"),
    ],
)
def test_rooms(tmp_path: Path, place: str, text: str, complaint: str) -> None:
    for room in ("core", "os", "pyext"):
        (tmp_path / "src" / room).mkdir(parents=True)
        (tmp_path / "src" / room / "meson.build").write_text("files('a.c')")
    (tmp_path / "aiointerpreters").mkdir()
    command = [sys.executable, str(TOOLS / "check-rooms"), str(tmp_path), "--", "cc"]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60}
    clean = subprocess.run(command, **options)
    assert clean.returncode == 0, clean.stdout
    (tmp_path / "src" / place).write_text(text)
    broken = subprocess.run(command, **options)
    assert broken.returncode == 1
    assert complaint in broken.stdout
    assert f"src/{place}" in broken.stdout


def test_a_mention_in_a_comment_or_a_string_breaks_no_rule(tmp_path: Path) -> None:
    module = load("check-rooms")
    (tmp_path / "src/core").mkdir(parents=True)
    (tmp_path / "src/core/a.c").write_text(
        "/* <pthread.h> is for os,\n * #include <Python.h> for pyext */\n"
        'const char *s = "_Py_Thing PY_VERSION_HEX";\n'
    )
    assert list(module.broken_rules(tmp_path)) == []
