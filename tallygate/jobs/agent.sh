# The agent: runs one job on one machine, reports what came of it, and ends the machine. (budget.sh comes before it.)
#
#   sh agent.sh DOCUMENT FOLDER [exit | poweroff]      the last word says how this machine is ended
#
# The deadline is armed before anything else, by the time since boot and by the clock, whichever comes first. Whatever
# fails after that, the last three things still happen: the job's processes are killed, a report is left, the machine is
# ended. A watchdog in a session of its own does the same should this process be gone or stuck.
#
# Needs a POSIX shell, coreutils, tar and gzip; curl or wget only for places that begin with https. Works without any of
# them to the point of reporting and ending.
#
# FOLDER: job/ (inputs, where the command runs) outputs/ checkpoint/ told/ (budget.json, notice) bin/ log result.json

tg_log_bytes_max=104857600
tg_stop='' tg_stopping='' tg_child='' tg_abortable='' tg_job='' tg_ticker='' tg_killer='' tg_watchdog=''
tg_reason=setup tg_detail='' tg_status=null tg_outputs=none tg_checkpoint=none tg_image='' tg_resumed=0
tg_setsid='' tg_timeout='' tg_main=$$ tg_checkpoints_asked=0 tg_shares=1 tg_answer=0 tg_trapped=''

# --- moving files, each within a bound

# tg_wait PID: its exit status in tg_answer. A signal to us ends the shell's own `wait` early, so we wait again.
tg_wait() {
    tg_answer=''
    while :; do
        tg_trapped=''
        wait "$1"
        tg_code=$?
        if [ "$tg_code" != 127 ] || [ -z "$tg_answer" ]; then tg_answer=$tg_code; fi
        [ -n "$tg_trapped" ] || return 0
    done
}

# tg_bounded SECONDS COMMAND ...: a program that may take so long and no longer. A stop ends it early while fetching.
tg_bounded() {
    tg_limit=$1 tg_guard=''
    [ "$tg_limit" -ge 1 ] || tg_limit=1 # timeout takes 0 for no limit at all
    shift
    if [ -n "$tg_timeout" ]; then
        "$tg_timeout" -k 2 "$tg_limit" "$@" </dev/null >/dev/null 2>&3 &
        tg_child=$!
    else
        "$@" </dev/null >/dev/null 2>&3 &
        tg_child=$!
        (
            while [ "$tg_limit" -gt 0 ] && kill -0 "$tg_child"; do tg_nap 1 && tg_limit=$((tg_limit - 1)); done
            kill -s KILL "$tg_child"
        ) >/dev/null 2>&1 &
        tg_guard=$!
    fi
    tg_wait "$tg_child"
    tg_child=''
    [ -z "$tg_guard" ] || kill -s KILL "$tg_guard" 2>/dev/null
    return "$tg_answer"
}

# How long one upload may take now, in tg_most: one of tg_shares of what is left, so that some remains for the next.
tg_bound() {
    tg_left_now
    tg_most=$(((tg_left + 99) / 100 / tg_shares))
    [ "$tg_most" -le "$tg_doc_upload_seconds" ] || tg_most=$tg_doc_upload_seconds
    [ "$tg_most" -ge 1 ] || tg_most=1
}

# tg_place URL: the path of a file:// URL in tg_path, with %41 turned into A by the shell alone.
tg_place() {
    tg_rest=${1#file://} tg_path=''
    while :; do
        case $tg_rest in *%??*) ;; *) break ;; esac
        tg_path=$tg_path${tg_rest%%\%*}
        tg_rest=${tg_rest#*%}
        tg_hex=${tg_rest%"${tg_rest#??}"}
        tg_rest=${tg_rest#??}
        case $tg_hex in *[!0-9A-Fa-f]*) return 1 ;; esac
        # shellcheck disable=SC2059
        tg_byte=$(printf "\\$(printf '%03o' "0x$tg_hex")x")
        tg_path=$tg_path${tg_byte%x}
    done
    tg_path=$tg_path$tg_rest
}

# Whether the last program was ended because its time was up, or ours is. Another way would be no faster.
tg_was_slow() {
    case $tg_answer in 124 | 137) return 0 ;; esac
    [ -n "$tg_abortable" ] && [ -n "$tg_stop" ]
}

