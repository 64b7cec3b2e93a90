"""The tables in agent/README.md are those that the committed figures make."""

from __future__ import annotations

from pathlib import Path

from bench import plot, report

ROOT = Path(__file__).parents[2]
FIGURES = report.joined(ROOT / run for run in report.RUNS)


def test_tables_of_the_readme_are_made_from_the_figures() -> None:
    document = (ROOT / "agent/README.md").read_text()
    assert report.placed(document, report.markdown(FIGURES)) == document, f"run {report.COMMAND}"


def test_the_plot_is_made_from_the_figures() -> None:
    assert (ROOT / "tests/bench/agent.svg").read_text() == plot.svg(FIGURES), f"run {report.COMMAND}"
