"""The page as a PDF. Needs WeasyPrint, and Pango of the system."""

from typing import Any, NoReturn

from keyweave.common.errors import KeyweaveError


def pdf(page: str) -> bytes:
    """The HTML page, printed on A4."""
    try:
        from weasyprint import HTML  # noqa: PLC0415  # an optional extra
    except OSError as error:
        raise KeyweaveError(
            f"WeasyPrint finds no Pango ({error}); on Debian: apt install libpango-1.0-0 libpangoft2-1.0-0"
        ) from None
    printed: bytes = HTML(string=page, url_fetcher=_nothing).write_pdf()
    return printed


def _nothing(url: str, *_args: Any, **_options: Any) -> NoReturn:
    raise ValueError(f"a report fetches nothing, and not {url}")