tg_copy() {
    tg_bounded "$tg_most" cp "$1" "$2" && return 0
    ! tg_was_slow && tg_bounded "$tg_most" /bin/sh -c 'cat <"$1" >"$2"' sh "$1" "$2"
}

# tg_get URL FILE
tg_get() {
    case $1 in
    file://*) tg_place "$1" && [ -f "$tg_path" ] && tg_copy "$tg_path" "$2" ;;
    *)
        tg_bounded "$tg_most" curl -gfsSL --retry 3 --connect-timeout 20 -o "$2" "$1" && return 0
        ! tg_was_slow && tg_bounded "$tg_most" wget -q -T 20 -t 3 -O "$2" "$1"
        ;;
    esac
}

# tg_put FILE URL
tg_put() {
    [ -n "$2" ] || return 1
    case $2 in
    file://*)
        tg_place "$2" || return 1
        [ -d "${tg_path%/*}" ] || mkdir -p "${tg_path%/*}" 2>/dev/null
        tg_beside=${tg_path%/*}/.${tg_path##*/}.$tg_me
        tg_copy "$1" "$tg_beside" || return 1
        mv -f "$tg_beside" "$tg_path" 2>/dev/null || tg_copy "$1" "$tg_path"
        ;;
    *)
        tg_bounded "$tg_most" curl -gfsS -H Expect: --retry 3 --connect-timeout 20 -T "$1" "$2" && return 0
        ! tg_was_slow && tg_bounded "$tg_most" wget -q -T 20 -t 3 -O /dev/null --method=PUT --body-file="$1" "$2"
        ;;
    esac
}

# tg_put_text TEXT URL: for the small files that must arrive even where `cp` does not work.
tg_put_text() {
    case $2 in
    file://*)
        tg_place "$2" || return 1
        [ -d "${tg_path%/*}" ] || mkdir -p "${tg_path%/*}" 2>/dev/null
        tg_write "$tg_path" "$1"
        ;;
    *) tg_write "$tg_folder/text-$tg_me" "$1" && tg_put "$tg_folder/text-$tg_me" "$2" ;;
    esac
}

tg_is_empty() {
    for tg_each in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$tg_each" ] || [ -L "$tg_each" ]; then return 1; fi
    done
}

# tg_pack FOLDER NAME URL: packs and uploads a folder. Answers 2 when it changed meanwhile.
tg_pack() {
    tg_bound
    tg_bounded "$tg_most" tar -czf "$tg_folder/$2.$tg_me" -C "$1" .
    case $? in
    0) ;;
    1) [ "$tg_me" = main ] && [ -s "$tg_folder/$2.$tg_me" ] || return 2 ;;
    *) return 1 ;;
    esac
    tg_bound
    tg_put "$tg_folder/$2.$tg_me" "$3"
}

# The log as it is, or its beginning and its end when it is too long for anybody to read.
tg_save_log() {
    tg_bound
    [ -s "$tg_folder/log" ] || return 0
    tg_size=$(wc -c <"$tg_folder/log" 2>/dev/null) || tg_size=0
    if [ "${tg_size:-0}" -gt "$tg_log_bytes_max" ]; then
        [ "$tg_me" = main ] || return 0
        {
            head -c $((tg_log_bytes_max / 2)) "$tg_folder/log"
            printf '\n[tallygate: %s bytes left out here]\n' $((tg_size - tg_log_bytes_max))
            tail -c $((tg_log_bytes_max / 2)) "$tg_folder/log"
        } >"$tg_folder/log.short" 2>/dev/null
        tg_put "$tg_folder/log.short" "$tg_doc_log"
    else
        tg_put "$tg_folder/log" "$tg_doc_log"
    fi
}

tg_say() {
    { printf 'tallygate: %s\n' "$*" >>"$tg_folder/log"; } 2>/dev/null
}

tg_heartbeat() {
    tg_bound
    tg_put_text "{\"job_id\": \"$tg_doc_job_id\", \"attempt\": $tg_doc_attempt, \"state\": \"$1\", \
\"started_epoch\": $tg_epoch0, \"epoch\": $tg_epoch, \"uptime_seconds\": $(((tg_elapsed + 99) / 100))}" "$tg_doc_heartbeat"
}

