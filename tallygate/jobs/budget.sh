#!/bin/sh
# What time and money a job has left: the words of the command `tallygate-budget`, and the first half of the agent, which
# computes with the same words (agent.sh follows it in one text).
#
#   tallygate-budget                  everything
#   tallygate-budget remaining        one word of it: remaining, seconds, spent, held, price, next-threshold, notice
#
# Plain integers throughout: money in nano-units, time in hundredths of a second since boot. Needs a POSIX shell and next
# to nothing else. Variables begin with tg_, so that no job's environment can name one.

set -u
umask 077

tg_clock_floor=1767225600 # 2026-01-01: a clock that shows less has not been set
tg_uptime_file=${TALLYGATE_UPTIME_FILE:-/proc/uptime}
tg_naps=0 tg_me=main

# --- reading the document

# tg_read_flat FILE PREFIX: every line `"key": value` becomes the variable PREFIX_key. Nothing is evaluated.
tg_read_flat() {
    while IFS= read -r tg_line || [ -n "$tg_line" ]; do
        case $tg_line in *\"*\":\ *) ;; *) continue ;; esac
        tg_key=${tg_line#*\"}
        tg_key=${tg_key%%\"*}
        case $tg_key in '' | *[!a-z0-9_]*) continue ;; esac
        tg_value=${tg_line#*\": }
        tg_value=${tg_value%,}
        case $tg_value in \"*\") tg_value=${tg_value#\"} tg_value=${tg_value%\"} ;; esac
        eval "$2_$tg_key=\$tg_value"
    done 2>/dev/null <"$1"
}

# tg_digits NAME DEFAULT: makes sure that a variable holds a plain number that 64 bits can hold.
tg_digits() {
    eval "tg_value=\${$1-}"
    case $tg_value in
    '' | *[!0-9]* | 0?* | ???????????????????*) eval "$1=\$2" ;;
    esac
}

tg_read_document() {
    tg_doc_job_id='' tg_doc_attempt=0 tg_doc_token='' tg_doc_image='' tg_doc_command='' tg_doc_result='' tg_doc_log=''
    tg_doc_heartbeat='' tg_doc_output='' tg_doc_checkpoint='' tg_doc_inputs='' tg_doc_inputs_sha256='' tg_doc_counts_from=''
    tg_doc_currency=USD tg_doc_thresholds='' tg_doc_job_name='' tg_doc_budget_nanos=''
    [ -r "$tg_document" ] && tg_read_flat "$tg_document" tg_doc
    for tg_name in attempt made_epoch run_seconds_max not_after_epoch grace_seconds reserve_seconds price_nanos \
        price_max_nanos held_nanos spent_before_nanos environment_count memory_mib vcpus gpus; do
        tg_digits "tg_doc_$tg_name" 0
    done
    for tg_name in upload_seconds log_seconds checkpoint_seconds; do tg_digits "tg_doc_$tg_name" 60; done
    tg_floor=$((tg_doc_made_epoch - 86400))
    [ "$tg_floor" -ge "$tg_clock_floor" ] || tg_floor=$tg_clock_floor
    tg_run_max=$tg_doc_run_seconds_max tg_not_after=$tg_doc_not_after_epoch tg_held=$tg_doc_held_nanos
}

# --- time

# The time since boot in hundredths of a second, suspension included; empty when nobody can say.
tg_uptime() {
    tg_up=''
    { read -r tg_up tg_rest <"$tg_uptime_file" || tg_up=''; } 2>/dev/null
    case $tg_up in
    '' | *[!0-9.]* | *.*.* | .*) tg_up='' ;;
    *.[0-9][0-9]) tg_up=$((${tg_up%.*} * 100 + 1${tg_up#*.} - 100)) ;;
    *) tg_up=$((${tg_up%%.*} * 100)) ;;
    esac
}

# The clock's seconds; 0 when there is none to be trusted.
tg_clock() {
    tg_epoch=$(date +%s 2>/dev/null) || tg_epoch=0
    tg_digits tg_epoch 0
    [ "$tg_epoch" -ge "$tg_floor" ] || tg_epoch=0
}

tg_start_clock() {
    tg_uptime
    tg_up0=$tg_up
    tg_clock
    tg_epoch0=$tg_epoch
    [ "$tg_doc_counts_from" != boot ] || tg_up0=0
}

# Hundredths of a second since the start: by uptime, else by the clock, else by counting our own naps.
tg_elapsed_now() {
    tg_uptime
    if [ -n "$tg_up" ] && [ -n "$tg_up0" ] && [ "$tg_up" -ge "$tg_up0" ]; then
        tg_elapsed=$((tg_up - tg_up0))
        return
    fi
    tg_clock
    if [ "$tg_epoch" -gt 0 ] && [ "$tg_epoch0" -gt 0 ]; then
        tg_elapsed=$(((tg_epoch - tg_epoch0) * 100))
    else
        tg_elapsed=$((tg_naps * 100))
    fi
}

# Hundredths of a second until the machine must be gone.
tg_left_now() {
    tg_elapsed_now
    tg_left=$((tg_run_max * 100 - tg_elapsed))
    tg_clock
    if [ "$tg_epoch" -gt 0 ] && [ $(((tg_not_after - tg_epoch) * 100)) -lt "$tg_left" ]; then
        tg_left=$(((tg_not_after - tg_epoch) * 100))
    fi
}

# An extension lies in FOLDER/deadline. It can only move the end further away; to bring it nearer there is the stop.
tg_heed_deadline() {
    [ -r "$tg_folder/deadline" ] || return 0
    tg_later_run=0 tg_later_not_after=0 tg_later_held=0
    { read -r tg_later_run tg_later_not_after tg_later_held <"$tg_folder/deadline"; } 2>/dev/null
    tg_digits tg_later_run 0
    tg_digits tg_later_not_after 0
    tg_digits tg_later_held 0
    [ "$tg_later_run" -le "$tg_run_max" ] || tg_run_max=$tg_later_run
    [ "$tg_later_not_after" -le "$tg_not_after" ] || tg_not_after=$tg_later_not_after
    [ "$tg_later_held" -le "$tg_held" ] || tg_held=$tg_later_held
}

# tg_nap SECONDS. Without a working `sleep` it watches the time pass; without any time there is nothing to wait for.
tg_nap() {
    tg_naps=$((tg_naps + $1))
    sleep "$1" 2>/dev/null && return 0
    tg_uptime
    [ -n "$tg_up" ] || return 1
    tg_until=$((tg_up + $1 * 100))
    while [ -n "$tg_up" ] && [ "$tg_up" -lt "$tg_until" ]; do tg_uptime; done
}

# --- money, in whole nano-units

# tg_money NANOS: the amount as exact decimal text in tg_amount.
tg_money() {
    tg_nanos=$1 tg_sign=''
    if [ "$tg_nanos" -lt 0 ]; then tg_sign=- tg_nanos=$((-tg_nanos)); fi
    tg_fraction=$((1000000000 + tg_nanos % 1000000000))
    tg_fraction=${tg_fraction#1}
    while :; do case $tg_fraction in ??*0) tg_fraction=${tg_fraction%0} ;; *) break ;; esac; done
    tg_amount=$tg_sign$((tg_nanos / 1000000000)).$tg_fraction
}

