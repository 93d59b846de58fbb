"""``tallygate budget``: the three jars of every budget, how they came to be what they are, and whether that is true."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as configuration
from ..errors import CheckFailed, UsageError
from ..money import NANOS_MAX, NANOS_PER_UNIT, Money, parse_decimal
from . import flags
from .options import ConfigFile, Json
from .output import note, show, show_columns, show_json
from .program import Entry, Menu

if TYPE_CHECKING:
    from ..app import App
    from ..ledger.holds import Account, Budget
    from ..ledger.holds import Entry as JournalEntry

PERIODS = ("none", "day", "month", "quarter", "year")
HISTORY_MAX = 100_000

ENTRIES: Mapping[str, Entry] = {
    "add": Entry(f"{__name__}:add", "Set up a budget."),
    "list": Entry(f"{__name__}:list_budgets", "Every budget with what is available, held and spent."),
    "show": Entry(f"{__name__}:show_budget", "One budget and its jars."),
    "set": Entry(f"{__name__}:set_limit", "Change a budget's limit."),
    "top-up": Entry(f"{__name__}:top_up", "Raise a budget's current limit by an amount."),
    "history": Entry(f"{__name__}:history", "Every movement of a budget's money, newest first."),
    "verify": Entry(f"{__name__}:verify", "Recompute the whole journal; exit 1 names the first bad row."),
}
MENU = Menu("Budgets: limits that what is held and spent together never passes.", ENTRIES)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The budget's name.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the journal.")]


def _open(config: str | None, *, readonly: bool = False) -> "App":
    from ..app import App

    return App.open(configuration.load(config), readonly=readonly)


# --- changing


def add(
    name: Name,
    limit: Annotated[str, typer.Option("--limit", metavar="USD", help="The most that may be held and spent together.")],
    scope: Annotated[
        str | None, typer.Option("--scope", metavar="PATH", help="Path such as org/team (default: the name).")
    ] = None,
    period: Annotated[
        str, typer.Option("--period", metavar="PERIOD", help=f"When it renews: {', '.join(PERIODS)}.")
    ] = "none",
    zone: Annotated[
        str, typer.Option("--zone", metavar="ZONE", help="Whose midnight starts a period, such as Europe/Berlin.")
    ] = "UTC",
    soft: Annotated[bool, typer.Option("--soft", help="Admit beyond the limit, and show the excess.")] = False,
    alert: Annotated[
        list[str] | None,
        typer.Option("--alert", metavar="PERCENT", help="Percent at which to alert; repeatable (default: 50 80 100)."),
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Set up a budget. Adding the same budget again changes nothing.

    A job charged to a path draws on every budget at that path and above it.

    \b
    Examples:
      tallygate budget add team --limit 500
      tallygate budget add org/team/search --limit 200 --period month --zone Europe/Berlin
    """
    from ..ledger.holds import BudgetPeriod

    _limit("--limit", limit, "USD")
    renews = flags.choice("--period", period, PERIODS) or "none"
    percents = tuple(flags.whole("--alert", one, low=1, high=1_000) for one in alert or ("50", "80", "100"))
    settings = configuration.load(config)
    from ..app import App

    with App.open(settings) as app:
        budget = app.book.add_budget(
            name=name,
            limit=_limit("--limit", limit, settings.currency),
            scope=scope,
            period=BudgetPeriod(renews),
            zone=zone,
            hard=not soft,
            alert_percents=percents,
        )
        _show_one(budget, app.book.account(budget, app.clock.now()), as_json=json)


