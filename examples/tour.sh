#!/bin/sh
# A short tour with real jobs on this machine: what `make run` shows. It can be taken again and again; everything it makes
# is in cloud_jobs.db and .tallygate/ in the checkout.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n%s\n' "$*"; }
show() {
    printf '\n$ %s\n' "$*"
    "$@"
}
# A refusal is what this step is about: any other end of it ends the tour.
show_refused() {
    printf '\n$ %s\n' "$*"
    answer=0
    "$@" || answer=$?
    [ "$answer" -eq 1 ] || exit 1
    echo "(exit code 1, and nothing was launched)"
}

say "1. A budget: one dollar a day, which nothing charged to it can pass."
show tallygate budget add tour --limit 1.00 --period day

say "2. What would a job cost, and what is the most it can cost? Nothing is touched."
show python cloud_run.py examples/primes --provider local --budget 0.05 --estimated-runtime 0.005 --charge-to tour --dry-run

say "3. The same job with a runtime that its budget cannot pay is refused."
show_refused python cloud_run.py examples/primes --provider local --budget 0.05 --estimated-runtime 10 --charge-to tour

say "4. Launch: the worst case is held first, then the job really runs on this machine."
show python cloud_run.py examples/primes --provider local --budget 0.05 --estimated-runtime 0.005 --charge-to tour --wait

say "5. A job that reads its own budget and does as much as ends before it is stopped."
show python cloud_run.py examples/budget_aware --provider local --budget 0.01 --estimated-runtime 0.002 --charge-to tour --wait

say "6. The bill arrives and is settled against what was held."
show python cost_tracker.py --batch
show python cloud_cost_report.py job primes

say "7. Where the money of the budget is now."
show tallygate budget show tour

cat <<'END'

That was the tour. The database cloud_jobs.db is here now; try, with .venv/bin/python:

  .venv/bin/python job_manager.py list
  .venv/bin/python job_manager.py fetch primes --into results
  .venv/bin/python cloud_cost_report.py trends --days 30
  .venv/bin/python cloud_cost_report.py budget
  .venv/bin/python cloud_run.py examples/checkpoint --provider local --budget 0.05 --estimated-runtime 0.05 --wait
  .venv/bin/tallygate budget history tour
END
