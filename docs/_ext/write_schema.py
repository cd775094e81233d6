"""Writes `docs/reference/report.schema.json` anew, after a dataclass of the report has changed."""

from __future__ import annotations

import json
from pathlib import Path

from deqsci_cli.report.schema import report_schema

if __name__ == "__main__":
    target = Path(__file__).parents[1] / "reference" / "report.schema.json"
    target.write_text(json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n", "utf-8")