# The last word about this attempt: where the job's owner finds it, and here for the machine itself.
tg_report() {
    tg_left_now
    tg_text="{
  \"version\": 1,
  \"job_id\": \"$tg_doc_job_id\",
  \"attempt\": $tg_doc_attempt,
  \"reason\": \"$tg_reason\",
  \"detail\": \"$tg_detail\",
  \"exit_status\": $tg_status,
  \"started_epoch\": $tg_epoch0,
  \"ended_epoch\": $tg_epoch,
  \"uptime_seconds\": $(((tg_elapsed + 99) / 100)),
  \"outputs\": \"$tg_outputs\",
  \"checkpoint\": \"$tg_checkpoint\",
  \"image\": \"$tg_image\"
}"
    tg_write "$tg_folder/result.json" "$tg_text"
    tg_bound
    [ -z "$tg_doc_result" ] || tg_put_text "$tg_text" "$tg_doc_result"
}

# --- the job's processes

# tg_signal NAME: to every process of the job. Its own group, so that nothing of ours is hit.
tg_signal() {
    [ -n "$tg_job" ] || return 0
    { kill -s "$1" -- "-$tg_job" || kill -s "$1" "$tg_job"; } 2>/dev/null
    [ -n "$tg_doc_image" ] || return 0
    # A container is no child of ours, and its front end passes on only some signals.
    case $1 in
    KILL) tg_bounded 10 docker rm -f "$tg_doc_token" ;;
    CONT) tg_bounded 10 docker kill --signal CONT "$tg_doc_token" ;;
    esac
}

# Ask the job to stop, and see to it that it does when the grace is over.
tg_begin_stop() {
    [ -n "$tg_job" ] && [ -z "$tg_stopping" ] || return 0
    tg_stopping=1
    tg_write "$tg_folder/told/notice" "stop $tg_stop"
    tg_say "stopping the job ($tg_stop); it has $tg_doc_grace_seconds s"
    tg_signal TERM
    (
        trap - TERM INT HUP EXIT
        tg_waited=0
        while [ "$tg_waited" -lt "$tg_doc_grace_seconds" ]; do tg_nap 1 && tg_waited=$((tg_waited + 1)) || break; done
        tg_signal KILL
    ) >/dev/null 2>&1 &
    tg_killer=$!
}

# tg_on_signal REASON: we are told to stop, by the machine, by its deadline, or because it is taken away.
tg_on_signal() {
    if [ -z "$tg_stop" ]; then
        tg_stop=$1
        if [ -r "$tg_folder/stop" ]; then { read -r tg_stop tg_rest <"$tg_folder/stop"; } 2>/dev/null; fi
        case $tg_stop in deadline | stopped | interrupted) ;; *) tg_stop=$1 ;; esac
    fi
    [ -z "$tg_child" ] || [ -z "$tg_abortable" ] || kill -s TERM "$tg_child" 2>/dev/null
    tg_begin_stop
    tg_trapped=1
}

# --- beside the job

# A separate process in a session of its own. It stops the job in time, and ends everything when the time is up or when
# the agent has vanished.
tg_watch() {
    trap '' TERM INT HUP
    tg_asked=''
    while :; do
        tg_heed_deadline
        tg_left_now
        [ "$tg_left" -gt 0 ] || break
        if ! kill -0 "$tg_main" 2>/dev/null; then
            tg_reason=interrupted tg_detail='the agent vanished'
            break
        fi
        if [ -z "$tg_asked" ] && [ "$tg_left" -le $((tg_doc_reserve_seconds * 100)) ]; then
            tg_asked=1
            { printf 'deadline\n' >"$tg_folder/stop"; } 2>/dev/null
            kill -s TERM "$tg_main" 2>/dev/null
        fi
        tg_nap 1 || break
    done
    [ "$tg_reason" = interrupted ] || tg_reason=deadline
    [ -e "$tg_folder/ended" ] && exit 0
    if [ -r "$tg_folder/pid" ]; then { read -r tg_job <"$tg_folder/pid"; } 2>/dev/null; fi
    # The agent with whatever it waits for, where it leads a group of its own; else it alone.
    { kill -s KILL -- "-$tg_main" || kill -s KILL "$tg_main"; } 2>/dev/null
    tg_signal KILL
    if [ -r "$tg_folder/status" ]; then
        { read -r tg_status tg_reason tg_detail <"$tg_folder/status"; } 2>/dev/null
        tg_outputs=lost tg_checkpoint=lost
    fi
    # So long may the report take, and no longer.
    tg_run_max=$((tg_run_max + 4)) tg_not_after=$((tg_not_after + 4))
    (tg_report) &
    tg_child=$!
    (tg_nap 4; kill -s KILL "$tg_child") 2>/dev/null &
    tg_guard=$!
    wait "$tg_child"
    kill -s KILL "$tg_guard" 2>/dev/null
    tg_end_machine
}

