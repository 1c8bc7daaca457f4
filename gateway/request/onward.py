"""A browser's navigation that has to sign in first -> the header that leads it there and back again.

The answer stays a 401 with its problem document. Only a browser that navigates is led on, by Refresh, which
no program follows; where it comes back to is a path of ours.
"""

from urllib.parse import quote, urlencode

from gateway.model import InboundRequest


def to_login(request: InboundRequest, **wanted: str) -> tuple[tuple[str, str], ...]:
    """Nothing for whoever does not navigate, or would change something by coming back."""
    if request.browser is None or not request.browser.navigates or request.method != "GET":
        return ()
    pairs = [f"{quote(name)}={quote(value)}" for name, value in request.target.query]
    back = request.target.path + (f"?{'&'.join(pairs)}" if pairs else "")
    query = urlencode({"to": back, **{name: value for name, value in wanted.items() if value}})
    return (("Refresh", f"0; url=/login?{query}"),)