# tg_seconds_for NANOS: how long this much lasts at the current price, in tg_lasts.
tg_seconds_for() {
    tg_lasts=0
    [ "$1" -gt 0 ] && [ "$tg_doc_price_nanos" -gt 0 ] || return 0
    tg_hours=$(($1 / tg_doc_price_nanos))
    [ "$tg_hours" -le 1000000 ] || tg_hours=1000000 # for ever, as far as a job is concerned
    tg_lasts=$((tg_hours * 3600 + $1 % tg_doc_price_nanos * 3600 / tg_doc_price_nanos))
}

# What has been spent and what is left now: money until what is held is used up, seconds until the job is asked to stop.
tg_reckon() {
    tg_left_now
    tg_seconds=$(((tg_elapsed + 99) / 100))
    tg_spent=$((tg_doc_price_nanos / 3600 * tg_seconds + tg_doc_price_nanos % 3600 * tg_seconds / 3600))
    tg_spent=$((tg_spent + tg_doc_spent_before_nanos))
    tg_remaining=$((tg_held - tg_spent))
    tg_seconds_for "$tg_remaining"
    tg_seconds_left=$((tg_left / 100 - tg_doc_reserve_seconds))
    [ "$tg_lasts" -ge "$tg_seconds_left" ] || tg_seconds_left=$tg_lasts
    [ "$tg_seconds_left" -gt 0 ] || tg_seconds_left=0
    tg_next_percent='' tg_next_nanos=0 tg_next_seconds=0
    for tg_percent in $tg_doc_thresholds; do
        tg_digits tg_percent 0
        tg_next_nanos=$((tg_held / 100 * tg_percent + tg_held % 100 * tg_percent / 100))
        if [ "$tg_next_nanos" -gt "$tg_spent" ]; then
            tg_next_percent=$tg_percent
            tg_seconds_for $((tg_next_nanos - tg_spent))
            tg_next_seconds=$tg_lasts
            break
        fi
    done
}

