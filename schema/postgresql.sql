-- The sum of all migrations in schema/postgresql, written by `make schema`. To change it, add a migration.

CREATE OR REPLACE FUNCTION refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $$
BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;

CREATE DOMAIN currency_code AS text CONSTRAINT currency_code_check CHECK ((length(VALUE) = 3));

CREATE DOMAIN sha256_hex AS text CONSTRAINT sha256_hex_check CHECK ((length(VALUE) = 64));

CREATE DOMAIN no_or_yes AS integer CONSTRAINT no_or_yes_check CHECK ((VALUE = ANY (ARRAY[0, 1])));

CREATE DOMAIN counted AS bigint CONSTRAINT counted_check CHECK ((VALUE >= 0));

CREATE DOMAIN numbered AS bigint CONSTRAINT numbered_check CHECK ((VALUE > 0));

CREATE DOMAIN amount_nanos AS bigint CONSTRAINT amount_nanos_check CHECK (((VALUE >= 1) AND (VALUE <= '100000000000000000'::bigint)));

CREATE DOMAIN limit_nanos AS bigint CONSTRAINT limit_nanos_check CHECK (((VALUE >= 0) AND (VALUE <= '100000000000000000'::bigint)));

CREATE DOMAIN cost_nanos AS bigint CONSTRAINT cost_nanos_check CHECK (((VALUE >= '-100000000000000000'::bigint) AND (VALUE <= '100000000000000000'::bigint)));

CREATE DOMAIN held_nanos AS bigint CONSTRAINT held_nanos_check CHECK (((VALUE >= 0) AND (VALUE <= '4000000000000000000'::bigint)));

CREATE DOMAIN spent_nanos AS bigint CONSTRAINT spent_nanos_check CHECK (((VALUE >= '-4000000000000000000'::bigint) AND (VALUE <= '4000000000000000000'::bigint)));

CREATE DOMAIN excess_nanos AS bigint CONSTRAINT excess_nanos_check CHECK ((VALUE >= 0));

CREATE DOMAIN jar AS text CONSTRAINT jar_check CHECK ((VALUE = ANY (ARRAY['limit'::text, 'available'::text, 'held'::text, 'spent'::text])));

CREATE DOMAIN entry_kind AS text CONSTRAINT entry_kind_check CHECK ((VALUE = ANY (ARRAY['fund'::text, 'defund'::text, 'authorize'::text, 'extend'::text, 'trim'::text, 'capture'::text, 'overrun'::text, 'release'::text, 'expire'::text, 'refund'::text, 'reverse'::text])));

CREATE TABLE schema_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,
    applied_at timestamp with time zone NOT NULL,
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (number),
    CONSTRAINT schema_migrations_digest_check CHECK ((length(digest) = 64)),
    CONSTRAINT schema_migrations_number_check CHECK ((number >= 0))
);

CREATE TABLE install (
    install_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    plan_key text,
    CONSTRAINT install_pkey PRIMARY KEY (install_id),
    CONSTRAINT install_plan_key_check CHECK ((length(plan_key) = 64))
);

CREATE UNIQUE INDEX one_install ON install USING btree (((install_id IS NOT NULL)));

