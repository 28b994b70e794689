"""Every script and program says for --help what it takes, and refuses what it does not know, before anything is built, installed or
fetched. help_test.py [--tree ROOT] [PROGRAM..]: the scripts of the folders below, in a copy of the tree in which nothing was built yet,
and programs that are built."""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

FOLDERS = ["scripts", "bench", "examples", "tools/gpu_kit"]  # whose scripts are called by hand
ALSO_READ = ["cmake", "src/cli", "src/model"]  # by scripts that check their arguments
# What would build, install or fetch. None of it may be called.
BUILDERS = ["apt-get", "c++", "cmake", "curl", "dpkg-query", "g++", "git", "ninja", "nvcc", "pip", "pip3", "sudo", "wget"]
FAKE = """#!/bin/sh
echo "$0 $*" >>'{calls}'
exit 99
"""
# Python runs scripts, but makes no environment and installs nothing.
FAKE_PYTHON = """#!/bin/sh
case "$*" in *'-m venv'* | *'-m pip'*) echo "$0 $*" >>'{calls}'; exit 99 ;; esac
exec '{python}' "$@"
"""
# In place of packages that an example imports, such as PyTorch: anything may be taken from it.
STAND_INS = '''import importlib.abc, importlib.machinery, pathlib, sys, unittest.mock


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        first = name.split(".")[0]
        if first in sys.stdlib_module_names or first in ("sitecustomize", "usercustomize") or pathlib.Path(sys.argv[0]).with_name(first + ".py").exists():
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return unittest.mock.MagicMock()

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, StandIns())
'''
NO_OPTION = "--no-such-option"


def is_script(path):
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def files_of(tree):
    return {path: path.stat().st_mtime_ns for path in tree.rglob("*")}


