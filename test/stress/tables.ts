// What the databases of the stress have in them: made once, and copied for the twins.

/** Schemas that a search_path may name; in each, `things` is a table of another shape. */
const things = [
  ['s1', "n int, origin text default 's1'"],
  ['s2', "n text, origin text default 's2', more int default 2"],
  ['"S1"', "n bigint, origin text default 'S1'"],
] as const

export const setUp = [
  'create table writes (token text primary key, n int check (n < 1000))',
  // A statement on it fails before it has begun.
  'create table closed (token text, n int)',
  `create function refuse() returns trigger language plpgsql as
     $$ begin raise exception 'refused: %', tg_op using errcode = 'P0043'; end $$`,
  'create trigger closed before insert or update or delete on closed for each statement execute procedure refuse()',
  // Rows fail one by one, where n is 1; and at the end of the transaction, where it is 2.
  'create table picky (token text, n int)',
  `create function pick() returns trigger language plpgsql as
     $$ begin if new.n = tg_argv[0]::int then raise exception 'picked: %', new.token using errcode = 'P0044'; end if; return new; end $$`,
  "create trigger early before insert on picky for each row execute procedure pick('1')",
  `create constraint trigger late after insert on picky deferrable initially deferred
     for each row execute procedure pick('2')`,
  ...things.flatMap(([schema, columns]) => [
    `create schema ${schema}`,
    `create table ${schema}.things (${columns})`,
    `insert into ${schema}.things (n) values ('1')`,
    `grant usage on schema ${schema} to public`,
    `grant all on ${schema}.things to public`,
  ]),
  'grant all on writes, closed, picky to public',
].join(';')
