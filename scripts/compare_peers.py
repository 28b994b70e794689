"""Runs Warploom and other programs in turns on the same model and prints medians, ratios and ranges; called by scripts/compare-peers.

Each program is a process that stays (peer_worker.py, `warploom-bench worker`). All draw greedily after the same random prompts, which
are new in every round, and sampling is timed with the rest. Before the rounds every program is tried with several settings; the
fastest counts, row by row. A run that others disturbed is repeated.
"""
import argparse
import importlib.metadata
import json
import pathlib
import sys

import peer_models
import peer_programs
import peer_table
import peers
from peer_programs import MEMORY, START, WARPLOOM
from worker_process import WorkerFailed

FOLDER = pathlib.Path("build/compare-peers")
COPIED = 16  # prompts of which a program should continue the pattern


class Comparison:
    def __init__(self, model, threads, rounds, tests):
        self.model, self.threads, self.rounds, self.tests = model, threads, rounds, tests
        self.contestants = {}  # by title: one for each of its settings
        self.best = {}  # by title and row: the fastest of them
        self.values = {row: {} for test in tests for row in test.rows()} | {START: {}, MEMORY: {}}
        self.failures, self.tried, self.versions = {}, [], {}
        self.copied = {}  # by title: how many tokens of repeated patterns it continued
        self.others, self.vocabulary = 0.0, None

    def add_warploom(self):
        contestants = [peer_programs.warploom(settings, self.model, self.threads, FOLDER / f"{WARPLOOM}-{i}.log")
                       for i, settings in enumerate(peer_programs.WARPLOOM_SETTINGS)]
        self.vocabulary = contestants[0].warm_worker().ready["shape"]["vocab_size"]
        self.contestants[WARPLOOM] = contestants

    def add(self, program):
        try:
            path = peer_models.path_of(program.format, self.model)
            self.versions[program.title] = f"{program.package} {importlib.metadata.version(program.package)}"
        except (peer_models.ConversionFailed, importlib.metadata.PackageNotFoundError) as error:
            return self.fail(program.title, str(error))
        self.contestants[program.title] = [
            peer_programs.peer(program.title, engine, arguments, path, self.threads, FOLDER / f"{program.title}-{i}.log")
            for i, (engine, arguments) in enumerate(program.settings)]

    def fail(self, what, reason):
        print(f"  {what}: {reason}", file=sys.stderr)
        self.failures[what] = reason

    def measure(self, contestant, test, seed):
        """By row; nothing if it failed."""
        prompts = peer_programs.random_prompts(test.batch, test.prompt, self.vocabulary, seed)
        answer, share = contestant.undisturbed_answer(prompts, test.new, self.vocabulary)
        values = test.values(answer)
        print(f"  {contestant.title} {contestant.settings or ''}: " + ", ".join(f"{row.name} {value:.4g}" for row, value in values.items()),
              file=sys.stderr)
        return values, share

    def check_copies(self, contestant):
        """That it computes this model: language models continue a pattern that they have read several times. Of wrong weights or
        positions hardly a token would be right."""
        prompts, wanted = peer_programs.patterns(COPIED, self.vocabulary)
        tokens = contestant.answer(prompts, len(wanted[0]), self.vocabulary)["tokens"]
        right = sum(a == b for row, other in zip(tokens, wanted) for a, b in zip(row, other))
        self.copied[contestant.title] = min(right, self.copied.get(contestant.title, right))
        if 8 * right < self.copied[WARPLOOM]:
            raise WorkerFailed(f"it continues patterns with {right} right tokens of {COPIED * len(wanted[0])}, Warploom with "
                               f"{self.copied[WARPLOOM]}: is it the same model?")

    def try_settings(self):
        for title, contestants in self.contestants.items():
            speeds = {}
            for contestant in contestants:
                print(f"Trying {title} {contestant.settings or ''}", file=sys.stderr)
                self.try_one(contestant, speeds)
                contestant.close()  # what others keep in memory is none of the business of the one that runs
            self.best[title] = {row: max(found, key=lambda pair: pair[0])[1] for row, found in speeds.items()}
            if speeds:
                self.failures.pop(title, None)  # only some settings failed

    def try_one(self, contestant, speeds):
        try:
            self.check_copies(contestant)
        except WorkerFailed as error:
            return self.fail(contestant.title, str(error))
        for test in self.tests:
            try:
                values, _ = self.measure(contestant, test, seed=f"trial {test}")
            except WorkerFailed as error:
                self.fail(f"{contestant.title}, {test.rows()[0].name}", str(error))
                continue
            for row, value in values.items():
                speeds.setdefault(row, []).append((value, contestant))
                self.tried.append({"program": contestant.title, "settings": contestant.settings, "row": row.name, "value": value})

    def run_round(self, r):
        for test in self.tests:
            print(f"Round {r + 1} of {self.rounds}: batch {test.batch}, {test.new} tokens after {test.prompt}", file=sys.stderr)
            for title in self.turns(r):
                for contestant in {id(c): c for row in test.rows() if (c := self.best[title].get(row))}.values():
                    try:
                        values, share = self.measure(contestant, test, seed=f"round {r} {test}")
                    except WorkerFailed as error:
                        self.fail(f"{title}, {test.rows()[0].name}", str(error))
                        continue
                    self.keep(title, {row: value for row, value in values.items() if self.best[title].get(row) is contestant}, share)
        self.start_all(r)
        self.write_json()

    def start_all(self, r):
        print(f"Round {r + 1} of {self.rounds}: start to first token", file=sys.stderr)
        test = self.tests[0]
        for title in self.turns(r):
            if test.decode_row not in self.best[title]:
                continue
            contestant = self.best[title][test.decode_row]
            prompt, more = (peer_programs.random_prompts(1, length, self.vocabulary, f"start {r}")[0] for length in (16, test.prompt))
            try:
                values, share = peers.undisturbed(lambda: contestant.first_token(prompt, more, test.new, self.vocabulary), attempts=3)
            except WorkerFailed as error:
                self.fail(f"{title}, {START.name}", str(error))
                continue
            self.keep(title, values, share)

    def turns(self, r):
        """Everyone is first once in a while."""
        titles = list(self.contestants)
        return titles[r % len(titles):] + titles[:r % len(titles)]

    def keep(self, title, values, share):
        self.others = max(self.others, share)
        for row, value in values.items():
            self.values[row].setdefault(title, []).append(value)

    def results(self):
        rows = [{"name": row.name, "unit": row.unit, "lower_is_better": row.lower_is_better, "values": values}
                for row, values in self.values.items()]
        settings = {title: {row.name: c.settings for row, c in best.items()} for title, best in self.best.items()}
        return {"processor": peers.processor(), "threads": self.threads, "model": self.model.name, "rounds": self.rounds, "us": WARPLOOM,
                "programs": list(self.contestants), "versions": self.versions, "others": self.others, "rows": rows, "settings": settings,
                "tried": self.tried, "copied_tokens": self.copied, "failures": self.failures}

    def write_json(self):
        (FOLDER / "results.json").write_text(json.dumps(self.results(), indent=1) + "\n")

    def close(self):
        for contestants in self.contestants.values():
            for contestant in contestants:
                contestant.close()


def numbers(text):
    return [int(number) for number in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/compare-peers")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("only", nargs="*")
    parser.add_argument("--batches", type=numbers, default=peer_programs.BATCHES)
    parser.add_argument("--prompts", type=numbers, default=peer_programs.PROMPTS)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def main():
    args = arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(args.model, args.threads, args.rounds, peer_programs.tests(args.batches, args.prompts, args.quick))
    known = peer_programs.programs(args.threads)
    try:
        comparison.add_warploom()
        for name in args.only or known:
            comparison.add(known[name])
        comparison.try_settings()
        for r in range(args.rounds):
            comparison.run_round(r)
    except WorkerFailed as error:
        sys.exit(f"{WARPLOOM}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        comparison.close()
    text = peer_table.report(comparison.results())
    (FOLDER / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
