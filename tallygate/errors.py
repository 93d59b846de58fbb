"""Every error Tallygate raises, in one tree.

    TallygateError
      Refusal                      we decided not to                       exit 1
        BudgetExceeded             a limit does not leave room
          EstimateExceedsBudget    the documented refusal, three lines
        PriceRefused               no price fit to decide on
        NoMatchingOffer            nothing that could be rented fits
        RuntimeUnknown             no finished run to base a run time on
        PlanRefused                the plan is not what was made, or its time is over
        HoldClosed                 the hold was settled; money cannot move on it
        StagingRefused             the job directory cannot be staged
        TransitionRefused          the job is not in a state that allows this
        CheckFailed                a verification found something wrong
      UsageError                   you asked wrongly                       exit 2
        ConfigError                a setting is unknown or makes no sense
        UnknownJob                 UnknownBudget      UnknownProvider
        UnknownRegion
      ProviderError                a cloud or billing service failed       exit 3
        LaunchRefused              definitely no machine was made
          InsufficientCapacity     QuotaExceeded      PermissionDenied
          InvalidOrder             Throttled
        OutcomeUnknown             the reply is lost; a machine may exist
        Unavailable                the service cannot be asked now
        CredentialsMissing         nobody to ask as
        ObjectMissing              the object store has no such object
      BillingError                 billing data cannot be used             exit 3
        NotYetAvailable            the bill is not there yet
        Quarantined                a delivery failed its checks and was not applied
      StoreError                   the database cannot be used             exit 4
        StoreMissing               there is no database yet
        StoreBusy                  another process holds the write lock
          StoreDeadlock            two of us waited for each other
        StoreReadOnly              StoreFull          StoreDamaged
        SchemaOutOfDate            SchemaTooNew       StoreUnreachable
        Conflict                   a row with this key already exists
        CommitUnknown              the connection died at COMMIT

A message says what happened and with which numbers; ``cure`` says what to do. The docstring of a class is its
default message, so no error is ever mute.
"""

from __future__ import annotations

from collections.abc import Mapping


class TallygateError(Exception):
    """Something went wrong in Tallygate."""

    exit_code = 1
    default_cure = ""

    def __init__(self, message: str = "", *, cure: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.cure = cure or self.default_cure
        super().__init__(self.message)


# --- we decided not to


class Refusal(TallygateError):
    """The request was refused and nothing was changed."""

    exit_code = 1


class BudgetExceeded(Refusal):
    """The budget does not leave room for this."""

    default_cure = "Lower the request, wait for held money to return, or raise the limit with: tallygate budget top-up"

    def __init__(self, message: str = "", *, cure: str = "", account: Mapping[str, str] | None = None) -> None:
        super().__init__(message, cure=cure)
        self.account = dict(account or {})
        """For programs: owner, currency, and as exact decimals limit, held, spent, available, asked and lacking."""


class EstimateExceedsBudget(BudgetExceeded):
    """The estimated cost exceeds the job's budget."""

    default_cure = ""  # the documented message ends with its own


class PriceRefused(Refusal):
    """There is no price that is fit to decide on."""

    default_cure = "Refresh the prices, or state one explicitly with --accept-price USD_PER_HOUR"


class NoMatchingOffer(Refusal):
    """No offer fits the request."""

    default_cure = "Relax the hardware bounds, or name another provider, region or instance type"


class RuntimeUnknown(Refusal):
    """There is no finished run to base the run time on."""

    default_cure = "State the hours: --estimated-runtime 2.0"


class PlanRefused(Refusal):
    """The plan cannot be launched as it was made."""

    default_cure = "Make a new plan with: python cloud_run.py JOB_DIR --plan FILE"


class HoldClosed(Refusal):
    """The hold is already settled; it can no longer be changed."""


class StagingRefused(Refusal):
    """The job directory cannot be staged."""


class TransitionRefused(Refusal):
    """The job is not in a state that allows this."""


class CheckFailed(Refusal):
    """A verification found something wrong."""


# --- you asked wrongly


class UsageError(TallygateError):
    """The request makes no sense as given."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration cannot be used."""


class UnknownJob(UsageError):
    """There is no such job."""

    default_cure = "List the jobs with: python job_manager.py list"


class UnknownBudget(UsageError):
    """There is no such budget."""

    default_cure = "List the budgets with: tallygate budget list"


class UnknownProvider(UsageError):
    """There is no such provider."""


class UnknownRegion(UsageError):
    """The provider has no such region; another one may."""


# --- a cloud or billing service failed


class ProviderError(TallygateError):
    """A provider could not do what was asked."""

    exit_code = 3


class LaunchRefused(ProviderError):
    """The provider definitely made no machine."""


class InsufficientCapacity(LaunchRefused):
    """The provider has no such machine to give right now."""


class QuotaExceeded(LaunchRefused):
    """A quota of the account does not allow this machine; a person must raise it."""


class PermissionDenied(LaunchRefused):
    """The credentials do not allow this call."""


class InvalidOrder(LaunchRefused):
    """The provider does not accept these parameters."""


class Throttled(LaunchRefused):
    """The provider refused the call before carrying it out because of too many calls."""


class OutcomeUnknown(ProviderError):
    """The provider's answer is lost; a machine may or may not exist."""

    default_cure = "The money stays held. The next reconcile settles it: python job_manager.py reconcile"


class Unavailable(ProviderError):
    """The service cannot be reached or does not answer sensibly."""


class CredentialsMissing(ProviderError):
    """There are no credentials for this service."""


class ObjectMissing(ProviderError):
    """There is no such object in the object store."""


class BillingError(TallygateError):
    """Billing data cannot be used."""

    exit_code = 3


class NotYetAvailable(BillingError):
    """The bill for this period is not there yet."""


class Quarantined(BillingError):
    """A delivery of billing data failed its checks and was not applied."""


# --- the database cannot be used


class StoreError(TallygateError):
    """The database cannot be used."""

    exit_code = 4


class StoreMissing(StoreError):
    """There is no database yet."""

    default_cure = "Any command that writes makes it, for example: tallygate migrate"


class StoreBusy(StoreError):
    """Another process holds the database's write lock."""

    default_cure = "Nothing was changed. Try again, or find the process that holds the database open"


class StoreDeadlock(StoreBusy):
    """Two sessions waited for each other, and the database ended this one's transaction."""


class StoreReadOnly(StoreError):
    """The database or its directory is read-only."""

    default_cure = "Nothing was changed. Give this user write access to the file and its directory"


class StoreFull(StoreError):
    """The disk or the database is full."""

    default_cure = "Nothing was changed. Free space on the disk that holds the database"


class StoreDamaged(StoreError):
    """The database file is damaged or is not a database."""

    default_cure = "Do not repair it in place. Restore a backup next to it and reconcile"


class StoreUnreachable(StoreError):
    """The database server cannot be reached."""

    default_cure = "Check the host, user and password of the database URL, and that the server runs"


class SchemaOutOfDate(StoreError):
    """The database is older than this program."""


class SchemaTooNew(StoreError):
    """The database was made by a newer Tallygate."""

    default_cure = "Use the Tallygate version that wrote it, or a newer one; nothing was changed"


class Conflict(StoreError):
    """A row with this key already exists."""


class CommitUnknown(StoreError):
    """The connection was lost while committing; the change may or may not be stored."""

    default_cure = "Look before repeating: python job_manager.py list, then reconcile"
