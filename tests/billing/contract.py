"""What every billing source promises, whoever's bill it is."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from tallygate.billing import focus_file
from tallygate.billing.charge import CATEGORIES, CURRENCIES
from tallygate.billing.source import BillingSource
from tallygate.times import Period

MARCH = Period.month(datetime(2026, 3, 1, tzinfo=UTC))
MIDDLE = datetime(2026, 3, 15, tzinfo=UTC)


class BillingSourceContract:
    """Inherit and give ``source``: one that has charges in March 2026, on several days, and none in 2019."""

    @pytest.fixture
    def source(self) -> BillingSource:
        raise AssertionError("the test class gives the source")

    def test_every_charge_starts_inside_the_period(self, source: BillingSource) -> None:
        found = list(source.charges(MARCH))
        assert found
        assert all(charge.charge_period.start in MARCH for charge in found)

    def test_two_halves_are_the_whole(self, source: BillingSource) -> None:
        """A period's end is not in it, so that nothing is delivered twice or not at all."""
        first = list(source.charges(Period(MARCH.start, MIDDLE)))
        second = list(source.charges(Period(MIDDLE, MARCH.end)))
        whole = list(source.charges(MARCH))
        assert sorted(map(repr, [*first, *second])) == sorted(map(repr, whole))

    def test_asking_changes_nothing(self, source: BillingSource) -> None:
        assert list(source.charges(MARCH)) == list(source.charges(MARCH))

    def test_a_period_without_charges_is_an_empty_answer(self, source: BillingSource) -> None:
        assert list(source.charges(Period.month(datetime(2019, 1, 1, tzinfo=UTC)))) == []

    def test_completeness_is_a_moment_that_does_not_go_back(self, source: BillingSource) -> None:
        first, second = source.complete_through(), source.complete_through()
        assert first.utcoffset() == timedelta(0)
        assert first <= second

    def test_every_question_is_counted_and_has_a_price(self, source: BillingSource) -> None:
        before = source.calls
        list(source.charges(MARCH))
        assert source.calls > before
        assert source.call_price.nanos >= 0

    def test_charges_say_what_attribution_and_reports_need(self, source: BillingSource) -> None:
        for charge in source.charges(MARCH):
            assert charge.charge_category in CATEGORIES
            assert charge.billed_cost.currency in CURRENCIES
            assert charge.billing_account_id
            assert charge.service_name
            assert charge.service_category
            assert charge.resource_id is not None or charge.tags or charge.charge_category != "Usage"
            assert charge.billing_period.overlap(charge.charge_period) or charge.charge_period.start in MARCH

    def test_charges_survive_being_kept_as_a_file(self, source: BillingSource) -> None:
        found = list(source.charges(MARCH))
        target = io.BytesIO()
        focus_file.write(target, found, compressed=False)
        assert list(focus_file.parse(target.getvalue().decode())) == found