# A word from outside lies in FOLDER/control: a later end, or a wish for a checkpoint.
tg_heed_control() {
    [ -r "$tg_folder/control" ] || return 0
    tg_said_run_seconds_max=0 tg_said_not_after_epoch=0 tg_said_checkpoint=0
    tg_read_flat "$tg_folder/control" tg_said
    for tg_name in run_seconds_max not_after_epoch checkpoint; do tg_digits "tg_said_$tg_name" 0; done
    if [ "$tg_said_run_seconds_max" -gt "$tg_run_max" ] || [ "$tg_said_not_after_epoch" -gt "$tg_not_after" ]; then
        tg_more=$((tg_said_run_seconds_max - tg_run_max))
        [ "$tg_more" -gt 0 ] || tg_more=0
        tg_write "$tg_folder/deadline" "$tg_said_run_seconds_max $tg_said_not_after_epoch \
$((tg_held + tg_doc_price_max_nanos / 3600 * tg_more + tg_doc_price_max_nanos % 3600 * tg_more / 3600))"
        tg_heed_deadline
    fi
    if [ "$tg_said_checkpoint" -gt "$tg_checkpoints_asked" ]; then
        tg_checkpoints_asked=$tg_said_checkpoint
        tg_write "$tg_folder/told/notice" "checkpoint $tg_checkpoints_asked"
        # CONT does nothing to a program that does not listen for it, so that nobody is killed by the question.
        tg_signal CONT
    fi
}

# Once a second beside the job: is the watchdog there, words from outside, budget file, log and checkpoint when due.
tg_tick() {
    trap 'tg_stop=quit tg_trapped=1; [ -z "$tg_child" ] || kill -s TERM "$tg_child" 2>/dev/null' TERM
    trap '' INT HUP
    tg_me=ticker tg_ticks=0 tg_last_log=none tg_last_state=none
    while [ -z "$tg_stop" ] && kill -0 "$tg_main" 2>/dev/null; do
        kill -0 "$tg_watchdog" 2>/dev/null || tg_arm
        tg_heed_control
        tg_tell_budget
        if [ $((tg_ticks % tg_doc_log_seconds)) = 0 ]; then
            tg_now=$(wc -c <"$tg_folder/log" 2>/dev/null) || tg_now=$tg_ticks
            [ "$tg_now" = "$tg_last_log" ] || { tg_save_log && tg_last_log=$tg_now; }
            [ -n "$tg_stop" ] || tg_heartbeat running
        fi
        if [ $((tg_ticks % tg_doc_checkpoint_seconds)) = $((tg_doc_checkpoint_seconds - 1)) ]; then
            tg_now=$(ls -lnR "$tg_folder/checkpoint" 2>/dev/null | cksum 2>/dev/null) || tg_now=$tg_ticks
            if [ "$tg_now" != "$tg_last_state" ] && ! tg_is_empty "$tg_folder/checkpoint" && [ -z "$tg_stop" ]; then
                tg_pack "$tg_folder/checkpoint" state.tar.gz "$tg_doc_checkpoint" && tg_last_state=$tg_now
            fi
        fi
        tg_ticks=$((tg_ticks + 1))
        [ -n "$tg_stop" ] || tg_doze || break
    done
    exit 0
}

