"""How scripts/compare_peers.py chooses, keeps and reports planted results, and how it talks to processes. Runs on Python alone:
python3 compare_peers_test.py SCRIPTS"""
import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, sys.argv.pop())
import compare_peers as script
import peer_models
import peer_programs
import peer_shapes
import peer_table
import peers
from peer_programs import MEMORY, START, WARPLOOM
from worker_process import Worker, WorkerFailed

# Says that it is ready, then answers each line with its argument.
ECHO = "import sys; print('{\"ready\": true, \"device\": \"cpu\"}', flush=True)\nfor line in sys.stdin: print(sys.argv[1], flush=True)"


def row(values, lower=False, name="batch 1", unit="tokens/s"):
    return {"name": name, "unit": unit, "lower_is_better": lower, "values": values}


class Table(unittest.TestCase):
    def test_ratios_say_how_many_times_better(self):
        self.assertEqual(peer_table.ratio(row({}), [90, 100, 400], [50]), 2.0)
        self.assertEqual(peer_table.ratio(row({}, lower=True), [100], [250]), 2.5)

    def test_the_best_peer_is_the_one_with_the_lowest_ratio(self):
        for lower, best in ((False, "fast"), (True, "slow")):
            self.assertEqual(peer_table.best_peer(row({"us": [10], "slow": [4], "fast": [20], "none": []}, lower), "us"), best)
        self.assertIsNone(peer_table.best_peer(row({"us": [], "fast": [20]}), "us"))

    def test_tables_have_medians_ratios_and_gaps(self):
        rows = [row({"us": [10, 14, 12], "a": [6, 6, 6], "b": [5]}), row({"us": [150], "b": [300]}, True, "start", "ms")]
        self.assertEqual(peer_table.ratio_table(rows, "us", ["a", "b", "c"]),
                         "|  | us | a | b | c |\n|---|---:|---:|---:|---:|\n"
                         "| batch 1, tokens/s | 12 | **2.00** | 2.40 | - |\n| start, ms | 150 | - | **2.00** | - |\n")
        self.assertEqual(peer_table.value_table(rows, ["us", "a"]),
                         "|  | us | a |\n|---|---:|---:|\n"
                         "| batch 1, tokens/s | 12 (10 to 14) | 6 (6 to 6) |\n| start, ms | 150 (150 to 150) | - |\n")

    def test_who_failed_is_named_with_the_reason(self):
        results = {"us": "us", "programs": ["us", "a"], "processor": "P", "threads": 2, "model": "m", "rounds": 3, "others": 0.061,
                   "rows": [row({"us": [1], "a": [1]})], "failures": {"b": "is not installed"}}
        text = peer_table.report(results)
        self.assertIn("P, 2 threads; m; 3 rounds in turns; others had at most 6% of the processors", text)
        self.assertIn("- b: is not installed\n", text)


