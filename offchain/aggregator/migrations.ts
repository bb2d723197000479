/** The aggregator's tables. Forward only: a released entry never changes, new ones are appended. @module */

export const MIGRATIONS: readonly string[] = [
  `
  -- One row an enclave: its lock, and the right edge of its log (32 bytes a node, largest subtree first).
  create table logs (
    enclave bytea primary key,
    size bigint not null default 0,
    edge bytea not null default '',
    is_ended boolean not null default false
  );

  -- A stretch of a log: leaves of 32 bytes, and their index (leafRuns.ts). Hashes do not compress, and parts are read by offset.
  create table leaf_runs (
    enclave bytea not null references logs,
    start bigint not null,
    count int not null,
    leaves bytea not null,
    leaf_index bytea not null,
    primary key (enclave, start)
  );
  alter table leaf_runs alter column leaves set storage external, alter column leaf_index set storage external;

  -- One logical transaction of a sending account: a nonce, and as many attempts as it takes (step.ts).
  create table transactions (
    id bigserial primary key,
    account bytea not null,
    kind text not null,
    calldata bytea not null,
    gas bigint not null,
    state text not null,
    nonce bigint,
    sent_at bigint,
    foreign_sightings int,
    included_hash bytea,
    included_block bigint,
    included_block_hash bytea,
    gas_used bigint,
    failure text,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now()
  );
  create index transactions_live on transactions (account, id) where state not in ('final', 'failed');
  create index transactions_failed on transactions (account, changed_at) where state = 'failed';

  -- Stored before they are broadcast.
  create table attempts (
    hash bytea primary key,
    transaction bigint not null references transactions,
    position int not null,
    raw bytea not null,
    fee numeric not null,
    tip numeric not null,
    stored_at timestamptz not null default now(),
    unique (transaction, position)
  );

  create table heads (
    enclave bytea not null references logs,
    size bigint not null,
    root bytea not null,
    fees numeric(20) not null,
    r bytea not null,
    vs bytea not null,
    received_at timestamptz not null default now(),
    assigned bigint references transactions,
    skipped text,
    retry_at timestamptz,
    primary key (enclave, size)
  );
  create index heads_assigned on heads (assigned) where assigned is not null;

  -- Signed heads that cannot both be true. Never deleted.
  create table evidence (
    id bytea primary key,
    enclave bytea not null,
    kind text not null,
    heads text not null,
    calldata bytea not null,
    state text not null default 'pending',
    assigned bigint references transactions,
    noted_at timestamptz not null default now()
  );
  create index evidence_enclave on evidence (enclave);

  create table leases (
    account bytea primary key,
    holder text not null,
    epoch bigint not null,
    ends_at timestamptz not null
  );
  create table settle_requests (account bytea primary key, asked_at timestamptz not null default now());

  create table chain (
    id int primary key check (id = 1),
    identity text not null,
    block bigint,
    hash bytea,
    final_block bigint,
    final_hash bytea
  );

  -- What the chain says. Removed and read again when blocks are reorganised.
  create table batches (
    batch bigint primary key,
    root bytea not null,
    transaction bytea not null,
    block bigint not null,
    gas_used bigint not null
  );
  create index batches_block on batches (block);
  create table batch_heads (
    batch bigint not null references batches on delete cascade,
    position int not null,
    enclave bytea not null,
    size bigint not null,
    root bytea not null,
    earned numeric(20),
    primary key (batch, position)
  );
  create index batch_heads_enclave on batch_heads (enclave, size);
  create index batch_heads_earned on batch_heads (enclave, earned) where earned is not null;
  `,
  `
  -- An issuer's log is witnessed here and never settled.
  alter table logs add column role text not null default 'gateway';

  -- One row a keyset: the lock of its clearings.
  create table keysets (keyset bytea primary key);

  -- id is the EIP-712 digest. Done: settled in a final block, so never due again.
  create table clearings (
    seq bigserial primary key,
    id bytea not null unique,
    keyset bytea not null references keysets,
    issued numeric(20) not null,
    captured numeric(20) not null,
    r bytea not null,
    vs bytea not null,
    received_at timestamptz not null default now(),
    assigned bigint references transactions,
    position int,
    skipped text,
    retry_at timestamptz,
    tries int not null default 0,
    is_done boolean not null default false
  );
  create index clearings_open on clearings (keyset, seq) where not is_done;
  create index clearings_assigned on clearings (assigned) where assigned is not null;

  -- A clearing's lines. Those of done clearings go once a newer clearing says as much of their enclave.
  create table clearing_lines (
    clearing bigint not null references clearings on delete cascade,
    position int not null,
    keyset bytea not null,
    enclave bytea not null,
    captured numeric(20) not null,
    primary key (clearing, position)
  );
  create index clearing_lines_enclave on clearing_lines (keyset, enclave);

  -- What the chain says, like batches.
  create table settled_clearings (
    id bytea primary key,
    transaction bytea not null,
    block bigint not null
  );
  create index settled_clearings_block on settled_clearings (block);
  `,
  `
  -- What follows from the leaves, written behind them: how far each log's nodes (tilesStore.ts) and the index of all leaves (proofsIndex.ts)
  -- reach. The number stands for the enclave in the index.
  create table log_progress (
    enclave bytea primary key references logs,
    number serial unique,
    tiled bigint not null default 0,
    indexed bigint not null default 0
  );

  -- Complete nodes of the trees' rows 4, 8, 12 and so on (level 1, 2, 3), 32 bytes each, up to 256 a row: it grows until it is full.
  create table log_tiles (
    enclave bytea not null references logs,
    level int not null,
    index bigint not null,
    nodes bytea not null,
    primary key (enclave, level, index)
  );
  alter table log_tiles alter column nodes set storage external;

  -- Where leaves are, by their first bits. A segment holds the leaves of some stretches of logs; small segments are merged.
  create table leaf_segments (id bigserial primary key, bits int not null, count bigint not null);
  create table leaf_buckets (
    segment bigint not null,
    bucket int not null,
    entries bytea not null,
    primary key (segment, bucket)
  );
  alter table leaf_buckets alter column entries set storage external;

  -- Whoever streams settlements hears of changes at once, whichever process made them.
  create function announce_batches() returns trigger language plpgsql as $$
  begin
    perform pg_notify('sealpath_batches', '');
    return null;
  end $$;
  create trigger batches_changed after insert or delete on batches
    for each statement execute function announce_batches();
  `,
]
