"""What axe finds on a page. `vendor/axe.min.js` is axe-core 4, its licence beside it; for tests only."""

from pathlib import Path
from typing import Any

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def findings(page: Any) -> list[str]:
    """Violations of WCAG 2.2 A and AA on a page of playwright, a line for each element."""
    page.evaluate(AXE.read_text())  # through the debugger: the page's own policy refuses foreign scripts
    result = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", TAGS)
    return [
        f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
        for violation in result["violations"]
        for node in violation["nodes"]
    ]