class Process(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def worker(self, program, *arguments, limit=60):
        worker = Worker([sys.executable, "-c", program, *arguments], os.path.join(self.folder.name, "log"), limit=limit)
        self.addCleanup(worker.close)
        return worker

    def test_each_question_gets_its_answer(self):
        worker = self.worker(ECHO, '{"first_seconds": 2}')
        for _ in range(3):
            self.assertEqual(worker.ask({"new": 1}), {"first_seconds": 2})
        self.assertEqual(worker.ready["device"], "cpu")
        self.assertGreater(worker.peak_bytes(), 1 << 20)
        worker.close()
        self.assertFalse(worker.alive())
        self.assertEqual(worker.process.returncode, 0)

    def failure(self, worker):
        with self.assertRaises(WorkerFailed) as caught:
            worker.ask({})
        return str(caught.exception)

    def test_why_there_is_no_answer_is_said(self):
        self.assertEqual(self.failure(self.worker(ECHO, '{"error": "no memory"}')), "no memory")
        self.assertEqual(self.failure(self.worker(ECHO, "[1")), "its answer is no JSON")
        self.assertEqual(self.failure(self.worker("import sys; print('x', file=sys.stderr); sys.exit('the model is broken')")),
                         "it ended with status 1: the model is broken")
        self.assertEqual(self.failure(self.worker("import os; os.kill(os.getpid(), 9)")), "it ended with status -9: it wrote no reason")

    def test_nobody_is_waited_for_longer_than_the_limit(self):
        worker = self.worker("import time; time.sleep(100)", limit=0.2)
        self.assertEqual(self.failure(worker), "it gave no answer in 0.2 s")
        self.assertFalse(worker.alive())

    def test_the_time_of_the_worker_is_its_own(self):
        program = "import os, sys\nprint('{}', flush=True)\nfor line in sys.stdin:\n  while sum(os.times()[:2]) < 1: pass\n  print('{}', flush=True)"
        worker = self.worker(program)
        worker.wait_until_ready()
        before = peers.processor_seconds(worker.process.pid)
        watch, blind = peers.Watch(worker.process.pid), peers.Watch()
        worker.ask({})
        self.assertGreaterEqual(peers.processor_seconds(worker.process.pid) - before, 0.5)
        self.assertLess(watch.others(), blind.others())


class Asked(unittest.TestCase):
    def test_rates_come_from_the_times_to_the_first_and_from_there_to_the_last_token(self):
        prompt, decode = peer_programs.Row("p", "tokens/s"), peer_programs.Row("d", "tokens/s")
        test = peer_programs.Test(4, 100, 11, prompt, decode)
        self.assertEqual(test.values({"first_seconds": 2, "rest_seconds": 5}), {prompt: 200.0, decode: 8.0})
        self.assertEqual(test.values({"first_seconds": 2, "rest_seconds": 5, "rest_tokens": 35})[decode], 7.0)

    def test_every_row_of_the_table_is_measured_once(self):
        names = [r.name for test in peer_programs.tests() for r in test.rows()]
        self.assertEqual(names, ["batch 1", "batch 8", "batch 32", "prompt of 512", "prompt of 4,096", "batch 1 behind 4,096"])

    def test_prompts_are_new_with_every_seed(self):
        a, again, b = (peer_programs.random_prompts(2, 50, 1000, seed) for seed in ("a", "a", "b"))
        self.assertEqual(a, again)
        self.assertNotEqual(a, b)
        self.assertNotEqual(a[0], a[1])
        self.assertTrue(all(100 <= token < 1000 for prompt in a for token in prompt))

    def test_patterns_go_on_as_they_did_before(self):
        for prompt, wanted in zip(*peer_programs.patterns(3, 49152)):
            self.assertEqual(len(prompt), 52)
            self.assertEqual(prompt[36:48][:len(wanted)], wanted)
            self.assertEqual(prompt[48:], prompt[32:36])

    def test_answers_that_were_not_asked_for_are_refused(self):
        peer_programs.check_tokens([[1, 2], [3, 0]], 2, 2, 4)
        for tokens, message in (([[1, 2]], "answered 1 prompts of 2"), ([[1, 2], [3]], "generated 1 tokens instead of 2"),
                                ([[1, 2], [3, 4]], "token 4 is not in the vocabulary of 4"), ([[1, 2], [-1, 3]], "token -1")):
            with self.assertRaisesRegex(WorkerFailed, message):
                peer_programs.check_tokens(tokens, 2, 2, 4)


class Models(unittest.TestCase):
    def test_they_are_converted_once_and_again_for_a_newer_file(self):
        made = []

        def make(format, source, target):
            made.append(format)
            target.write_text("")

        with tempfile.TemporaryDirectory() as folder, mock.patch.multiple(
                peer_models, FOLDER=pathlib.Path(folder), make=make,
                FORMATS={"a": (None, "gguf", []), "b": (None, "a", [])}):
            gguf = pathlib.Path(folder) / "model.gguf"
            gguf.write_text("")
            self.assertEqual(peer_models.path_of("gguf", gguf), gguf)
            self.assertEqual(peer_models.path_of("b", gguf).name, "model-b")
            self.assertEqual(peer_models.path_of("a", gguf).name, "model-a")
            self.assertEqual(made, ["a", "b"])
            later = os.stat(gguf).st_mtime + 100
            os.utime(gguf, (later, later))
            peer_models.path_of("a", gguf)
            self.assertEqual(made, ["a", "b", "a"])

    def test_what_is_not_installed_is_named(self):
        with mock.patch.object(peer_models, "FORMATS", {"a": (None, "gguf", ["no-such-package"])}):
            with self.assertRaisesRegex(peer_models.ConversionFailed, "no-such-package is not installed"):
                peer_models.path_of("a", __file__)


class Shapes(unittest.TestCase):
    SHAPE = {"hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "vocab_size": 300, "num_layers": 2}

    def test_matrices_have_their_rows_and_columns(self):
        tied = {name: (rows, columns) for name, rows, columns in peer_shapes.tensors(self.SHAPE | {"tie_word_embeddings": True})}
        self.assertEqual(len(tied), 1 + 2 * 7)
        self.assertEqual(tied["token_embd"], (300, 64))
        self.assertEqual([tied[f"blk.1.{name}"] for name in ("attn_q", "attn_k", "attn_output", "ffn_up", "ffn_down")],
                         [(32, 64), (16, 64), (64, 32), (96, 64), (64, 96)])
        untied = {name for name, *_ in peer_shapes.tensors(self.SHAPE | {"tie_word_embeddings": False})}
        self.assertEqual(untied - set(tied), {"output"})

    def test_every_byte_has_a_spelling_of_its_own(self):
        spellings = peer_shapes.byte_spellings()
        self.assertEqual(len(set(spellings)), 256)
        self.assertEqual((spellings[0], spellings[-1], spellings[188:190]), ("!", "\u0143", ["\u0100", "\u0101"]))


class Planted:
    """A contestant that takes as long as it says: for prompts, and for each further token."""

    def __init__(self, title, name, prompt_seconds, token_seconds, right=True, start=0.5):
        self.title, self.settings, self.times, self.right = title, {"name": name}, (prompt_seconds, token_seconds), right
        self.start, self.ended = start, False

    def answer(self, prompts, new, vocabulary):
        if self.times is None or None in self.times:
            raise WorkerFailed("out of memory")
        tokens = [prompt[4 + 16 : 4 + 16 + new] if self.right else [0] * new for prompt in prompts]
        return {"first_seconds": self.times[0], "rest_seconds": self.times[1] * (new - 1), "tokens": tokens}

    def undisturbed_answer(self, prompts, new, vocabulary):
        return self.answer(prompts, new, vocabulary), 0.02

    def first_token(self, prompt, more, new, vocabulary):
        return {START: self.start, MEMORY: 100.0}

    def close(self):
        self.ended = True


class Rounds(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        patch = mock.patch.object(script, "FOLDER", pathlib.Path(self.folder.name))
        patch.start()
        self.addCleanup(patch.stop)

    def compare(self, *contestants, rounds=2):
        comparison = script.Comparison(pathlib.Path("m.gguf"), 2, rounds, peer_programs.tests(quick=True))
        comparison.vocabulary = 49152
        for contestant in contestants:
            comparison.contestants.setdefault(contestant.title, []).append(contestant)
        with contextlib.redirect_stderr(io.StringIO()), mock.patch.object(peers, "undisturbed", lambda run, **_: (run(), 0.02)):
            comparison.try_settings()
            for r in range(rounds):
                comparison.run_round(r)
        return comparison

    def test_the_fastest_settings_count_row_by_row(self):
        ours = Planted(WARPLOOM, "ours", 1.0, 1.0)
        prompts, tokens = Planted("p", "prompts", 1.0, 4.0), Planted("p", "tokens", 2.0, 3.0)
        results = self.compare(ours, prompts, tokens).results()
        self.assertEqual({name: s["name"] for name, s in results["settings"]["p"].items()},
                         {"batch 1": "tokens", "batch 8": "tokens", "batch 32": "tokens", "prompt of 64": "prompts",
                          "prompt of 512": "prompts", "batch 1 behind 512": "tokens"})
        values = {r["name"]: r["values"]["p"] for r in results["rows"]}
        self.assertEqual(values["batch 8"], [8 / 3] * 2)
        self.assertEqual(values["prompt of 64"], [64.0] * 2)
        self.assertEqual(values["start to first token"], [0.5] * 2)
        self.assertEqual(results["failures"], {})

    def test_one_that_fails_is_named_and_the_others_go_on(self):
        results = self.compare(Planted(WARPLOOM, "ours", 1.0, 1.0), Planted("dead", "a", None, None),
                               Planted("wrong", "b", 1.0, 1.0, right=False), Planted("half", "c", None, None),
                               Planted("half", "d", 1.0, 2.0)).results()
        self.assertEqual(results["failures"]["dead"], "out of memory")
        self.assertIn("is it the same model?", results["failures"]["wrong"])
        self.assertEqual(set(results["failures"]), {"dead", "wrong"})
        self.assertEqual(set(results["rows"][0]["values"]), {WARPLOOM, "half"})

    def test_everyone_begins_in_turn(self):
        comparison = self.compare(*(Planted(title, "", 1.0, 1.0) for title in (WARPLOOM, "a", "b")), rounds=1)
        self.assertEqual([comparison.turns(r)[0] for r in range(4)], [WARPLOOM, "a", "b", WARPLOOM])
        self.assertEqual(comparison.turns(1), ["a", "b", WARPLOOM])


class Tests(unittest.TestCase):
    def test_batches_and_prompts_can_be_chosen(self):
        rows = [row.name for test in peer_programs.tests([4], [256, 8192]) for row in test.rows()]
        self.assertEqual(rows, ["batch 4", "prompt of 256", "prompt of 8,192", "batch 1 behind 8,192"])
        self.assertEqual(script.numbers("4,256"), [4, 256])


class Script(unittest.TestCase):
    def test_bad_arguments_are_refused_before_anything_is_fetched(self):
        for arguments, message in ((["--only", "vllm"], "vllm is none of llama.cpp"), (["-r", "0"], '-r: "0" is no whole number'),
                                   (["-t", "x"], '-t: "x" is no whole number'), (["-m", "no.gguf"], "there is no file"),
                                   (["-t"], "-t takes a value"), (["--fast"], '"--fast" is no option'),
                                   (["--batches", "1,,8"], '--batches: "1,,8" is not'), (["--prompts", "0"], '--prompts: "0" is not'),
                                   (["--type", "Q9"], "Q9 is none of F16"), (["--shape", "gpt"], "gpt is none of smollm2-135m "),
                                   (["-m", __file__, "--shape", "llama-3.2-1b"], "-m and --shape both name a model")):
            path = os.path.join(sys.path[0], "compare-peers")
            done = subprocess.run([path, *arguments], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn(message, done.stderr)


if __name__ == "__main__":
    unittest.main()