# A nap of a second that a signal ends at once.
tg_doze() {
    sleep 1 2>/dev/null &
    tg_child=$!
    wait "$tg_child" || [ -n "$tg_stop" ] || tg_nap 1
}

# --- before, during and after

tg_fail() {
    tg_reason=${tg_stop:-$1} tg_detail=$2
    tg_say "$2"
    exit 0
}

tg_prepare() {
    for tg_name in job outputs checkpoint told bin; do
        [ -d "$tg_folder/$tg_name" ] || mkdir -p "$tg_folder/$tg_name" 2>/dev/null ||
            tg_fail setup "cannot make the folder $tg_name"
    done
    tg_bound
    tg_copy "$0" "$tg_folder/bin/tallygate-budget" && chmod 700 "$tg_folder/bin/tallygate-budget" 2>/dev/null
    tg_write "$tg_folder/told/notice" run
    tg_tell_budget
    printf '%s' "$tg_doc_command" | base64 -d >"$tg_folder/command" 2>/dev/null || tg_fail setup 'cannot decode the command'
}

tg_fetch() {
    tg_abortable=1
    tg_left_now
    tg_most=$((tg_left / 100))
    tg_get "$tg_doc_inputs" "$tg_folder/inputs.tar.gz" || tg_fail inputs 'the inputs cannot be fetched'
    tg_sum=$(sha256sum <"$tg_folder/inputs.tar.gz" 2>/dev/null) || tg_fail inputs 'the inputs cannot be verified'
    [ "${tg_sum%% *}" = "$tg_doc_inputs_sha256" ] || tg_fail inputs 'the inputs are not what was staged'
    tg_bounded "$tg_most" tar -xzf "$tg_folder/inputs.tar.gz" -C "$tg_folder/job" ||
        tg_fail inputs 'the inputs cannot be unpacked'
    rm -f "$tg_folder/inputs.tar.gz" 2>/dev/null
    tg_nth=1
    while eval "tg_url=\${tg_doc_restore_$tg_nth-}" && [ -n "$tg_url" ] && [ -z "$tg_stop" ]; do
        if tg_get "$tg_url" "$tg_folder/restore.tar.gz"; then
            tg_bounded "$tg_most" tar -xzf "$tg_folder/restore.tar.gz" -C "$tg_folder/checkpoint" ||
                tg_fail inputs 'the checkpoint of an earlier attempt cannot be unpacked'
            tg_resumed=1
            tg_say 'restored the checkpoint of an earlier attempt'
            break
        fi
        tg_nth=$((tg_nth + 1))
    done
    tg_abortable=''
}

# tg_unfit WHY: in the job's own process, when it cannot become the job.
tg_unfit() {
    tg_write "$tg_folder/unfit" "$1"
    exit 126
}

