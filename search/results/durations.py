"""How long something takes, in words."""


def about(seconds: float) -> str:
    """Write a rough duration: "about 95 s", "about 12 min" or "about 3.5 h"."""
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