CREATE TABLE budgets (
    budget_id text NOT NULL,
    name text NOT NULL,
    scope text NOT NULL,
    currency text NOT NULL,
    limit_nanos bigint NOT NULL,
    period text NOT NULL,
    zone text NOT NULL,
    hard integer NOT NULL,
    alert_percents text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT budgets_pkey PRIMARY KEY (budget_id),
    CONSTRAINT budgets_name_key UNIQUE (name),
    CONSTRAINT budgets_currency_check CHECK ((length(currency) = 3)),
    CONSTRAINT budgets_hard_check CHECK ((hard = ANY (ARRAY[0, 1]))),
    CONSTRAINT budgets_limit_nanos_check CHECK (((limit_nanos >= 0) AND (limit_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT budgets_period_check CHECK ((period = ANY (ARRAY['none'::text, 'day'::text, 'month'::text, 'quarter'::text, 'year'::text])))
);

CREATE INDEX budgets_scope ON budgets USING btree (scope);

CREATE TABLE accounts (
    account_id text COLLATE "C" NOT NULL,
    budget_id text,
    job_id text,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    currency currency_code NOT NULL,
    hard no_or_yes NOT NULL,
    limit_nanos limit_nanos NOT NULL,
    held_nanos held_nanos NOT NULL,
    spent_nanos spent_nanos NOT NULL,
    excess_nanos excess_nanos NOT NULL,
    entries counted NOT NULL,
    head sha256_hex NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (account_id),
    CONSTRAINT accounts_budget_id_starts_at_key UNIQUE (budget_id, starts_at),
    CONSTRAINT accounts_job_id_key UNIQUE (job_id),
    CONSTRAINT accounts_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES budgets(budget_id),
    CONSTRAINT never_over_the_limit CHECK ((((held_nanos)::bigint + (spent_nanos)::bigint) <= ((limit_nanos)::bigint + (excess_nanos)::bigint))),
    CONSTRAINT one_owner CHECK (((budget_id IS NULL) <> (job_id IS NULL)))
);

CREATE TRIGGER accounts_are_never_deleted BEFORE DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION refuse_change('accounts are never deleted');

CREATE TRIGGER accounts_are_never_emptied BEFORE TRUNCATE ON accounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('accounts are never deleted');

CREATE TABLE holds (
    job_id text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    amount_nanos amount_nanos NOT NULL,
    captured_nanos counted NOT NULL,
    released_nanos counted NOT NULL,
    spent_nanos cost_nanos NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    revision counted NOT NULL,
    seal sha256_hex NOT NULL,
    CONSTRAINT holds_pkey PRIMARY KEY (job_id, account_id),
    CONSTRAINT closed_is_empty CHECK (((closed_at IS NULL) OR (((captured_nanos)::bigint + (released_nanos)::bigint) = (amount_nanos)::bigint))),
    CONSTRAINT nothing_from_nowhere CHECK ((((captured_nanos)::bigint + (released_nanos)::bigint) <= (amount_nanos)::bigint))
);

CREATE TRIGGER holds_are_never_deleted BEFORE DELETE ON holds FOR EACH ROW EXECUTE FUNCTION refuse_change('holds are never deleted');

CREATE TRIGGER holds_are_never_emptied BEFORE TRUNCATE ON holds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('holds are never deleted');

CREATE TABLE entries (
    account_id text COLLATE "C" NOT NULL,
    sequence numbered NOT NULL,
    job_id text,
    kind entry_kind NOT NULL,
    amount_nanos amount_nanos NOT NULL,
    source jar NOT NULL,
    target jar NOT NULL,
    key text COLLATE "C" NOT NULL,
    at timestamp with time zone NOT NULL,
    author text NOT NULL,
    reason text NOT NULL,
    hash sha256_hex NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (account_id, sequence),
    CONSTRAINT entries_account_id_key_key UNIQUE (account_id, key),
    CONSTRAINT two_sides CHECK (((target)::text <> (source)::text))
);

CREATE TRIGGER entries_are_never_updated BEFORE UPDATE ON entries FOR EACH ROW EXECUTE FUNCTION refuse_change('entries are never changed: append a correction');

CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries FOR EACH ROW EXECUTE FUNCTION refuse_change('entries are never deleted: append a correction');

CREATE TRIGGER entries_are_never_emptied BEFORE TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('entries are never deleted: append a correction');

CREATE TABLE jobs (
    job_id text NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    cost_state text NOT NULL,
    provider text NOT NULL,
    instance_type text NOT NULL,
    region text NOT NULL,
    zone text,
    purchase_option text NOT NULL,
    vcpus bigint NOT NULL,
    memory_gib text NOT NULL,
    gpus bigint NOT NULL,
    gpu_model text,
    instance_id text,
    public_ip text,
    private_ip text,
    spot_request_id text,
    s3_bucket text,
    s3_input_path text,
    gdrive_path text,
    basis_set text,
    spec jsonb NOT NULL,
    billing_tags jsonb NOT NULL,
    metadata jsonb NOT NULL,
    charged_to text,
    currency text NOT NULL,
    estimated_runtime_seconds bigint NOT NULL,
    run_seconds_max bigint NOT NULL,
    price_per_hour_nanos bigint NOT NULL,
    on_demand_price_nanos bigint,
    priced_at timestamp with time zone NOT NULL,
    price_source text NOT NULL,
    budget_limit_nanos bigint,
    estimated_cost_nanos bigint NOT NULL,
    hold_nanos bigint NOT NULL,
    metered_cost_nanos bigint,
    billed_cost_nanos bigint,
    final_cost_nanos bigint,
    price_per_hour numeric GENERATED ALWAYS AS ((price_per_hour_nanos)::numeric * 0.000000001) STORED,
    budget_limit numeric GENERATED ALWAYS AS ((budget_limit_nanos)::numeric * 0.000000001) STORED,
    estimated_cost numeric GENERATED ALWAYS AS ((estimated_cost_nanos)::numeric * 0.000000001) STORED,
    metered_cost numeric GENERATED ALWAYS AS ((metered_cost_nanos)::numeric * 0.000000001) STORED,
    actual_cost numeric GENERATED ALWAYS AS ((COALESCE(final_cost_nanos, billed_cost_nanos))::numeric * 0.000000001) STORED,
    cost_retrieved_at timestamp with time zone,
    request_key text,
    request_digest text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    exit_status bigint,
    reason text,
    stop_requested_at timestamp with time zone,
    stop_reason text,
    archived_at timestamp with time zone,
    CONSTRAINT jobs_pkey PRIMARY KEY (job_id),
    CONSTRAINT jobs_request_key_key UNIQUE (request_key),
    CONSTRAINT jobs_budget_limit_nanos_check CHECK (((budget_limit_nanos >= 0) AND (budget_limit_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT jobs_cost_state_check CHECK ((cost_state = ANY (ARRAY['estimated'::text, 'metered'::text, 'billed'::text, 'final'::text]))),
    CONSTRAINT jobs_currency_check CHECK ((length(currency) = 3)),
    CONSTRAINT jobs_estimated_cost_nanos_check CHECK (((estimated_cost_nanos >= 0) AND (estimated_cost_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT jobs_estimated_runtime_seconds_check CHECK ((estimated_runtime_seconds > 0)),
    CONSTRAINT jobs_gpus_check CHECK ((gpus >= 0)),
    CONSTRAINT jobs_hold_nanos_check CHECK (((hold_nanos >= 0) AND (hold_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT jobs_metered_cost_nanos_check CHECK (((metered_cost_nanos >= 0) AND (metered_cost_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT jobs_on_demand_price_nanos_check CHECK ((on_demand_price_nanos > 0)),
    CONSTRAINT jobs_price_per_hour_nanos_check CHECK ((price_per_hour_nanos > 0)),
    CONSTRAINT jobs_purchase_option_check CHECK ((purchase_option = ANY (ARRAY['spot'::text, 'on_demand'::text]))),
    CONSTRAINT jobs_run_seconds_max_check CHECK ((run_seconds_max > 0)),
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['launching'::text, 'launched'::text, 'running'::text, 'interrupted'::text, 'completed'::text, 'failed'::text, 'terminated'::text]))),
    CONSTRAINT jobs_vcpus_check CHECK ((vcpus > 0))
);

CREATE INDEX jobs_created ON jobs USING btree (created_at DESC, job_id DESC);

CREATE INDEX jobs_status ON jobs USING btree (status, created_at DESC);

CREATE INDEX jobs_unbilled ON jobs USING btree (completed_at) WHERE ((completed_at IS NOT NULL) AND (cost_state <> 'final'::text));

CREATE INDEX jobs_completed ON jobs USING btree (completed_at, provider, status, currency, price_per_hour_nanos, billed_cost_nanos, job_id) WHERE (completed_at IS NOT NULL);

CREATE INDEX jobs_budgeted ON jobs USING btree (currency, status, cost_state, budget_limit_nanos, billed_cost_nanos) WHERE (budget_limit_nanos IS NOT NULL);

CREATE INDEX jobs_over_budget ON jobs USING btree (((billed_cost_nanos - budget_limit_nanos)) DESC, job_id) WHERE (billed_cost_nanos > budget_limit_nanos);

CREATE INDEX jobs_unconfirmed ON jobs USING btree (COALESCE(started_at, created_at), provider, currency, cost_state, metered_cost_nanos, estimated_cost_nanos) WHERE (cost_state = ANY (ARRAY['estimated'::text, 'metered'::text]));

CREATE INDEX jobs_billed ON jobs USING btree (job_id) WHERE (cost_state = 'billed'::text);

CREATE INDEX jobs_named ON jobs USING btree (name, created_at DESC, job_id DESC);

CREATE TABLE attempts (
    attempt_id text NOT NULL,
    job_id text NOT NULL,
    number bigint NOT NULL,
    token text NOT NULL,
    state text NOT NULL,
    provider text NOT NULL,
    instance_type text NOT NULL,
    region text NOT NULL,
    zone text,
    purchase_option text NOT NULL,
    vcpus bigint NOT NULL,
    memory_gib text NOT NULL,
    gpus bigint NOT NULL,
    gpu_model text,
    currency text NOT NULL,
    hourly_price_nanos bigint NOT NULL,
    on_demand_price_nanos bigint,
    priced_at timestamp with time zone NOT NULL,
    price_source text NOT NULL,
    price_max_nanos bigint NOT NULL,
    run_seconds_max bigint NOT NULL,
    kill_seconds bigint NOT NULL,
    not_after timestamp with time zone NOT NULL,
    machine_id text,
    resource_ids jsonb NOT NULL,
    public_address text,
    created_at timestamp with time zone NOT NULL,
    launched_at timestamp with time zone,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    end_source text,
    end_reason text,
    exit_status bigint,
    metered_seconds bigint NOT NULL,
    metered_nanos bigint NOT NULL,
    missing_since timestamp with time zone,
    warned_percent bigint NOT NULL,
    fence bigint NOT NULL,
    lease_owner text,
    lease_until timestamp with time zone,
    CONSTRAINT attempts_pkey PRIMARY KEY (attempt_id),
    CONSTRAINT attempts_job_id_number_key UNIQUE (job_id, number),
    CONSTRAINT attempts_token_key UNIQUE (token),
    CONSTRAINT attempts_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs(job_id),
    CONSTRAINT an_end_is_an_observation CHECK (((state <> 'ended'::text) OR ((ended_at IS NOT NULL) AND (end_source IS NOT NULL)))),
    CONSTRAINT attempts_currency_check CHECK ((length(currency) = 3)),
    CONSTRAINT attempts_fence_check CHECK ((fence >= 0)),
    CONSTRAINT attempts_gpus_check CHECK ((gpus >= 0)),
    CONSTRAINT attempts_hourly_price_nanos_check CHECK ((hourly_price_nanos > 0)),
    CONSTRAINT attempts_kill_seconds_check CHECK ((kill_seconds >= 0)),
    CONSTRAINT attempts_metered_nanos_check CHECK (((metered_nanos >= 0) AND (metered_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT attempts_metered_seconds_check CHECK ((metered_seconds >= 0)),
    CONSTRAINT attempts_number_check CHECK ((number > 0)),
    CONSTRAINT attempts_on_demand_price_nanos_check CHECK ((on_demand_price_nanos > 0)),
    CONSTRAINT attempts_price_max_nanos_check CHECK ((price_max_nanos > 0)),
    CONSTRAINT attempts_purchase_option_check CHECK ((purchase_option = ANY (ARRAY['spot'::text, 'on_demand'::text]))),
    CONSTRAINT attempts_run_seconds_max_check CHECK ((run_seconds_max > 0)),
    CONSTRAINT attempts_state_check CHECK ((state = ANY (ARRAY['intent'::text, 'unknown'::text, 'live'::text, 'terminating'::text, 'ended'::text, 'void'::text]))),
    CONSTRAINT attempts_token_check CHECK (((length(token) >= 1) AND (length(token) <= 63))),
    CONSTRAINT attempts_vcpus_check CHECK ((vcpus > 0)),
    CONSTRAINT attempts_warned_percent_check CHECK ((warned_percent >= 0)),
    CONSTRAINT live_has_a_machine CHECK (((state <> ALL (ARRAY['live'::text, 'terminating'::text])) OR (machine_id IS NOT NULL)))
);

CREATE INDEX attempts_open ON attempts USING btree (created_at) WHERE (state = ANY (ARRAY['intent'::text, 'unknown'::text, 'live'::text, 'terminating'::text]));

CREATE INDEX attempts_machine ON attempts USING btree (machine_id) WHERE (machine_id IS NOT NULL);

CREATE UNIQUE INDEX one_open_attempt ON attempts USING btree (job_id) WHERE (state = ANY (ARRAY['intent'::text, 'unknown'::text, 'live'::text, 'terminating'::text]));

CREATE INDEX attempts_metered ON attempts USING btree (job_id, vcpus, metered_seconds);

CREATE INDEX attempts_ended ON attempts USING btree (provider, ended_at) WHERE (ended_at IS NOT NULL);

CREATE TABLE job_events (
    job_id text NOT NULL,
    sequence bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    event text NOT NULL,
    detail text NOT NULL,
    CONSTRAINT job_events_pkey PRIMARY KEY (job_id, sequence),
    CONSTRAINT job_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs(job_id)
);

CREATE TABLE orphans (
    provider text NOT NULL,
    machine_id text NOT NULL,
    token text NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    swept_at timestamp with time zone,
    CONSTRAINT orphans_pkey PRIMARY KEY (provider, machine_id)
);

CREATE TABLE charge_versions (
    version_id text NOT NULL,
    source text NOT NULL,
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    state text NOT NULL,
    row_count bigint NOT NULL,
    digest text NOT NULL,
    path text NOT NULL,
    file_sha256 text NOT NULL,
    issued_at timestamp with time zone NOT NULL,
    complete_through timestamp with time zone NOT NULL,
    retrieved_at timestamp with time zone NOT NULL,
    accepted bigint NOT NULL,
    flaw text NOT NULL,
    note text NOT NULL,
    CONSTRAINT charge_versions_pkey PRIMARY KEY (version_id),
    CONSTRAINT charge_versions_source_period_start_version_key UNIQUE (source, period_start, version),
    CONSTRAINT charge_versions_accepted_check CHECK ((accepted = ANY (ARRAY[(0)::bigint, (1)::bigint]))),
    CONSTRAINT charge_versions_digest_check CHECK ((length(digest) = 64)),
    CONSTRAINT charge_versions_file_sha256_check CHECK ((length(file_sha256) = 64)),
    CONSTRAINT charge_versions_row_count_check CHECK ((row_count >= 0)),
    CONSTRAINT charge_versions_state_check CHECK ((state = ANY (ARRAY['current'::text, 'superseded'::text, 'quarantined'::text]))),
    CONSTRAINT charge_versions_version_check CHECK ((version > 0))
);

CREATE UNIQUE INDEX one_current_version ON charge_versions USING btree (source, period_start) WHERE (state = 'current'::text);

CREATE TABLE charge_days (
    version_id text NOT NULL,
    usage_date date NOT NULL,
    currency text NOT NULL,
    row_count bigint NOT NULL,
    total_nanos bigint NOT NULL,
    CONSTRAINT charge_days_pkey PRIMARY KEY (version_id, usage_date, currency),
    CONSTRAINT charge_days_version_id_fkey FOREIGN KEY (version_id) REFERENCES charge_versions(version_id),
    CONSTRAINT charge_days_currency_check CHECK ((length(currency) = 3)),
    CONSTRAINT charge_days_row_count_check CHECK ((row_count > 0))
);

CREATE TABLE cost_tracking (
    id bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    job_id text NOT NULL,
    source text NOT NULL,
    provider text NOT NULL,
    cost_type text NOT NULL,
    amount_nanos bigint NOT NULL,
    amount numeric GENERATED ALWAYS AS ((amount_nanos)::numeric * 0.000000001) STORED,
    effective_nanos bigint NOT NULL,
    list_nanos bigint NOT NULL,
    currency text NOT NULL DEFAULT 'USD'::text,
    billing_period_start timestamp with time zone NOT NULL,
    billing_period_end timestamp with time zone NOT NULL,
    retrieved_at timestamp with time zone NOT NULL,
    raw_data jsonb,
    version_id text NOT NULL,
    CONSTRAINT cost_tracking_pkey PRIMARY KEY (id),
    CONSTRAINT cost_tracking_job_id_source_cost_type_billing_period_start_key UNIQUE (job_id, source, cost_type, billing_period_start),
    CONSTRAINT cost_tracking_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs(job_id) ON DELETE CASCADE,
    CONSTRAINT cost_tracking_version_id_fkey FOREIGN KEY (version_id) REFERENCES charge_versions(version_id),
    CONSTRAINT cost_tracking_amount_nanos_check CHECK (((amount_nanos >= '-100000000000000000'::bigint) AND (amount_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT cost_tracking_currency_check CHECK ((length(currency) = 3))
);

CREATE INDEX cost_tracking_retrieved ON cost_tracking USING btree (retrieved_at);

CREATE INDEX cost_tracking_version ON cost_tracking USING btree (version_id);

CREATE TABLE job_daily_costs (
    job_id text NOT NULL,
    usage_date date NOT NULL,
    source text NOT NULL,
    provider text NOT NULL,
    currency text NOT NULL,
    billing_period_start timestamp with time zone NOT NULL,
    billed_nanos bigint NOT NULL,
    version_id text NOT NULL,
    CONSTRAINT job_daily_costs_pkey PRIMARY KEY (job_id, usage_date, source, currency, billing_period_start),
    CONSTRAINT job_daily_costs_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs(job_id),
    CONSTRAINT job_daily_costs_version_id_fkey FOREIGN KEY (version_id) REFERENCES charge_versions(version_id),
    CONSTRAINT job_daily_costs_currency_check CHECK ((length(currency) = 3))
);

CREATE INDEX job_daily_costs_date ON job_daily_costs USING btree (usage_date, provider, currency, job_id, billed_nanos);

CREATE INDEX job_daily_costs_version ON job_daily_costs USING btree (version_id);

CREATE TABLE unattributed_charges (
    version_id text NOT NULL,
    line bigint NOT NULL,
    line_count bigint NOT NULL,
    source text NOT NULL,
    service_name text NOT NULL,
    resource_id text,
    usage_date date NOT NULL,
    currency text NOT NULL,
    amount_nanos bigint NOT NULL,
    reason text NOT NULL,
    CONSTRAINT unattributed_charges_pkey PRIMARY KEY (version_id, line),
    CONSTRAINT unattributed_charges_version_id_fkey FOREIGN KEY (version_id) REFERENCES charge_versions(version_id),
    CONSTRAINT unattributed_charges_currency_check CHECK ((length(currency) = 3)),
    CONSTRAINT unattributed_charges_line_check CHECK ((line > 0)),
    CONSTRAINT unattributed_charges_line_count_check CHECK ((line_count > 0))
);

CREATE INDEX unattributed_charges_date ON unattributed_charges USING btree (usage_date);

CREATE TABLE cloud_costs (
    id bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    cloud_provider text NOT NULL,
    account_id text NOT NULL,
    service_name text NOT NULL,
    region text NOT NULL,
    usage_date date NOT NULL,
    currency text NOT NULL,
    cost_nanos bigint NOT NULL,
    cost_usd_nanos bigint,
    cost_usd numeric GENERATED ALWAYS AS ((cost_usd_nanos)::numeric * 0.000000001) STORED,
    version_id text,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT cloud_costs_pkey PRIMARY KEY (id),
    CONSTRAINT cloud_costs_cloud_provider_account_id_service_name_region_u_key UNIQUE (cloud_provider, account_id, service_name, region, usage_date, currency),
    CONSTRAINT cloud_costs_version_id_fkey FOREIGN KEY (version_id) REFERENCES charge_versions(version_id),
    CONSTRAINT cloud_costs_cost_nanos_check CHECK (((cost_nanos >= '-100000000000000000'::bigint) AND (cost_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT cloud_costs_cost_usd_nanos_check CHECK (((cost_usd_nanos >= '-100000000000000000'::bigint) AND (cost_usd_nanos <= '100000000000000000'::bigint))),
    CONSTRAINT cloud_costs_currency_check CHECK ((length(currency) = 3))
);

CREATE INDEX cloud_costs_date ON cloud_costs USING btree (usage_date);

CREATE INDEX cloud_costs_provider_date ON cloud_costs USING btree (cloud_provider, usage_date);

CREATE INDEX cloud_costs_version ON cloud_costs USING btree (version_id);

CREATE INDEX cloud_costs_service ON cloud_costs USING btree (service_name);

CREATE VIEW daily_cost_summary AS
 SELECT usage_date,
    cloud_provider,
    (sum(cost_usd_nanos) * 0.000000001) AS total_cost_usd,
    count(DISTINCT service_name) AS service_count
   FROM cloud_costs
  GROUP BY usage_date, cloud_provider;

CREATE VIEW service_cost_summary AS
 SELECT cloud_provider,
    service_name,
    (sum(cost_usd_nanos) * 0.000000001) AS total_cost_usd,
    count(DISTINCT usage_date) AS day_count,
    round(((sum(cost_usd_nanos) * 0.000000001) / (count(DISTINCT usage_date))::numeric), 9) AS avg_daily_cost_usd,
    min(usage_date) AS first_date,
    max(usage_date) AS last_date
   FROM cloud_costs
  GROUP BY cloud_provider, service_name;

INSERT INTO schema_migrations VALUES (0, 'schema_migrations',
    '6600c26776bcc38a254ff60b7e6a9b91b417b9c8717059527a042e36552a9601', now());

INSERT INTO schema_migrations VALUES (1, 'ledger',
    '94aba038e7787a0719581c986daee5c3adf418d19e18e05afee1737b42a497a8', now());

INSERT INTO schema_migrations VALUES (2, 'jobs',
    'e9fe2f6cbd331add670886a22dabfc075872c8f427a1d78fccfd6e13132c5a5b', now());

INSERT INTO schema_migrations VALUES (3, 'billing',
    '1a36b04847a9d831a8eae379a05dd6b1710009afbd234a1f0696ed82ba077a50', now());

INSERT INTO schema_migrations VALUES (4, 'plan_key',
    '2a2d4e6d047e970b2d38d962240f8463b650b7d58e9e50eec9f4eeddf0ccafcc', now());

INSERT INTO schema_migrations VALUES (5, 'many_jobs',
    '09b4aaf671a29c912b3e80709ee3ffcde73f55d3eee38d4605132e13ce7fef2d', now());
