//! tokio-postgres: statements prepared by the driver's own names, pipelines by running futures at once, COPY both ways.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

type Problem = Box<dyn std::error::Error + Send + Sync>;
type Outcome = Result<(), Problem>;

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let results = [
        report("connect", connect()).await,
        report("types", types()).await,
        report("prepared", prepared()).await,
        report("shared", shared()).await,
        report("batch", batch()).await,
        report("copy", copy()).await,
        report("cancel", cancel()).await,
        report("error", error()).await,
        report("reconnect", reconnect()).await,
        report("altered", altered()).await,
    ];
    std::process::exit(if results.contains(&false) { 1 } else { 0 });
}

/// Prints `ok NAME`, or `not ok NAME: why`.
async fn report(name: &str, check: impl Future<Output = Outcome>) -> bool {
    let problem = match tokio::time::timeout(LIMIT, check).await {
        Ok(Ok(())) => {
            println!("ok {name}");
            return true;
        }
        Ok(Err(problem)) => format!("{problem:?}"),
        Err(_) => format!("not done after {LIMIT:?}"),
    };
    println!("not ok {name}: {}", problem.replace('\n', " "));
    false
}

macro_rules! equal {
    ($got:expr, $expected:expr) => {
        match (&$got, &$expected) {
            (got, expected) if got == expected => {}
            (got, expected) => return Err(format!("line {}: got {got:?}, not {expected:?}", line!()).into()),
        }
    };
}

/// The environment says where.
fn config() -> Config {
    let read = |name: &str| std::env::var(name).expect(name);
    let mut config = Config::new();
    config.host(read("PGHOST")).port(read("PGPORT").parse().expect("PGPORT"));
    config.dbname(read("PGDATABASE")).user(read("PGUSER")).password(read("PGPASSWORD"));
    config
}

async fn open_with(config: Config) -> Result<Client, Problem> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await; // its error is the client's too
    });
    Ok(client)
}

async fn open() -> Result<Client, Problem> {
    open_with(config()).await
}

fn code<T>(result: Result<T, tokio_postgres::Error>) -> Option<SqlState> {
    result.err().and_then(|error| error.code().cloned())
}

async fn connect() -> Outcome {
    let client = open().await?;
    equal!(client.query_one("SELECT current_user::text", &[]).await?.get::<_, String>(0), "scram_user");
    let mut wrong = config();
    wrong.password("wrong");
    equal!(open_with(wrong).await.is_err(), true);
    Ok(())
}

async fn types() -> Outcome {
    let client = open().await?;
    let moment: DateTime<Utc> = Utc.with_ymd_and_hms(2024, 2, 29, 12, 0, 0).unwrap();
    let date = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
    let time = NaiveTime::from_hms_micro_opt(23, 59, 59, 123456).unwrap();
    let timestamp = NaiveDateTime::new(date, time);
    let id = uuid::Uuid::from_u128(0x00112233_4455_6677_8899_aabbccddeeff);
    let json = serde_json::json!({"n": [1, null], "ü": "☃"});
    let text = "naïve 'quoted' \\ text ☃ \n".to_string();
    let bytes = vec![0u8, 1, b'\\', b'\'', 255];
    let ints = vec![1i32, -2, 3];
    let texts = vec!["a".to_string(), "with, comma".into(), "\"quoted\"".into(), String::new()];
    let columns = "a_bool, a_int2, a_int4, a_int8, a_float4, a_float8, a_text, a_varchar, a_char, a_bytea, a_date, a_time, \
        a_timestamp, a_timestamptz, a_uuid, a_json, a_jsonb, a_ints, a_texts";
    let places: Vec<String> = (1..=19).map(|n| format!("${n}")).collect();
    let insert = format!("INSERT INTO basic_types (id, {columns}) VALUES (1, {})", places.join(", "));
    let values: [&(dyn ToSql + Sync); 19] = [
        &true, &-32768i16, &2147483647i32, &i64::MIN, &1.5f32, &-1e300f64, &text, &"", &"abc  ", &bytes, &date, &time,
        &timestamp, &moment, &id, &json, &json, &ints, &texts,
    ];
    equal!(client.execute(&insert, &values).await?, 1);
    client.execute("INSERT INTO basic_types (id) VALUES (2)", &[]).await?;
    let rows = client.query(&format!("SELECT {columns} FROM basic_types ORDER BY id"), &[]).await?;
    let row = &rows[0];
    equal!(
        (row.get::<_, bool>(0), row.get::<_, i16>(1), row.get::<_, i32>(2), row.get::<_, i64>(3), row.get::<_, f32>(4)),
        (true, -32768, 2147483647, i64::MIN, 1.5)
    );
    equal!((row.get::<_, f64>(5), row.get::<_, String>(6), row.get::<_, &str>(7)), (-1e300, text, ""));
    equal!((row.get::<_, &str>(8), row.get::<_, Vec<u8>>(9), row.get::<_, NaiveDate>(10)), ("abc  ", bytes, date));
    equal!((row.get::<_, NaiveTime>(11), row.get::<_, NaiveDateTime>(12)), (time, timestamp));
    equal!((row.get::<_, DateTime<Utc>>(13), row.get::<_, uuid::Uuid>(14)), (moment, id));
    equal!((row.get::<_, serde_json::Value>(15), row.get::<_, serde_json::Value>(16)), (json.clone(), json));
    equal!((row.get::<_, Vec<i32>>(17), row.get::<_, Vec<String>>(18)), (ints, texts));
    equal!(rows[1].get::<_, Option<bool>>(0), None);
    equal!(rows[1].get::<_, Option<Vec<String>>>(18), None);
    // An enum: the driver asks the catalogues what it is, by prepared statements of its own.
    let enum_type = client.prepare("SELECT 'glad'::mood").await?.columns()[0].type_().clone();
    equal!(enum_type.name(), "mood");
    let large = "ü".repeat(3_000_000);
    equal!(client.query_one("SELECT $1::text", &[&large]).await?.get::<_, &str>(0) == large, true);
    Ok(())
}

