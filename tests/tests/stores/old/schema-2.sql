-- Tables of version 2, before there were organizations: three permits and five events.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE FUNCTION public.atlasent_api_keys_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO '$user', 'public'
    AS $$
BEGIN
    UPDATE atlasent_api_keys_version SET version = version + 1;
    RETURN NULL;
END
$$;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public.atlasent_api_keys (
    key_id text NOT NULL,
    key text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE public.atlasent_api_keys_version (
    only_one boolean DEFAULT true NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT atlasent_api_keys_version_only_one_check CHECK (only_one)
);

CREATE UNLOGGED TABLE public.atlasent_calls (
    counter bytea NOT NULL,
    minute bigint NOT NULL,
    count bigint NOT NULL
);

CREATE TABLE public.atlasent_cells (
    key bytea NOT NULL,
    value text NOT NULL,
    expires_at bigint NOT NULL,
    issued bigint
);

CREATE TABLE public.atlasent_events (
    sequence bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    actor_id text COLLATE pg_catalog."C",
    occurred_at text NOT NULL COLLATE pg_catalog."C",
    previous_hash text NOT NULL,
    hash text NOT NULL,
    payload text NOT NULL
);

CREATE TABLE public.atlasent_head (
    only_one boolean DEFAULT true NOT NULL,
    org_id text NOT NULL,
    sequence bigint NOT NULL,
    hash text NOT NULL,
    "time" text NOT NULL,
    dropped bigint DEFAULT 0 NOT NULL,
    CONSTRAINT atlasent_head_only_one_check CHECK (only_one)
);

CREATE TABLE public.atlasent_schema (
    version integer NOT NULL
);

INSERT INTO public.atlasent_api_keys_version VALUES (true, 1);

INSERT INTO public.atlasent_calls VALUES ('\x480a268bec5801bafbaa49e45ee84842e542284961456c61a01de6278fc9e950', 29932255, 4);

INSERT INTO public.atlasent_cells VALUES ('\x700071ba7a672b21cca5feb30ab57635479d6fe89e0000e67b695550960f539c69', '{"permit":{"grant":{"agent":"billing-bot","action":"payment.refund","resource":"account-12","environment":null,"execution_hash":"a900909613c5912cf7d4a2d1a95040d385d5e1b965d371d2546ded941bf8d5a0","policy":"157ec06004bb0742f39ea59176c492ec7c5c30836f34506b33da058a5ecbbaa3","key_environment":"test"},"sequence":2,"evaluation_id":"f1e72c5f-dff9-46da-b770-a5ea0865cb12","issued_at":"2026-11-29T06:55:15.743625322Z","expires_at":"2026-11-29T07:55:15.743625322Z","state":"issued"}}', 1795938915743625, 2);
INSERT INTO public.atlasent_cells VALUES ('\x730000000000000000000000000000000000000000000000000000000000000000', '{"stops":{"kept":[],"longest_life":3600}}', 253402207200999999, NULL);
INSERT INTO public.atlasent_cells VALUES ('\x705b5da89a597e3c719442a95cb2adb258d98ff359c04bd5d6fb1ae1be9b4c5e53', '{"permit":{"grant":{"agent":"billing-bot","action":"payment.refund","resource":"account-12","environment":null,"execution_hash":"a900909613c5912cf7d4a2d1a95040d385d5e1b965d371d2546ded941bf8d5a0","policy":"157ec06004bb0742f39ea59176c492ec7c5c30836f34506b33da058a5ecbbaa3","key_environment":"test"},"sequence":3,"evaluation_id":"087a7c86-fadc-4e73-94b6-a01ac2ed727a","issued_at":"2026-11-29T06:55:15.767623965Z","expires_at":"2026-11-29T07:55:15.767623965Z","state":"issued"}}', 1795938915767623, 3);
INSERT INTO public.atlasent_cells VALUES ('\x70614bb9324dfacb0bd49aed3900a5e8838df533b903d6f1418dc3a35ff9d21b66', '{"permit":{"grant":{"agent":"billing-bot","action":"payment.refund","resource":"account-12","environment":null,"execution_hash":"a900909613c5912cf7d4a2d1a95040d385d5e1b965d371d2546ded941bf8d5a0","policy":"157ec06004bb0742f39ea59176c492ec7c5c30836f34506b33da058a5ecbbaa3","key_environment":"test"},"sequence":4,"evaluation_id":"66e7d37b-7bb6-4803-8149-14d4fdc42d08","issued_at":"2026-11-29T06:55:15.8508671Z","expires_at":"2026-11-29T07:55:15.8508671Z","state":"issued"}}', 1795938915850867, 4);
INSERT INTO public.atlasent_cells VALUES ('\x61dbfccbab7edc36cc48de87e3c5c42943b021dbf133f02a6c43013ffa7fa381e5', '{"agent":{"slots":{"1795938928":3}}}', 1795938928000000, NULL);

INSERT INTO public.atlasent_events VALUES (1, 'policy.loaded', NULL, '2026-11-29T06:55:10.522084Z', '0000000000000000000000000000000000000000000000000000000000000000', '5075533c7cc5818980eeab321873d48bbf26f219921a295950912a6974133d56', '{"created_at":"2026-11-29T06:55:10.522084Z","id":"a780a612-b0d9-4c20-b277-2300b1315320","occurred_at":"2026-11-29T06:55:10.522084Z","org_id":"local","policies":["deploy-1","deploy-10","deploy-2","deploy-3","deploy-4","deploy-5","deploy-6","deploy-7","deploy-8","deploy-9","refund-1","refund-10","refund-2","refund-3","refund-4","refund-5","refund-6","refund-7","refund-8","refund-9"],"policy_version":"caf8d293efba42ada648c42de4d49449b961f9cd0f09f80e25070a7b1d46cddc","sequence":1,"type":"policy.loaded"}');
INSERT INTO public.atlasent_events VALUES (2, 'evaluate.allow', 'billing-bot', '2026-11-29T06:55:15.743625Z', '5075533c7cc5818980eeab321873d48bbf26f219921a295950912a6974133d56', '9315daabaa67355a911731bd5aae52118af98567ee74e26f9320f4088342b78c', '{"action_type":"payment.refund","actor_id":"billing-bot","client":"127.0.0.1","context_hash":"95d4ee2173405dd464df179b471b9ed835976056e63da57f02e1f6d27b52721d","created_at":"2026-11-29T06:55:15.743625Z","decision":"allow","expires_at":"2026-11-29T07:55:15.743625Z","id":"f1e72c5f-dff9-46da-b770-a5ea0865cb12","key_environment":"test","key_id":"key_e38301a64e879903","occurred_at":"2026-11-29T06:55:15.743625Z","org_id":"local","permit_hash":"0071ba7a672b21cca5feb30ab57635479d6fe89e0000e67b695550960f539c69","policies":["refund-1"],"policy_version":"caf8d293efba42ada648c42de4d49449b961f9cd0f09f80e25070a7b1d46cddc","reason":"permitted by policy `refund-1`","resource_id":"account-12","resource_type":"Resource","sequence":2,"type":"evaluate.allow","x_request_id":"48ddbb33-780e-483d-8f2f-e4f2562b14bd"}');
INSERT INTO public.atlasent_events VALUES (3, 'evaluate.allow', 'billing-bot', '2026-11-29T06:55:15.767623Z', '9315daabaa67355a911731bd5aae52118af98567ee74e26f9320f4088342b78c', '82ad4e9fbaeb3ce32205e80aebda0724257c3eff56b3df6dde708ca77f79a922', '{"action_type":"payment.refund","actor_id":"billing-bot","client":"127.0.0.1","context_hash":"95d4ee2173405dd464df179b471b9ed835976056e63da57f02e1f6d27b52721d","created_at":"2026-11-29T06:55:15.767623Z","decision":"allow","expires_at":"2026-11-29T07:55:15.767623Z","id":"087a7c86-fadc-4e73-94b6-a01ac2ed727a","key_environment":"test","key_id":"key_e38301a64e879903","occurred_at":"2026-11-29T06:55:15.767623Z","org_id":"local","permit_hash":"5b5da89a597e3c719442a95cb2adb258d98ff359c04bd5d6fb1ae1be9b4c5e53","policies":["refund-1"],"policy_version":"caf8d293efba42ada648c42de4d49449b961f9cd0f09f80e25070a7b1d46cddc","reason":"permitted by policy `refund-1`","resource_id":"account-12","resource_type":"Resource","sequence":3,"type":"evaluate.allow","x_request_id":"185a2d0c-3cbf-4699-b499-af2595befec9"}');
INSERT INTO public.atlasent_events VALUES (4, 'evaluate.allow', 'billing-bot', '2026-11-29T06:55:15.850867Z', '82ad4e9fbaeb3ce32205e80aebda0724257c3eff56b3df6dde708ca77f79a922', '76ba94be287bd9e8d35fdc31a436991d83cca9692e77d363c150bda06b5b855c', '{"action_type":"payment.refund","actor_id":"billing-bot","client":"127.0.0.1","context_hash":"95d4ee2173405dd464df179b471b9ed835976056e63da57f02e1f6d27b52721d","created_at":"2026-11-29T06:55:15.850867Z","decision":"allow","expires_at":"2026-11-29T07:55:15.850867Z","id":"66e7d37b-7bb6-4803-8149-14d4fdc42d08","key_environment":"test","key_id":"key_e38301a64e879903","occurred_at":"2026-11-29T06:55:15.850867Z","org_id":"local","permit_hash":"614bb9324dfacb0bd49aed3900a5e8838df533b903d6f1418dc3a35ff9d21b66","policies":["refund-1"],"policy_version":"caf8d293efba42ada648c42de4d49449b961f9cd0f09f80e25070a7b1d46cddc","reason":"permitted by policy `refund-1`","resource_id":"account-12","resource_type":"Resource","sequence":4,"type":"evaluate.allow","x_request_id":"35b6cafd-1fb1-4505-aed9-69abfb109e38"}');
INSERT INTO public.atlasent_events VALUES (5, 'evaluate.deny', 'billing-bot', '2026-11-29T06:55:15.914057Z', '76ba94be287bd9e8d35fdc31a436991d83cca9692e77d363c150bda06b5b855c', 'b9401962e56d35ea9df5d0484eb9d1c806541888a459920f5ab987423040cc36', '{"action_type":"payment.steal","actor_id":"billing-bot","client":"127.0.0.1","code":"UNKNOWN_ACTION","context_hash":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","created_at":"2026-11-29T06:55:15.914057Z","decision":"deny","id":"e15e359a-2d1d-4991-bb4f-90c3ebfeb184","key_environment":"test","key_id":"key_e38301a64e879903","occurred_at":"2026-11-29T06:55:15.914057Z","org_id":"local","policies":[],"policy_version":"caf8d293efba42ada648c42de4d49449b961f9cd0f09f80e25070a7b1d46cddc","reason":"no policy names `payment.steal`","sequence":5,"type":"evaluate.deny","x_request_id":"d92e7744-5956-48d1-9eaf-dacf944c4820"}');

INSERT INTO public.atlasent_head VALUES (true, 'local', 5, 'b9401962e56d35ea9df5d0484eb9d1c806541888a459920f5ab987423040cc36', '2026-11-29T06:55:15.914057742Z', 0);

INSERT INTO public.atlasent_schema VALUES (1);
INSERT INTO public.atlasent_schema VALUES (2);

ALTER TABLE ONLY public.atlasent_api_keys
    ADD CONSTRAINT atlasent_api_keys_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY public.atlasent_api_keys_version
    ADD CONSTRAINT atlasent_api_keys_version_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY public.atlasent_calls
    ADD CONSTRAINT atlasent_calls_pkey PRIMARY KEY (counter);

ALTER TABLE ONLY public.atlasent_cells
    ADD CONSTRAINT atlasent_cells_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.atlasent_events
    ADD CONSTRAINT atlasent_events_pkey PRIMARY KEY (sequence);

ALTER TABLE ONLY public.atlasent_head
    ADD CONSTRAINT atlasent_head_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY public.atlasent_schema
    ADD CONSTRAINT atlasent_schema_pkey PRIMARY KEY (version);

CREATE INDEX atlasent_calls_minute ON public.atlasent_calls USING btree (minute);

CREATE INDEX atlasent_cells_expiry ON public.atlasent_cells USING btree (expires_at);

CREATE INDEX atlasent_cells_issued ON public.atlasent_cells USING btree (issued) WHERE (issued IS NOT NULL);

CREATE INDEX atlasent_events_actor ON public.atlasent_events USING btree (actor_id, sequence);

CREATE INDEX atlasent_events_kind ON public.atlasent_events USING btree (kind, sequence);

CREATE INDEX atlasent_events_kind_actor ON public.atlasent_events USING btree (kind, actor_id, sequence);

CREATE INDEX atlasent_events_moment ON public.atlasent_events USING btree (occurred_at, sequence);

CREATE TRIGGER atlasent_api_keys_changed AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.atlasent_api_keys FOR EACH STATEMENT EXECUTE FUNCTION public.atlasent_api_keys_changed();

