"""Figures as people read them."""

import pytest

from silicast import figures


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (999.6, "B", "1.00 kB"),
        (1_619_612_799, "B", "1.62 GB"),
        (0.0442, "s", "44.2 ms"),
        (6e-13, "J", "600 fJ"),
        (None, "J", "\u2013"),
        (float("nan"), "J", "\u2013"),
        (1e-18, "J", "1.00e-18 J"),
        (99_950, "B", "100 kB"),
    ],
)
def test_quantities(value: float | None, unit: str, text: str) -> None:
    assert figures.quantity(value, unit).replace("\u202f", " ") == text


def test_shares_never_look_like_none_or_all() -> None:
    shares = {0.0: "0.0", 1e-9: "<0.1", 0.5: "50.0", 0.99999: ">99.9", 1.0: "100.0"}
    for share, text in shares.items():
        assert figures.percent(share) == f"{text}\u202f%"
    assert figures.seconds(12.3456) == "12.3\u202fs"
    assert figures.seconds(5400.0) == "5,400\u202fs"
    assert figures.count(6615.6) == "6,615.6"
    assert figures.exact(18.75) == "18.75"
