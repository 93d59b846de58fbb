"""What the umbrella command offers."""

from .program import Entry, Menu

MENU = Menu(
    "Tally the bill, gate the launch: run jobs under budgets that cannot be broken.",
    {
        "find": Entry("tallygate.cli.find:find", "Find the cheapest machine that fits, over all providers."),
        "run": Entry("tallygate.cli.run:run", "Launch a job directory under a budget."),
        "jobs": Entry("tallygate.cli.jobs:MENU", "List, show, watch, end and fetch jobs."),
        "costs": Entry("tallygate.cli.costs:costs", "Retrieve the actual costs of jobs."),
        "report": Entry("tallygate.cli.reports:MENU", "Cost reports: job, trends, budget, compare."),
        "prices": Entry("tallygate.cli.prices:MENU", "Read prices, see what they are and were, import lists."),
        "budget": Entry("tallygate.cli.budgets:MENU", "Add, show and raise budgets; verify their journal."),
        "simulate": Entry(
            "tallygate.cli.simulate:simulate", "Run everything in a pretend world, every promise checked."
        ),
        "demo": Entry("tallygate.cli.demo:demo", "Watch a simulated month of a small team."),
        "migrate": Entry("tallygate.cli.store:migrate", "Make the database, or bring it up to date."),
        "config": Entry("tallygate.cli.settings:MENU", "Settings in force."),
    },
)
