"""The page itself: put together from its sections."""

from vitreous.show.inspect.content import InspectContent

ATTENTION_LIMIT = 4_000_000


def write_inspect_page(content: InspectContent, attention_limit: int = ATTENTION_LIMIT) -> str:
    """Write the page as one string of HTML.

    content          what is on it
    attention_limit  bytes that the attention between all tokens may take in the page; beyond that it is left out, and
                     the page says so
    """
    raise NotImplementedError
