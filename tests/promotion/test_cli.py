"""`homing gate` on saved reports."""

import argparse

import pytest

from homing.promotion.cli import add_commands

RULES = "{estimator: snips, objectives: {conversion: {rule: superiority}}}"


@pytest.mark.parametrize(("rate", "status", "headline"), [(0.15, 0, "Promote: "), (0.10, 1, "Hold: ")])
def test_exit_status_says_whether_to_promote(make_reports, tmp_path, capsys, rate, status, headline):
    names = ("challengers/challenger", "champion")
    for report, name in zip(make_reports({"conversion": (0.10, rate)}), names, strict=True):
        report.save(tmp_path / "evaluation" / name)
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    call = ["gate", str(tmp_path / "evaluation"), str(tmp_path / "rules.yaml")]
    for extra in ([], ["--out", str(tmp_path / "out")]):
        args = parser.parse_args(call + extra)
        assert args.run(args) == status
        assert capsys.readouterr().out.startswith(headline)
    assert (tmp_path / "out/gate.html").is_file() and (tmp_path / "out/gate.json").is_file()
