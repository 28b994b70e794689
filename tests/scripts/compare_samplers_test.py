"""What scripts/compare_samplers.py makes of planted results. Runs on Python alone: python3 compare_samplers_test.py SCRIPTS"""
import contextlib
import io
import sys
import unittest

sys.path.insert(0, sys.argv.pop())
import compare_samplers as script


def planted(us, survivors=40.0):
    return {name: {"us": us, "survivors": survivors} for name in script.STRATEGIES} | {"fill": {"us": us / 10, "survivors": 0}}


class CompareSamplers(unittest.TestCase):
    def test_table_has_medians_and_ratios(self):
        rounds = [[planted(2.0), planted(60.0), planted(100.0)], [planted(4.0), planted(80.0), planted(500.0)],
                  [planted(9.0), planted(70.0), planted(400.0)]]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            script.table("a title", rounds)
        self.assertIn("| top-p 0.9 | 40 | 4.0 | 70.0 | 400 | 17.5 | 100.0 |", out.getvalue())
        self.assertIn("takes 7.0 us", out.getvalue())
        self.assertIn("differ by 175%", out.getvalue())

    def test_different_work_is_refused(self):
        script.check_survivors([planted(1.0, 1000.0), planted(1.0, 1009.0), planted(1.0, 991.0)])
        for strategy in script.STRATEGIES.keys() - {"temperature"}:
            for side in range(3):
                results = [planted(1.0, 1000.0) for _ in range(3)]
                results[side][strategy]["survivors"] = 1020.0
                with self.assertRaisesRegex(SystemExit, strategy.replace("+", r"\+")):
                    script.check_survivors(results)

    def test_median_of_runs_after_the_warm_up(self):
        clock = iter([0.0, 9.0] + [0.0, 1.0, 0.0, 3.0, 0.0, 2.0])
        real, script.time.perf_counter = script.time.perf_counter, lambda: next(clock)
        try:
            us, mean = script.timed(lambda i: i)
        finally:
            script.time.perf_counter = real
        self.assertAlmostEqual(us, 2e6 / script.CALLS)
        self.assertAlmostEqual(mean, (script.CALLS - 1) / 2)


unittest.main()