/// The two servers, held by a transaction each.
struct Holders([(Client, i32); 2]);

impl Holders {
    async fn take() -> Result<Self, Problem> {
        let mut holders = Vec::new();
        for _ in 0..2 {
            let client = open().await?;
            client.batch_execute("BEGIN").await?;
            let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
            holders.push((client, pid));
        }
        let holders: [_; 2] = holders.try_into().map_err(|_| "two holders")?;
        if holders[0].1 == holders[1].1 {
            return Err("one server for two transactions".into());
        }
        Ok(Self(holders))
    }

    /// From now on this one's server is the only one that is free.
    async fn free(&self, index: usize) -> Result<i32, Problem> {
        let (client, pid) = &self.0[index];
        client.batch_execute("ROLLBACK").await?;
        Ok(*pid)
    }

    async fn hold(&self, index: usize) -> Outcome {
        Ok(self.0[index].0.batch_execute("BEGIN").await?)
    }
}

async fn prepared() -> Outcome {
    let client = open().await?;
    let twice = client.prepare("SELECT $1::int * 2, pg_backend_pid()").await?;
    client.query_one(&twice, &[&1]).await?;
    let holders = Holders::take().await?;
    for index in 0..2 {
        let pid = holders.free(index).await?;
        let row = client.query_one(&twice, &[&pid]).await?;
        equal!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (pid * 2, pid));
        equal!(client.query_one("SELECT $1::int + 1", &[&pid]).await?.get::<_, i32>(0), pid + 1);
        holders.hold(index).await?;
    }
    Ok(())
}

async fn shared() -> Outcome {
    let asks = (0..20i32).map(|who| async move {
        let client = open().await?;
        let same = client.prepare(&format!("SELECT {}, $1::int", who % 4)).await?;
        for n in 0..50i32 {
            let row = client.query_one(&same, &[&n]).await?;
            equal!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (who % 4, n));
        }
        Ok(())
    });
    try_join_all(asks).await.map(|_| ())
}

async fn batch() -> Outcome {
    let client = open().await?;
    // Futures that run at once are sent without waiting for each other.
    let echo = client.prepare("SELECT $1::int").await?;
    let numbers: Vec<i32> = (0..200).collect();
    let rows = try_join_all(numbers.iter().map(|n| {
        let (client, echo): (&Client, &Statement) = (&client, &echo);
        async move { client.query_one(echo, &[n]).await }
    }))
    .await?;
    equal!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), numbers);
    let divide = client.prepare("SELECT 10 / $1::int").await?;
    let mixed = join_all([1i32, 0, 2].iter().map(|n| {
        let (client, divide): (&Client, &Statement) = (&client, &divide);
        async move { client.query_one(divide, &[n]).await }
    }))
    .await;
    let [good, bad, after]: [Result<Row, _>; 3] = mixed.try_into().map_err(|_| "three answers")?;
    equal!((good?.get::<_, i32>(0), code(bad), after?.get::<_, i32>(0)), (10, Some(SqlState::DIVISION_BY_ZERO), 5));
    let answers = client.simple_query("SELECT 1; SELECT 2").await?;
    equal!(answers.len(), 6); // description, row, end; twice
    let mut client = client;
    let transaction = client.transaction().await?;
    let portal = transaction.bind("SELECT generate_series(1, 30)", &[]).await?;
    let mut seen = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 7).await?;
        if rows.is_empty() {
            break;
        }
        seen.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    equal!(seen, (1..=30).collect::<Vec<i32>>());
    Ok(())
}

