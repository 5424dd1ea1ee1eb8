"""What was spent as a table: it fits, and says what is not sure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.console.costs import page
from xml_pipeline.journal.spending import Spending, Unsure
from xml_pipeline.terminal import columns, plain

NOTHING = Unsure(0, 0, 0)


def spent(name: str = "a", micro_usd: int = 1_000_000, **more: object) -> Spending:
    zeros = Spending(name, 2, 0, 1000, 0, 0, 200, 0, micro_usd, 0, 0, NOTHING, NOTHING, NOTHING, None)
    return zeros._replace(**more)


def shown(*found: Spending, width: int = 100, most: int = 40) -> list[str]:
    return [plain(row).rstrip() for row in page(found, "agent", width, most=most)]


def test_each_row_has_its_bar_and_there_is_a_total() -> None:
    head, first, second, total = shown(spent("writer", 4_000_000), spent("", 1_000_000))
    assert head.split() == ["AGENT", "CALLS", "INPUT", "OUTPUT", "COST"]
    assert first.split()[:5] == ["writer", "2", "1,000", "200", "$4.00"]
    assert second.startswith("(no agent)")
    assert first.count("█") == 4 * second.count("█") == 24
    assert total.split() == ["total", "4", "2,000", "400", "$5.00"]


def test_what_is_not_sure_is_marked_and_told() -> None:
    rows = shown(
        spent(
            estimated=120,
            unpriced=2,
            unconfirmed=Unsure(1, 900, 5000),
            unknown=Unsure(2, 10, 100),
            open=Unsure(1, 1, 1),
        )
    )
    assert "$1.00 ~?+" in rows[1]
    assert rows[3:] == [
        "~ 120 tokens estimated: the provider did not count them",
        "? 1 try unconfirmed (sent, and nothing came back): at most $0.0050 (900 tokens) more; budgets count it",
        "? 2 tries unknown (cut off by a death of the process): at most $0.0001 (10 tokens) more; budgets count it",
        "? 1 try on its way: at most $0.0000 (1 token) more; budgets count it",
        "+ 2 tries without a known price, not in the cost",
    ]
    assert "unknown" in shown(spent(micro_usd=0, unpriced=2))[1]


def test_caching_is_told_as_what_it_was() -> None:
    assert shown(spent(cached=9, saved=20_000))[-1] == "caching saved $0.0200, its writes paid"
    assert shown(spent(cache_write=9, saved=-20_000))[-1].startswith("caching lost $0.0200")
    assert not [row for row in shown(spent(cached=9)) if "caching" in row]
    assert "CACHED" in shown(spent(cached=9))[0]


def test_too_many_rows_are_one() -> None:
    rows = shown(*(spent(str(number)) for number in range(5)), most=3)
    assert [row.split("  ")[0] for row in rows[1:]] == ["0", "1", "2", "(2 others)", "total"]
    assert shown() == ["no model was called"]


@given(
    st.lists(
        st.builds(
            spent,
            st.text(max_size=60),
            st.integers(0, 10**13),
            prompt=st.integers(0, 10**12),
            cached=st.integers(0, 10**12),
            reasoning=st.integers(0, 10**12),
            failed=st.integers(0, 10**6),
            unpriced=st.integers(0, 3),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(40, 200),
)
def test_it_fits_whatever_stands_in_it(found: list[Spending], width: int) -> None:
    rows = page(found, "agent", width, most=40)
    table = rows[: len(found) + 2]
    assert all(columns(plain(row).rstrip()) <= width for row in table)
