"""Rule sets: torch functions whose backward is edited, for relevance propagation without touching a module."""
