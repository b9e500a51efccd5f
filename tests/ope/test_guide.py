"""The guide runs as printed, and its YAML is what the gate accepts."""

import doctest
import re
from pathlib import Path

import yaml

from homing.promotion import PromotionRules

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/evaluation.md"


def test_every_block_runs():
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(GUIDE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert result.attempted > 10 and result.failed == 0


def test_its_rules_are_rules():
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert PromotionRules.from_dict(yaml.safe_load(block)).guardrails["opt_out"].limit == 0.02
