"""Why trials failed, and how many for each reason."""

from collections import Counter
from collections.abc import Iterable

from search.results.rows import TrialRow


def reasons(rows: Iterable[TrialRow]) -> dict[str, int]:
    """Count the failed trials by the text of their error, the most frequent first."""
    return dict(Counter(row.error for row in rows if row.status == "failed").most_common())