class Help(unittest.TestCase):
    tree = None  # the tree whose scripts are tested
    programs = []

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.copy, fakes, self.calls = self.folder / "tree", self.folder / "fakes", self.folder / "calls"
        fakes.mkdir()
        for name in BUILDERS:
            self.fake(fakes / name, FAKE)
        self.fake(fakes / "python3", FAKE_PYTHON)
        (self.folder / "sitecustomize.py").write_text(STAND_INS)
        self.environment = {**os.environ, "PATH": f"{fakes}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}

    def fake(self, path, text):
        path.write_text(text.format(calls=self.calls, python=sys.executable))
        path.chmod(0o755)

    def copied_scripts(self):
        for name in [*FOLDERS, *ALSO_READ]:
            shutil.copytree(self.tree / name, self.copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        scripts = sorted(path.relative_to(self.copy) for name in FOLDERS for path in (self.copy / name).iterdir() if is_script(path))
        self.assertGreater(len(scripts), 15)
        return scripts

    def run_script(self, script, *arguments):
        """As it is called from its own folder."""
        folder, environment = (self.copy / script).parent, self.environment
        command = [f"./{script.name}"]
        if script.suffix == ".py":
            command, environment = ["python3", "-B", *command], {**environment, "PYTHONPATH": str(self.folder)}
        return self.run_command([*command, *arguments], cwd=folder, env=environment)

    def run_command(self, command, **more):
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, **more)

    def expect_nothing_done(self, before):
        self.assertEqual(self.calls.read_text() if self.calls.exists() else "", "")
        self.assertEqual(files_of(self.copy), before)

    def test_scripts_say_what_they_take(self):
        if not self.tree:
            self.skipTest("no tree was given")
        scripts = self.copied_scripts()
        before = files_of(self.copy)
        for script in scripts:
            for option in ("--help", "-h"):
                with self.subTest(script=str(script), option=option):
                    got = self.run_script(script, option)
                    self.assertEqual((got.returncode, got.stderr), (0, ""))
                    self.assertIn(script.name, got.stdout)
                    self.assertNotIn("#!", got.stdout)
                    self.assertNotIn("set -euo", got.stdout)
                    self.expect_nothing_done(before)

    def test_scripts_refuse_what_they_do_not_know(self):
        if not self.tree:
            self.skipTest("no tree was given")
        scripts = self.copied_scripts()
        before = files_of(self.copy)
        for script in scripts:
            with self.subTest(script=str(script)):
                got = self.run_script(script, NO_OPTION)
                self.assertEqual((got.returncode, got.stdout), (2, ""), got.stderr)
                self.assertRegex(got.stderr, f"{NO_OPTION}|the following arguments are required")
                self.expect_nothing_done(before)

    def test_wrong_values_are_found_before_anything_is_done(self):
        if not self.tree:
            self.skipTest("no tree was given")
        self.copied_scripts()
        (self.copy / "scripts/result.json").write_text('{"programs": []}')
        before = files_of(self.copy)
        for script, arguments, message in [
                ("scripts/demo", ["Hello", "--max-token", "3"], "--max-token is no option"),
                ("scripts/demo", ["--emulated-cuda", "--fast=1"], "--fast is no option"),
                ("scripts/test", ["--all", "now"], '"now" is no option'),
                ("scripts/wheel", ["a", "b"], '"b" is one argument too many'),
                ("scripts/check-style", ["src"], '"src" is not an argument'),
                ("scripts/check-kernels", [], "it takes objects or cubins"),
                ("scripts/check-kernels", ["no.cubin"], "there is no file no.cubin"),
                ("scripts/compare-samplers", ["-r", "0"], '-r: "0" is no whole number from 1 to 9999'),
                ("scripts/compare-samplers", ["-r"], "-r takes a value"),
                ("scripts/compare-serving", ["-n", "many"], '-n: "many" is no whole number'),
                ("scripts/compare-serving", ["-t"], "-t takes a value"),
                ("scripts/compare-serving", ["-t", "2", "x"], '"x" is no option'),
                ("scripts/compare-peers", ["--shape", "gpt"], "--shape: gpt is none of smollm2-135m "),
                ("scripts/gpu-report", ["."], ". is a folder; give the file report.json that OUT/run of the kit wrote"),
                ("scripts/gpu-report", ["none.json"], "none.json: No such file"),
                ("scripts/gpu-bundle", ["out", "--arch", "70"], "--arch"),
                ("bench/plot", [], "RESULT.json"),
                ("bench/plot", ["-o", "a.pdf", "b.json"], "--output: a.pdf ends neither"),
                ("tools/gpu_kit/run", ["--minutes", "0"], "--minutes: 0.0 is not above 0"),
                ("tools/gpu_kit/run", ["--only", "nothing"], "no step is called nothing")]:
            with self.subTest(script=script, arguments=arguments):
                got = self.run_script(pathlib.Path(script), *arguments)
                self.assertEqual((got.returncode, got.stdout), (2, ""), got.stderr)
                self.assertIn(message, got.stderr)
                self.expect_nothing_done(before)
        # A file that holds no result is found before matplotlib is fetched, too.
        got = self.run_script(pathlib.Path("bench/plot"), "../scripts/result.json")
        self.assertEqual((got.returncode, got.stdout), (1, ""), got.stderr)
        self.expect_nothing_done(before)

    def test_options_of_the_program_reach_it_from_the_demo(self):
        if not self.tree:
            self.skipTest("no tree was given")
        self.copied_scripts()
        # As far as to what would install packages.
        got = self.run_script(pathlib.Path("scripts/demo"), "--max-tokens", "3", "-n", "3", "--temperature=0", "--top-p", "0.9", "--", "--seed")
        self.assertIn("dpkg-query", self.calls.read_text(), got.stderr)

    def test_a_folder_with_a_report_is_told_where_it_is(self):
        if not self.tree:
            self.skipTest("no tree was given")
        self.copied_scripts()
        (self.copy / "scripts/kit/results").mkdir(parents=True)
        (self.copy / "scripts/kit/results/report.json").write_text("{}")
        got = self.run_script(pathlib.Path("scripts/gpu-report"), "kit")
        self.assertIn("kit is a folder; give the file kit/results/report.json", got.stderr)

    def test_programs_say_what_they_take(self):
        for program in self.programs:
            with self.subTest(program=program):
                got = self.run_command([program, "--help"])
                self.assertEqual((got.returncode, got.stderr), (0, ""))
                self.assertRegex(got.stdout, re.compile("usage", re.IGNORECASE))

    def test_programs_refuse_what_they_do_not_know(self):
        for program in self.programs:
            with self.subTest(program=program):
                got = self.run_command([program, NO_OPTION])
                self.assertEqual((got.returncode, got.stdout), (2, ""), got.stderr)
                self.assertIn(NO_OPTION, got.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=pathlib.Path)
    parser.add_argument("programs", nargs="*")
    Help.tree, Help.programs = vars(parser.parse_args()).values()
    unittest.main(argv=sys.argv[:1])
