"""Objectives from YAML, and the messages for what is wrong in them."""

from __future__ import annotations

import pytest
import yaml

from homing.errors import HomingError, InvalidInputError, UnknownNameError
from homing.log import Objective, Objectives

TEXT = """
version: 1
objectives:
  engagement: {kinds: [opened, clicked], window_hours: 24, aggregate: any}
  spend: {kinds: ["custom:spend"], window_hours: 0.5, aggregate: sum, attribute_unlinked: true}
  opt_outs: {kinds: [unsubscribed], window_hours: 168, aggregate: count, direction: minimize}
"""


def test_from_yaml(tmp_path):
    path = tmp_path / "objectives.yaml"
    path.write_text(TEXT)
    objectives = Objectives.from_yaml(path)
    assert objectives.names == ("engagement", "spend", "opt_outs")
    assert objectives.kinds == ("clicked", "custom:spend", "opened", "unsubscribed")
    assert objectives.longest_window_us == 168 * 3600 * 10**6
    assert objectives["spend"].window_us == 1800 * 10**6
    assert objectives["spend"].attribute_unlinked
    assert objectives["opt_outs"].direction == "minimize"
    path.write_text(yaml.safe_dump(objectives.to_dict(), sort_keys=False))
    assert Objectives.from_yaml(path) == objectives


def test_an_unknown_name_is_hinted_at():
    objectives = Objectives.from_dict(yaml.safe_load(TEXT))
    with pytest.raises(UnknownNameError, match=r"objective == 'spent', .* Did you mean 'spend'\?"):
        objectives["spent"]


def test_the_shortest_window_is_one_microsecond():
    assert Objective(kinds=("clicked",), window_hours=1e-12, aggregate="any").window_us == 1


GOOD = "kinds: [clicked], window_hours: 24, aggregate: any"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objectivs: {}", r"goals\.yaml: key == 'objectivs', must be one of .* Did you mean 'objectives'\?"),
        (f"objectives: {{a: {{{GOOD}, windw: 3}}}}",
         r"goals\.yaml: key of 'a' == 'windw', must be one of .*'window_hours'"),
        (f"objectives: {{a: {{{GOOD}, agregate: sum}}}}", r"key of 'a' == 'agregate', .* Did you mean 'aggregate'\?"),
        ("objectives: {a: {kinds: [cliked], window_hours: 1, aggregate: any}}",
         r"goals\.yaml: a\.kinds: kind == 'cliked', .* Did you mean 'clicked'\?"),
        ("objectives: {a: {kinds: [custom:Spend], window_hours: 1, aggregate: any}}", r"custom:<lower_snake>"),
        ("objectives: {a: {kinds: [clicked, clicked], window_hours: 1, aggregate: any}}", r"must differ from each"),
        ("objectives: {a: {kinds: [], window_hours: 1, aggregate: any}}", r"goals\.yaml: a\.kinds == \[\]"),
        ("objectives: {a: {kinds: [clicked], aggregate: any}}", r"a\.window_hours == None, must be given\. Write, say"),
        ("objectives: {a: {kinds: [clicked], window_hours: 0, aggregate: any}}", r"a\.window_hours == 0, .*greater"),
        ("objectives: {a: {kinds: [clicked], window_hours: .inf, aggregate: any}}", r"a\.window_hours == inf"),
        ("objectives: {a: {kinds: [clicked], window_hours: 1, aggregate: median}}", r"aggregate == 'median'.*'mean'"),
        ("version: 2\nobjectives: {a: {" + GOOD + "}}", r"goals\.yaml: version == 2"),
        ("version: 1", r"goals\.yaml: objectives == None, must map names to values\."),
        ("objectives: {}", r"goals\.yaml: objectives == \{\}, must map names to values\."),
        ("objectives: {a: 3}", r"goals\.yaml: objective 'a' == 3, must map names to values\."),
        ("[1]", r"goals\.yaml: content == \[1\], must map names to values\."),
        ("", r"goals\.yaml: content == None"),
        ("a: [", r"objectives file == '.*goals\.yaml', must be YAML"),
        (f"objectives:\n  a: {{{GOOD}}}\n  a: {{{GOOD}}}", r"must be YAML \(the key 'a' is there twice"),
        ("objectives: {a: {kinds: !!python/object/apply:os.getcwd [], window_hours: 1}}", r"must be YAML"),
    ],
    ids=["top key", "key", "key hint", "kind", "custom kind", "kind twice", "no kinds", "no window", "zero window",
         "endless window", "aggregate", "version", "no objectives", "empty", "number", "list", "empty file", "no yaml",
         "twice", "code"],
)  # fmt: skip
def test_wrong_files(text, message, tmp_path):
    path = tmp_path / "goals.yaml"
    path.write_text(text)
    with pytest.raises(HomingError, match=message) as caught:
        Objectives.from_yaml(path)
    # One sentence for the user: neither pydantic's name nor its stack.
    assert "pydantic" not in str(caught.value).lower()
    assert caught.value.__suppress_context__ or "pydantic" not in repr(caught.value.__context__).lower()


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidInputError, match=r"objectives file == '.*none\.yaml', cannot be read \(.*No such file"):
        Objectives.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        Objectives.from_yaml(tmp_path / "bytes.yaml")
