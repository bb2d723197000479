/** The issuer's tables. Forward only: a released entry never changes, new ones are appended. @module */

export const MIGRATIONS: readonly string[] = [
  `
  -- One log a writer. The newest is the only one that grows.
  create table logs (
    log int primary key,
    enclave bytea not null unique,
    size bigint not null default 0,
    opened_at timestamptz not null default now()
  );
  -- One row: the log that may grow. Whoever begins a log changes it, and whoever commits reads it.
  create table writer (id int primary key check (id = 1), log int not null references logs);

  create table entries (
    log int not null references logs,
    position bigint not null,
    encoded bytea not null,
    primary key (log, position)
  );
  create table heads (
    log int not null references logs,
    size bigint not null,
    root bytea not null,
    fees numeric(20) not null,
    r bytea not null,
    vs bytea not null,
    primary key (log, size)
  );

  -- What the entries name by hash only.
  create table issues (
    keyset bytea not null,
    claim_key bytea not null,
    exponents bytea not null,
    blinded bytea not null,
    r bytea not null,
    vs bytea not null,
    primary key (keyset, claim_key)
  );
  -- Every payment that was reserved, found by the first digits of its locator. Nothing here is ever changed: payments are answered for ever.
  create table payments (
    keyset bytea not null,
    locator bytea not null,
    payment bytea not null,
    primary key (keyset, locator, payment)
  );
  -- What was signed for its blanks, from the first on: one byte and 48 bytes each. No row before the capture.
  create table change (payment bytea primary key, exponents bytea not null, signatures bytea not null);
  create table open_reserves (payment bytea primary key, blanks bytea not null);
  -- Counted from 0 for each keyset, in the order of the log and without a gap: two who count at once cannot both commit.
  create table spent (
    keyset bytea not null,
    number bigint not null,
    credit bytea not null unique,
    exit_key bytea not null,
    secret bytea not null,
    primary key (keyset, number)
  );
  `,
]
