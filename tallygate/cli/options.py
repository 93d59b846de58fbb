"""Options that several commands share, so that they mean and say the same everywhere."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON: nothing else on standard output, exact amounts.")]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Configuration file instead of config.json here."),
]
JobReference = Annotated[
    str, typer.Argument(metavar="JOB", help="Job id, the beginning of one (6 characters or more), or a job's name.")
]
ProviderFilter = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="Only this provider: local, AWS, GCP or Azure.")
]
Days = Annotated[str, typer.Option("--days", metavar="N", help="Number of days to analyze, today included.")]