# tg_write FILE TEXT: a small file, all of it at once where the system allows. The watchdog, which speaks last, does
# without other programs: one of them may be what hangs.
tg_write() {
    tg_beside=${1%/*}/.${1##*/}.$tg_me
    [ "$tg_me" != watchdog ] && { printf '%s\n' "$2" >"$tg_beside" && mv -f "$tg_beside" "$1"; } 2>/dev/null && return 0
    { printf '%s\n' "$2" >"$1"; } 2>/dev/null
}

# Money as it stands, for the job to read. Exact decimals for people, nano-units and moments for tallygate-budget.
tg_tell_budget() {
    tg_reckon
    tg_budget=null
    if [ -n "$tg_doc_budget_nanos" ]; then tg_money "$tg_doc_budget_nanos" && tg_budget=$tg_amount; fi
    tg_text="{
  \"job_id\": \"$tg_doc_job_id\",
  \"attempt\": $tg_doc_attempt,
  \"currency\": \"$tg_doc_currency\",
  \"budget\": $tg_budget"
    for tg_pair in "held $tg_held" "price_per_hour $tg_doc_price_nanos" "price_max_per_hour $tg_doc_price_max_nanos" \
        "spent_before $tg_doc_spent_before_nanos" "spent $tg_spent" "remaining $tg_remaining"; do
        tg_money "${tg_pair#* }"
        tg_text="$tg_text,
  \"${tg_pair% *}\": $tg_amount"
    done
    tg_write "$tg_folder/told/budget.json" "$tg_text,
  \"seconds_left\": $tg_seconds_left,
  \"next_threshold_percent\": ${tg_next_percent:-null},
  \"next_threshold_seconds\": $tg_next_seconds,
  \"as_of_epoch\": $tg_epoch,
  \"started_epoch\": $tg_epoch0,
  \"started_uptime\": ${tg_up0:-null},
  \"deadline_epoch\": $((tg_epoch + tg_left / 100)),
  \"not_after_epoch\": $tg_not_after,
  \"run_seconds_max\": $tg_run_max,
  \"reserve_seconds\": $tg_doc_reserve_seconds,
  \"budget_nanos\": ${tg_doc_budget_nanos:-null},
  \"held_nanos\": $tg_held,
  \"price_nanos\": $tg_doc_price_nanos,
  \"spent_before_nanos\": $tg_doc_spent_before_nanos,
  \"thresholds\": \"$tg_doc_thresholds\"
}"
}

# The job's own question: everything, or one word of it, computed at this moment.
tg_answer_budget() {
    tg_document=${TALLYGATE_BUDGET_FILE:-}
    tg_read_document
    if [ ! -r "$tg_document" ]; then
        printf 'tallygate-budget: there is no budget file here\n' >&2
        exit 2
    fi
    tg_epoch0=${tg_doc_started_epoch:-0} tg_up0=${tg_doc_started_uptime:-}
    tg_digits tg_epoch0 0
    tg_digits tg_up0 ''
    tg_reckon
    case ${1:-all} in
    remaining) tg_money "$tg_remaining" && printf '%s\n' "$tg_amount" ;;
    spent) tg_money "$tg_spent" && printf '%s\n' "$tg_amount" ;;
    held) tg_money "$tg_held" && printf '%s\n' "$tg_amount" ;;
    price) tg_money "$tg_doc_price_nanos" && printf '%s\n' "$tg_amount" ;;
    seconds) printf '%s\n' "$tg_seconds_left" ;;
    notice) cat "${TALLYGATE_NOTICE_FILE:-/nonexistent}" ;;
    next-threshold)
        [ -n "$tg_next_percent" ] || exit 1
        tg_money "$tg_next_nanos"
        printf '%s %s %s\n' "$tg_next_percent" "$tg_amount" "$tg_next_seconds"
        ;;
    all)
        for tg_pair in "held $tg_held" "spent $tg_spent" "remaining $tg_remaining" "price $tg_doc_price_nanos"; do
            tg_money "${tg_pair#* }"
            printf '%-15s %s %s\n' "${tg_pair% *}" "$tg_amount" "$tg_doc_currency"
        done
        printf '%-15s %s\n' seconds "$tg_seconds_left"
        [ -z "$tg_next_percent" ] || printf '%-15s %s%% in %s s\n' next-threshold "$tg_next_percent" "$tg_next_seconds"
        ;;
    *)
        printf 'usage: tallygate-budget [remaining|seconds|spent|held|price|next-threshold|notice]\n' >&2
        exit 2
        ;;
    esac
}

case ${0##*/} in
tallygate-budget)
    tg_answer_budget "$@"
    exit
    ;;
esac