# Turns this process into the job: its environment as data, then the command.
tg_become_job() {
    trap - TERM INT HUP EXIT
    tg_top=$tg_folder
    if [ -n "$tg_doc_image" ]; then
        tg_docker=$(command -v docker) || tg_unfit 'there is no docker here'
        set -- run --rm --init --name "$tg_doc_token" --workdir /work --memory "${tg_doc_memory_mib}m" --cpus "$tg_doc_vcpus" \
            -v "$tg_folder/job:/work" -v "$tg_folder/outputs:/outputs" -v "$tg_folder/checkpoint:/checkpoint" \
            -v "$tg_folder/told:/told:ro" -v "$tg_folder/command:/told-command:ro" \
            -v "$tg_folder/bin/tallygate-budget:/usr/local/bin/tallygate-budget:ro"
        [ "$tg_doc_gpus" = 0 ] || set -- "$@" --gpus "$tg_doc_gpus"
        tg_user=$(id -u 2>/dev/null) && [ "$tg_user" != 0 ] && set -- "$@" --user "$tg_user:$(id -g)"
        for tg_name in JOB_ID JOB_NAME ATTEMPT RESUMED DEADLINE_EPOCH CURRENCY PRICE_PER_HOUR HELD BUDGET OUTPUT_DIR \
            CHECKPOINT_DIR BUDGET_FILE NOTICE_FILE; do
            set -- "$@" -e "TALLYGATE_$tg_name"
        done
        tg_top=''
    else
        set -- "$tg_folder/command"
    fi
    # All values are decoded before the first is set: one of them may be a PATH without our tools.
    tg_nth=1
    while [ "$tg_nth" -le "$tg_doc_environment_count" ]; do
        eval "tg_name=\${tg_doc_environment_${tg_nth}_name-} tg_value=\${tg_doc_environment_${tg_nth}_value-}"
        case $tg_name in '' | [0-9]* | *[!A-Za-z0-9_]* | tg_* | TALLYGATE_*) tg_unfit 'a variable has an odd name' ;; esac
        tg_value=$(printf '%s' "$tg_value" | base64 -d 2>/dev/null && printf x) || tg_unfit 'cannot decode the environment'
        eval "tg_given_$tg_nth=\${tg_value%x}"
        [ -z "$tg_doc_image" ] || set -- "$@" -e "$tg_name"
        tg_nth=$((tg_nth + 1))
    done
    tg_reckon
    tg_value=$(printf '%s' "$tg_doc_job_name" | base64 -d 2>/dev/null)
    export TALLYGATE_JOB_ID="$tg_doc_job_id" TALLYGATE_ATTEMPT="$tg_doc_attempt" TALLYGATE_RESUMED="$tg_resumed" \
        TALLYGATE_JOB_NAME="$tg_value" TALLYGATE_CURRENCY="$tg_doc_currency" \
        TALLYGATE_DEADLINE_EPOCH="$((tg_epoch + tg_left / 100))" TALLYGATE_BUDGET_FILE="$tg_top/told/budget.json" \
        TALLYGATE_NOTICE_FILE="$tg_top/told/notice" TALLYGATE_OUTPUT_DIR="$tg_top/outputs" \
        TALLYGATE_CHECKPOINT_DIR="$tg_top/checkpoint"
    tg_money "$tg_doc_price_nanos" && export TALLYGATE_PRICE_PER_HOUR="$tg_amount"
    tg_money "$tg_held" && export TALLYGATE_HELD="$tg_amount"
    tg_money "${tg_doc_budget_nanos:-$tg_held}" && export TALLYGATE_BUDGET="$tg_amount"
    tg_nth=1
    while [ "$tg_nth" -le "$tg_doc_environment_count" ]; do
        eval "tg_name=\$tg_doc_environment_${tg_nth}_name tg_value=\$tg_given_$tg_nth"
        export "$tg_name=$tg_value"
        tg_nth=$((tg_nth + 1))
    done
    if [ -n "$tg_doc_image" ]; then
        set -- "$tg_docker" "$@" "$tg_doc_image"
        [ ! -s "$tg_folder/command" ] || set -- "$@" /bin/sh /told-command
    else
        set -- /bin/sh "$@"
        export PATH="$tg_folder/bin:$PATH"
    fi
    cd "$tg_folder/job" || tg_unfit 'cannot enter the folder of the inputs'
    exec ${tg_setsid:+"$tg_setsid"} "$@" 3>&-
}

tg_run() {
    (tg_become_job) </dev/null >>"$tg_folder/log" 2>&1 &
    tg_job=$!
    tg_write "$tg_folder/pid" "$tg_job"
    (tg_tick) </dev/null >/dev/null 2>&1 &
    tg_ticker=$!
    [ -z "$tg_stop" ] || tg_begin_stop
    tg_wait "$tg_job"
    tg_status=$tg_answer
    # The shell that ran the command may be gone while what it started still saves its work.
    if [ -n "$tg_stopping" ]; then
        tg_waited=0
        while [ "$tg_waited" -lt $((tg_doc_grace_seconds * 10)) ] && kill -s 0 -- "-$tg_job" 2>/dev/null; do
            sleep 0.1 2>/dev/null || tg_nap 1
            tg_waited=$((tg_waited + 1))
        done
        kill -s KILL "$tg_killer" 2>/dev/null
    fi
    tg_signal KILL
    rm -f "$tg_folder/pid" 2>/dev/null
    tg_reason=${tg_stop:-finished}
    [ -z "$tg_doc_image" ] || [ "$tg_status" != 125 ] || tg_fail setup 'the container could not be started'
    if [ -r "$tg_folder/unfit" ]; then
        { read -r tg_detail <"$tg_folder/unfit"; } 2>/dev/null
        tg_fail setup "$tg_detail"
    fi
}

