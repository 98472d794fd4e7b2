// A database of one driver's own, with the tables that its checks use.

import { createDatabase, postgres, query, type TestDatabase } from '../harness/postgres.js'

const tables = `
  CREATE TYPE mood AS ENUM ('sad', 'glad');
  CREATE TABLE basic_types (
    id int PRIMARY KEY,
    a_bool bool, a_int2 int2, a_int4 int4, a_int8 int8, a_float4 float4, a_float8 float8, a_numeric numeric,
    a_text text, a_varchar varchar(20), a_char char(5), a_bytea bytea,
    a_date date, a_time time, a_timestamp timestamp, a_timestamptz timestamptz, a_interval interval,
    a_uuid uuid, a_json json, a_jsonb jsonb, a_inet inet, a_ints int4[], a_texts text[], a_mood mood
  );
  CREATE TABLE items (id int PRIMARY KEY, name text);
  CREATE TABLE altered (a int);
  INSERT INTO altered VALUES (1);
  ALTER TABLE basic_types OWNER TO scram_user;
  ALTER TABLE items OWNER TO scram_user;
  ALTER TABLE altered OWNER TO scram_user;
  GRANT CREATE ON DATABASE :database TO scram_user
`

export async function createDriverDatabase(): Promise<TestDatabase> {
  const database = await createDatabase()
  await query(tables.replace(':database', database.name), { database: database.name })
  return database
}

/** How a driver logs in, by the names that libpq gave these facts and most drivers know. */
export function environmentFor(address: { readonly host: string; readonly port: number }, database: string) {
  const { user, password } = postgres().roles.scram_user
  return {
    PGHOST: address.host,
    PGPORT: String(address.port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
    PGSSLMODE: 'disable',
    PGCONNECT_TIMEOUT: '10',
  }
}