async fn copy() -> Outcome {
    let client = open().await?;
    let (client, name) = (&client, &"näme\t".repeat(20));
    let fill = |count: i32| async move {
        let sink = client.copy_in("COPY items FROM STDIN BINARY").await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]));
        for n in 0..count {
            writer.as_mut().write(&[&n, name]).await?;
        }
        writer.finish().await
    };
    equal!(fill(5000).await?, 5000);
    // One that fails while most of it is still to come, and one that has been sent by then, with the Close of its statement.
    for count in [5000, 1] {
        equal!(code(fill(count).await), Some(SqlState::UNIQUE_VIOLATION));
    }
    let stream = client.copy_out("COPY (SELECT id FROM items ORDER BY id) TO STDOUT").await?;
    let out = stream.map_ok(|bytes| bytes.to_vec()).try_concat().await?;
    equal!(out.iter().filter(|byte| **byte == b'\n').count(), 5000);
    // One that is given up half way, and one read half way.
    let mut sink = Box::pin(client.copy_in("COPY items FROM STDIN").await?);
    sink.send(std::io::Cursor::new("6000\tnever there\n")).await?;
    drop(sink);
    let mut half = Box::pin(client.copy_out("COPY items TO STDOUT").await?);
    equal!(half.next().await.is_some(), true);
    drop(half);
    equal!(client.query_one("SELECT count(*) FROM items", &[]).await?.get::<_, i64>(0), 5000);
    client.batch_execute("TRUNCATE items").await?;
    Ok(())
}

async fn cancel() -> Outcome {
    let (client, watcher) = (open().await?, open().await?);
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'";
    let stop = async {
        while watcher.query_one(running, &[]).await?.get::<_, i64>(0) == 0 {}
        client.cancel_token().cancel_query(NoTls).await
    };
    let (slept, stopped) = tokio::join!(client.batch_execute("SELECT pg_sleep(60)"), stop);
    stopped?;
    equal!(code(slept), Some(SqlState::QUERY_CANCELED));
    equal!(client.query_one("SELECT 1", &[]).await?.get::<_, i32>(0), 1);
    Ok(())
}

async fn error() -> Outcome {
    let mut client = open().await?;
    let mut transaction = client.transaction().await?;
    transaction.execute("INSERT INTO items VALUES (1, 'one')", &[]).await?;
    let inner = transaction.savepoint("here").await?;
    equal!(code(inner.query_one("SELECT 1 / $1::int", &[&0]).await), Some(SqlState::DIVISION_BY_ZERO));
    equal!(code(inner.query_one("SELECT 1", &[]).await), Some(SqlState::IN_FAILED_SQL_TRANSACTION));
    inner.rollback().await?;
    equal!(transaction.query_one("SELECT name FROM items", &[]).await?.get::<_, &str>(0), "one");
    transaction.rollback().await?;
    equal!(client.query("SELECT name FROM items", &[]).await?.len(), 0);
    // A transaction that is dropped is rolled back.
    client.transaction().await?.execute("INSERT INTO items VALUES (1, 'one')", &[]).await?;
    equal!(client.query("SELECT name FROM items", &[]).await?.len(), 0);
    Ok(())
}

async fn reconnect() -> Outcome {
    let client = open().await?;
    client.batch_execute("BEGIN").await?;
    let ended = client.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await;
    equal!(code(ended), Some(SqlState::ADMIN_SHUTDOWN));
    while !client.is_closed() {
        tokio::task::yield_now().await;
    }
    equal!(open().await?.query_one("SELECT 1", &[]).await?.get::<_, i32>(0), 1);
    Ok(())
}

/// tokio-postgres tells its user of a plan gone stale; a statement that is prepared anew is right.
async fn altered() -> Outcome {
    let (client, other) = (open().await?, open().await?);
    let mut select = client.prepare("SELECT * FROM altered").await?;
    for width in [1, 2] {
        let holders = Holders::take().await?;
        for index in 0..2 {
            holders.free(index).await?;
            let mut rows = client.query(&select, &[]).await;
            if let Err(problem) = &rows {
                equal!(problem.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED));
                equal!((width, index), (2, 0)); // only once
                select = client.prepare("SELECT * FROM altered").await?;
                rows = client.query(&select, &[]).await;
            }
            equal!(rows?[0].len(), width);
            holders.hold(index).await?;
        }
        if width == 1 {
            drop(holders);
            other.batch_execute("ALTER TABLE altered ADD COLUMN b int DEFAULT 2").await?;
        }
    }
    Ok(())
}
