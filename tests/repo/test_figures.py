"""The tables in agent/README.md are those that the committed figures make."""

from __future__ import annotations

import json
from pathlib import Path

from bench import plot, report

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((ROOT / "tests/bench/agent.json").read_text())


def test_tables_of_the_readme_are_made_from_the_figures() -> None:
    document = (ROOT / "agent/README.md").read_text()
    assert report.placed(document, report.markdown(FIGURES)) == document, f"run {report.COMMAND}"


def test_the_plot_is_made_from_the_figures() -> None:
    assert (ROOT / "tests/bench/agent.svg").read_text() == plot.svg(FIGURES), f"run {report.COMMAND}"