def set_limit(
    name: Name,
    limit: Annotated[str, typer.Option("--limit", metavar="USD", help="The new limit.")],
    reason: Reason = "set by hand",
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Change a budget's limit. What is held and spent stays; lowered below that, nothing more is admitted.

    \b
    Example:
      tallygate budget set team --limit 750 --reason "approved by finance"
    """
    _limit("--limit", limit, "USD")
    with _open(config) as app:
        known = app.book.budget(name)
        budget = app.book.set_limit(name, _limit("--limit", limit, known.limit.currency), reason=reason)
        _show_one(budget, app.book.account(budget, app.clock.now()), as_json=json)


def top_up(
    name: Name,
    amount: Annotated[str, typer.Argument(metavar="USD", help="By how much.")],
    reason: Reason = "topped up by hand",
    key: Annotated[
        str | None, typer.Option("--key", metavar="TEXT", help="A repeat with the same key adds only once.")
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Raise a budget's limit by an amount, in its current period only.

    \b
    Example:
      tallygate budget top-up team 50 --reason "rerun of the failed batch" --key ticket-4711
    """
    flags.money("USD", amount)
    once = flags.text("--key", key, at_most=128)
    with _open(config) as app:
        more = flags.money("USD", amount, app.book.budget(name).limit.currency)
        assert more is not None
        budget = app.book.top_up(name, more, reason=reason, key=once)
        _show_one(budget, app.book.account(budget, app.clock.now()), as_json=json)


def _limit(flag: str, text: str, currency: str) -> Money:
    """A limit may be zero: such a budget admits nothing."""
    try:
        found = Money.of(parse_decimal(text), currency)
    except UsageError as error:
        raise UsageError(f"{flag} {text[:60]!r} is not an amount", cure=error.cure or "Write it like 500.00") from None
    if not 0 <= found.nanos <= NANOS_MAX:
        raise UsageError(
            f"{flag} {text[:60]!r} is not a limit", cure=f"Give an amount from 0 to {NANOS_MAX // NANOS_PER_UNIT:,}"
        )
    return found


# --- looking


def list_budgets(config: ConfigFile = None, json: Json = False) -> None:
    """Every budget with what is available, held and spent in its current period.

    \b
    Example:
      tallygate budget list
    """
    with _open(config, readonly=True) as app:
        now = app.clock.now()
        found = [(budget, app.book.account(budget, now)) for budget in app.book.budgets()]
    if json:
        show_json([_for_programs(budget, account) for budget, account in found])
        return
    if not found:
        note("No budgets. Set one up with: tallygate budget add NAME --limit USD")
        return
    show_columns(
        [
            (b.name, b.scope, b.period, a.limit, a.available, a.held, a.spent, a.excess if a.excess.nanos else None)
            for b, a in found
        ],
        ("BUDGET", "SCOPE", "PERIOD", "LIMIT", "AVAILABLE", "HELD", "SPENT", "EXCESS"),
        expendable=("SCOPE", "PERIOD", "EXCESS", "LIMIT"),
    )


def show_budget(name: Name, config: ConfigFile = None, json: Json = False) -> None:
    """One budget and its three jars: available, held and spent.

    \b
    Example:
      tallygate budget show team
    """
    with _open(config, readonly=True) as app:
        budget = app.book.budget(name)
        _show_one(budget, app.book.account(budget, app.clock.now()), as_json=json)


def history(
    name: Name,
    limit: Annotated[str, typer.Option("--limit", metavar="N", help="At most so many movements.")] = "50",
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Every movement of a budget's money, newest first. Nothing in it is ever changed or deleted.

    \b
    Example:
      tallygate budget history team --limit 20
    """
    most = flags.whole("--limit", limit, low=1, high=HISTORY_MAX)
    with _open(config, readonly=True) as app:
        entries = app.book.history(name, limit=most)
    if json:
        show_json([_entry_for_programs(entry) for entry in entries])
        return
    if not entries:
        note("Nothing has moved yet.")
        return
    show_columns(
        [(e.at, e.kind, e.amount, e.sequence, e.author, e.reason) for e in entries],
        ("AT", "KIND", "AMOUNT", "ENTRY", "BY", "REASON"),
        expendable=("BY", "ENTRY", "REASON"),
    )


def _show_one(budget: "Budget", account: "Account", *, as_json: bool) -> None:
    if as_json:
        show_json(_for_programs(budget, account))
        return
    from ..reports.render import amount, cell

    pairs = [
        ("Budget", budget.name),
        ("Scope", budget.scope),
        ("Renews", "never" if budget.period == "none" else f"every {budget.period}, at midnight in {budget.zone}"),
        ("Kind", "hard: refuses beyond the limit" if budget.hard else "soft: admits beyond the limit"),
        ("Limit", amount(account.limit)),
        ("Available", amount(account.available)),
        ("Held", amount(account.held)),
        ("Spent", amount(account.spent)),
    ]
    if account.excess.nanos:
        pairs.append(("Excess", amount(account.excess)))
    show("\n".join(f"{name + ':':<11}{cell(value)}" for name, value in pairs))


def _for_programs(budget: "Budget", account: "Account") -> dict[str, object]:
    return {
        "name": budget.name,
        "scope": budget.scope,
        "period": budget.period,
        "zone": budget.zone,
        "hard": budget.hard,
        "alert_percents": list(budget.alert_percents),
        "currency": account.limit.currency,
        "limit": account.limit,
        "available": account.available,
        "held": account.held,
        "spent": account.spent,
        "excess": account.excess,
        "window_start": None if budget.period == "none" else account.window.start,
        "window_end": None if budget.period == "none" else account.window.end,
    }


def _entry_for_programs(entry: "JournalEntry") -> dict[str, object]:
    return {
        "at": entry.at,
        "kind": entry.kind,
        "amount": entry.amount,
        "currency": entry.amount.currency,
        "account": entry.account_id,
        "sequence": entry.sequence,
        "job": entry.job_id,
        "key": entry.key,
        "author": entry.author,
        "reason": entry.reason,
        "hash": entry.hash,
    }


def verify(config: ConfigFile = None, json: Json = False) -> int:
    """Recompute every account, hold and entry from the journal. Exit code 1 names the first row that is wrong.

    Keep the printed head somewhere else: it shows later whether the past was rewritten.

    \b
    Example:
      tallygate budget verify
    """
    with _open(config, readonly=True) as app:
        found = app.book.verify()
    if json:
        show_json(
            {
                "clean": found.is_clean,
                "problem": found.problem,
                "accounts": found.accounts,
                "entries": found.entries,
                "holds": found.holds,
                "head": found.head,
                "heads": found.heads,
            }
        )
    elif found.problem is None:
        show(f"{found.accounts:,} accounts, {found.entries:,} entries and {found.holds:,} holds agree")
        show(f"head {found.head}")
    if found.problem is not None:
        raise CheckFailed(found.problem, cure="Do not repair it in place. Restore a backup beside it and compare")
    return 0