# Which image it really was, for the record.
tg_name_image() {
    tg_image=$(docker image inspect --format '{{index .RepoDigests 0}}' "$tg_doc_image" 2>/dev/null) || tg_image=''
    case $tg_image in *[!A-Za-z0-9./:@_-]*) tg_image='' ;; esac
}

# tg_save FOLDER NAME URL: answers saved, none or lost in tg_saved.
tg_save() {
    tg_saved=none
    if [ -d "$1" ] && ! tg_is_empty "$1"; then
        tg_pack "$1" "$2" "$3" && tg_saved=saved || tg_saved=lost
    fi
}

# On every path, once: the job's processes, its results, the report, the machine.
tg_finish() {
    trap - EXIT
    trap tg_trapped=1 TERM INT HUP
    tg_abortable=''
    [ -z "$tg_ticker" ] || { kill -s TERM "$tg_ticker" && wait "$tg_ticker"; } 2>/dev/null
    tg_write "$tg_folder/status" "$tg_status $tg_reason $tg_detail"
    [ -z "$tg_job" ] || [ -z "$tg_doc_image" ] || tg_name_image
    tg_heed_deadline
    tg_shares=2
    tg_save "$tg_folder/outputs" output.tar.gz "$tg_doc_output"
    tg_outputs=$tg_saved
    tg_save "$tg_folder/checkpoint" state.tar.gz "$tg_doc_checkpoint"
    tg_checkpoint=$tg_saved
    tg_save_log
    tg_shares=1
    tg_report
    tg_write "$tg_folder/ended" "$tg_reason"
    tg_end_machine
}

# Where the machine is somebody else's to end, leaving is all. Elsewhere we ask until we are no more.
tg_end_machine() {
    if [ "$tg_way" = exit ]; then
        [ -z "$tg_watchdog" ] || kill -s KILL "$tg_watchdog" 2>/dev/null
        exit 0
    fi
    while :; do
        shutdown -h now >/dev/null 2>&1 || systemctl poweroff --force --force >/dev/null 2>&1 ||
            poweroff -f >/dev/null 2>&1 || halt -f -p >/dev/null 2>&1
        tg_nap 5
    done
}

tg_arm() {
    ${tg_setsid:+"$tg_setsid"} /bin/sh "$0" "$tg_document" "$tg_folder" "$tg_way" watch "$$" "$tg_up0" "$tg_epoch0" \
        </dev/null >/dev/null 2>&1 3>&- &
    tg_watchdog=$!
}

# tg_find NAME WORD ...: where a command is, if it also works.
tg_find() {
    tg_found=$(command -v "$1") || tg_found=''
    shift
    [ -n "$tg_found" ] && "$tg_found" "$@" /bin/sh -c : >/dev/null 2>&1 || tg_found=''
}

# --- from here it runs

tg_document=${1-} tg_folder=${2-} tg_way=${3-}
[ "$tg_way" = poweroff ] || tg_way='exit'
tg_read_document
[ -d "$tg_folder" ] || mkdir -p "$tg_folder" 2>/dev/null
if (: >>"$tg_folder/agent.log") 2>/dev/null; then exec 3>>"$tg_folder/agent.log"; else exec 3>/dev/null; fi

if [ "${4-}" = watch ]; then
    tg_me=watchdog tg_main=${5-0} tg_up0=${6-} tg_epoch0=${7-0}
    tg_watch
fi

trap 'tg_on_signal stopped' TERM INT
trap 'tg_on_signal interrupted' HUP
trap tg_finish EXIT
tg_start_clock
tg_left_now
if [ "$tg_left" -le 0 ]; then
    tg_reason=expired tg_detail='its time had passed before it began'
    exit 0
fi
tg_find setsid
tg_setsid=$tg_found
tg_arm
tg_find timeout -k 1 5
tg_timeout=$tg_found
tg_prepare
tg_fetch
[ -z "$tg_stop" ] || tg_fail "$tg_stop" 'stopped before the command began'
tg_run
exit 0
