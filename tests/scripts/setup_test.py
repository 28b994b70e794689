"""What scripts/setup installs, and which commit it finds. Runs on Python alone: python3 setup_test.py SCRIPTS"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(sys.argv.pop())


@unittest.skipUnless(shutil.which("git"), "there is no git here")
class Commit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name).resolve()
        (self.tree / "scripts").mkdir()
        shutil.copy(SCRIPTS / "setup", self.tree / "scripts/setup")
        self.environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CEILING_DIRECTORIES": str(self.tree.parent)}

    def git(self, *arguments):
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, cwd=self.tree, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self):
        """What the function prints."""
        script = self.tree / "scripts/asks"
        script.write_text('source "$(dirname "$0")/setup"\ncommit\n')
        try:
            return subprocess.run(["bash", script], env=self.environment, check=True, capture_output=True, text=True).stdout.strip()
        finally:
            script.unlink()

    def test_it_is_that_of_the_tree(self):
        self.assertEqual(self.commit(), "unknown")
        self.git("init", "-q")
        self.git("add", "scripts/setup")
        self.git("commit", "-q", "-m", "One")
        head = self.git("rev-parse", "HEAD")
        found = self.commit()
        self.assertGreaterEqual(len(found), 7)
        self.assertTrue(head.startswith(found), (head, found))
        with (self.tree / "scripts/setup").open("a") as file:
            file.write("# changed\n")
        self.assertEqual(self.commit(), found + "-dirty")

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a folder away")
    def test_it_is_found_in_a_folder_of_somebody_else(self):
        self.git("init", "-q")
        self.git("add", "scripts/setup")
        self.git("commit", "-q", "-m", "One")
        head = self.git("rev-parse", "HEAD")
        for path in [self.tree, *self.tree.rglob("*")]:
            os.chown(path, 12345, 12345)
        self.assertTrue(head.startswith(self.commit()), self.commit())


class Packages(unittest.TestCase):
    def test_git_is_installed(self):
        with tempfile.TemporaryDirectory() as folder:
            fakes = {"dpkg-query": "exit 1", "apt-get": 'echo "$*" >>"$CALLS"', "sudo": 'exec "$@"'}
            for name, text in fakes.items():
                path = pathlib.Path(folder, name)
                path.write_text(f"#!/bin/sh\n{text}\n")
                path.chmod(0o755)
            calls = pathlib.Path(folder, "calls")
            environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls)}
            script = f'set -- ; source "{SCRIPTS}/setup"; install_packages'
            subprocess.run(["bash", "-c", script, "asks"], env=environment, check=True, capture_output=True)
            installed = calls.read_text().splitlines()[-1].split()
        self.assertIn("install", installed)
        for package in ("git", "g++", "cmake", "python3-venv"):
            self.assertIn(package, installed)


if __name__ == "__main__":
    unittest.main()
