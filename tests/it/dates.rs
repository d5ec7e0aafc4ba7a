//! Dates, times and time zones on the MySQL wire: `tests/data/mysql84_dates.tsv`, and what depends on the session.

use crate::common::{
    TestServer,
    mysql::{Column, MySql, Reply},
};

/// One line of the table.
struct Case {
    sql: String,
    value: &'static str,
    kind: &'static str,
    told: &'static str,
}

fn cases() -> Vec<Case> {
    let lines = include_str!("../data/mysql84_dates.tsv").lines().filter(|line| !line.starts_with('#'));
    let case = |line: &'static str| {
        let [expression, value, kind, told] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        Case { sql: format!("SELECT {expression}"), value, kind, told }
    };
    lines.map(case).collect()
}

/// The moment of the table.
async fn client_at_that_time(server: &TestServer) -> MySql {
    let mut client = MySql::connect(server.mysql).await;
    let set = client.query("SET time_zone = '+00:00', timestamp = 1795166999.123456").await;
    assert!(matches!(set, Reply::Ok { .. }), "{set:?}");
    client
}

#[tokio::test]
async fn expressions_match_mysql() {
    let cases = cases();
    assert!(cases.len() > 400);
    let server = TestServer::start();
    let mut client = client_at_that_time(&server).await;
    let mut wrong = Vec::new();
    for Case { sql, value, kind, told } in &cases {
        let (got, column) = match client.query(sql).await {
            Reply::Rows { columns, rows, .. } => {
                (rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned()), Some(columns[0].clone()))
            }
            Reply::Error { code, text, .. } => (format!("{code} {text}"), None),
            other @ Reply::Ok { .. } => panic!("{other:?}"),
        };
        if column.is_none() {
            if got != *told {
                wrong.push(format!("{sql}: {got}, not {told}"));
            }
            continue;
        }
        let warned = warnings(&mut client).await;
        if got != *value || warned != *told {
            wrong.push(format!("{sql}: {got} ({warned}), not {value} ({told})"));
        }
        let typed = column.map(|column| type_of(&column)).unwrap_or_default();
        if !kind.is_empty() && typed != *kind {
            wrong.push(format!("{sql}: a column of {typed}, not {kind}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn prepared_statement_sends_same_dates_and_times() {
    let server = TestServer::start();
    let mut client = client_at_that_time(&server).await;
    let mut wrong = Vec::new();
    for Case { sql, value, .. } in cases().iter().filter(|case| !case.value.is_empty()) {
        let Some((columns, row)) = execute(&mut client, sql, &[]).await else { continue };
        let got = shown(&columns[0], &row);
        let same = match columns[0].kind {
            // A moment of the binary protocol has a fraction where it is not 0.
            7 | 10..=12 => {
                got == value.trim_end_matches(|c| value.contains('.') && c == '0').trim_end_matches('.')
            }
            _ => got == *value,
        };
        if !same {
            wrong.push(format!("{sql}: {got}, not {value}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn parameters_are_read_as_dates() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let date = (10, &[4, 0xEA, 7, 11, 27][..]);
    let moment = (12, &[7, 0xEA, 7, 11, 27, 10, 11, 12][..]);
    let time = (11, &[8, 1, 1, 0, 0, 0, 2, 3, 4][..]);
    for (sql, parameter, expected) in [
        ("SELECT ? + INTERVAL 1 DAY", date, "2026-11-28"),
        ("SELECT ? + INTERVAL 1 HOUR", moment, "2026-11-27 11:11:12"),
        ("SELECT ? = '2026-11-27'", date, "1"),
        ("SELECT HOUR(?)", time, "26"),
        ("SELECT CONCAT(?, '')", time, "-26:03:04"),
        ("SELECT DATE_FORMAT(?, '%Y%m%d')", moment, "20261127"),
    ] {
        let (columns, row) = execute(&mut client, sql, &[parameter]).await.unwrap();
        assert_eq!(shown(&columns[0], &row), expected, "{sql}");
    }
    // What there cannot be is the zero date.
    let (columns, row) = execute(&mut client, "SELECT ?", &[(12, &[4, 0xEA, 7, 13, 32])]).await.unwrap();
    assert_eq!(shown(&columns[0], &row), "0000-00-00 00:00:00");
}

/// Half an hour before midnight UTC.
const LATE: &str = "SET timestamp = 1795217400";

#[tokio::test]
async fn day_begins_at_midnight_of_the_time_zone() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = [
        MySql::connect(server.mysql).await,
        MySql::connect(server.mysql).await,
        MySql::connect(server.mysql).await,
    ];
    for client in [&mut a, &mut b, &mut c] {
        client.query(LATE).await;
    }
    a.query("SET time_zone = '+02:00'").await;
    c.query("SET @@session.time_zone = '+2:00'").await;
    let lock = "SELECT GET_LOCK(CONCAT('job-', CURDATE()), 0)";
    assert_eq!(a.value("SELECT CURDATE()").await.unwrap(), "2026-11-21");
    assert_eq!(b.value("SELECT CURDATE()").await.unwrap(), "2026-11-20");
    assert_eq!(a.value(lock).await.unwrap(), "1");
    assert_eq!(b.value(lock).await.unwrap(), "1", "another name");
    assert_eq!(c.value(lock).await.unwrap(), "0", "the same name");
    assert_eq!(c.value("SELECT @@time_zone").await.unwrap(), "+02:00");
    assert_eq!(b.value("SELECT IS_FREE_LOCK('job-2026-11-21')").await.unwrap(), "0");
}

#[tokio::test]
async fn time_zone_affects_local_values_only() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    client.query(LATE).await;
    client.query("SET time_zone = '-05:30'").await;
    for (expression, expected) in [
        ("NOW()", "2026-11-20 18:00:00"),
        ("CURTIME()", "18:00:00"),
        ("LOCALTIME", "2026-11-20 18:00:00"),
        ("UTC_TIMESTAMP()", "2026-11-20 23:30:00"),
        ("UTC_DATE", "2026-11-20"),
        ("TIMEDIFF(NOW(), UTC_TIMESTAMP())", "-05:30:00"),
        ("FROM_UNIXTIME(0)", "1969-12-31 18:30:00"),
        ("UNIX_TIMESTAMP('2026-11-20 18:00:00')", "1795217400"),
        ("UNIX_TIMESTAMP()", "1795217400"),
        ("UNIX_TIMESTAMP(NOW())", "1795217400"),
        ("CONVERT_TZ(NOW(), @@time_zone, 'SYSTEM')", "2026-11-20 23:30:00"),
        ("CAST(CURTIME() AS DATETIME)", "2026-11-20 18:00:00"),
        ("TIMESTAMP'2026-11-20 23:30:00+00:00'", "2026-11-20 18:00:00"),
    ] {
        assert_eq!(client.value(&format!("SELECT {expression}")).await.unwrap(), expected, "{expression}");
    }
    client.query("SET timestamp = DEFAULT").await;
    let is_now = "SELECT ABS(TIMESTAMPDIFF(SECOND, NOW(), SYSDATE())) < 60, NOW() > '2026-01-01'";
    let Reply::Rows { rows, .. } = client.query(is_now).await else { panic!("no rows") };
    assert_eq!(rows[0][0].as_deref(), Some("1"));
    for zone in ["UTC", "Europe/Berlin", "+14:01", "-14:00", "+1", ""] {
        let reply = client.query(&format!("SET time_zone = '{zone}'")).await;
        assert_eq!(reply.code(), 1298, "{zone}");
    }
    assert_eq!(client.value("SELECT @@time_zone").await.unwrap(), "-05:30");
    client.query("SET time_zone = 'system'").await;
    assert_eq!(client.value("SELECT CONCAT(@@time_zone, @@system_time_zone)").await.unwrap(), "SYSTEMUTC");
    // What the borrower of a pool has set is not there for the next.
    client.query("SET time_zone = '+02:00'").await;
    assert!(matches!(client.command(&[0x1F]).await, Reply::Ok { .. }));
    assert_eq!(client.value("SELECT @@time_zone").await.unwrap(), "SYSTEM");
}

#[tokio::test]
async fn now_is_fixed_per_statement_and_sysdate_is_not() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let sql = "SELECT NOW(6), SYSDATE(6), SLEEP(0.01), NOW(6), SYSDATE(6)";
    let Reply::Rows { rows, .. } = client.query(sql).await else { panic!("no rows") };
    assert_eq!(rows[0][0], rows[0][3]);
    assert!(rows[0][1] < rows[0][4], "{rows:?}");
    client.query("SET timestamp = 1").await;
    assert_eq!(client.value("SELECT NOW()").await.unwrap(), "1970-01-01 00:00:01");
    assert_eq!(client.value("SELECT SYSDATE() > '2026-01-01'").await.unwrap(), "1");
}

#[tokio::test]
async fn zero_dates_depend_on_sql_mode() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    assert_eq!(client.value("SELECT DATE('0000-00-00')").await, None);
    assert_eq!(client.value("SELECT DATE('2026-00-00')").await, None);
    client.query("SET sql_mode = ''").await;
    assert_eq!(client.value("SELECT DATE('0000-00-00')").await.unwrap(), "0000-00-00");
    assert_eq!(client.value("SELECT DATE('2026-00-00')").await.unwrap(), "2026-00-00");
    assert_eq!(client.value("SELECT DATE('2026-02-31')").await, None);
    client.query("SET sql_mode = 'ALLOW_INVALID_DATES'").await;
    assert_eq!(client.value("SELECT DATE('2026-02-31')").await.unwrap(), "2026-02-31");
}

#[tokio::test]
async fn format_is_bounded_and_counts_as_work() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let format = "REPEAT('%W', 150000)";
    assert_eq!(client.value(&format!("SELECT DATE_FORMAT('2026-11-25', {format})")).await, None);
    assert!(warnings(&mut client).await.starts_with("1301 Result of date_format() was larger than"));
    // A Friday: the shortest name of a day, so each text is just short enough and none is NULL.
    let many = vec![format!("DATE_FORMAT('2026-11-27', {format}) IS NULL"); 9].join(" OR ");
    assert_eq!(client.query(&format!("SELECT {many}")).await.code(), 1235);
    assert_eq!(client.value("SELECT 1").await.unwrap(), "1");
}

/// What an argument is declared as is told without evaluating it: else each level would cost twice the one below.
#[tokio::test]
async fn nested_calls_are_evaluated_once() {
    let server = TestServer::start();
    let mut client = client_at_that_time(&server).await;
    for (open, close, wanted) in [
        ("TIME(CONCAT(", "))", "10:00:00.5"),
        ("ADDTIME(", ", '1')", "10:00:15.500000"),
        ("TIMEDIFF(CONCAT(", "), '0:0:0')", "10:00:00.5"),
    ] {
        let sql = format!("SELECT {}'10:00:00.5'{}", open.repeat(15), close.repeat(15));
        assert_eq!(client.value(&sql).await.as_deref(), Some(wanted), "{open}");
    }
}

async fn warnings(client: &mut MySql) -> String {
    let Reply::Rows { rows, .. } = client.query("SHOW WARNINGS").await else { panic!("no list of warnings") };
    let text =
        |row: &Vec<Option<String>>| format!("{} {}", row[1].as_ref().unwrap(), row[2].as_ref().unwrap());
    rows.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn type_of(column: &Column) -> String {
    let Column { kind, length, decimals, flags, .. } = column;
    format!("{kind} {length} {decimals} {flags}")
}

/// Prepares a statement and executes it once: the columns and the row, none for an error.
async fn execute(
    client: &mut MySql,
    sql: &str,
    parameters: &[(u8, &[u8])],
) -> Option<(Vec<Column>, Vec<u8>)> {
    client.send(0, &[b"\x16", sql.as_bytes()].concat()).await;
    let prepared = client.packet().await?;
    if prepared[0] != 0 {
        return None;
    }
    let (columns, count) = (prepared[5], prepared[7]);
    client.columns(count.into()).await;
    client.columns(columns.into()).await;
    let mut packet = [b"\x17", &prepared[1..5], &[0, 1, 0, 0, 0]].concat();
    if !parameters.is_empty() {
        packet.extend([0, 1]);
        packet.extend(parameters.iter().flat_map(|(kind, _)| [*kind, 0]));
        packet.extend(parameters.iter().flat_map(|(_, bytes)| bytes.iter()));
    }
    client.send(0, &packet).await;
    let first = client.packet().await?;
    if first[0] == 0xFF {
        return None;
    }
    let columns = client.columns(first[0].into()).await;
    let row = client.packet().await?;
    client.packet().await?;
    Some((columns, row))
}

/// The one value of a row of the binary protocol, as text.
fn shown(column: &Column, row: &[u8]) -> String {
    let Some(bytes) = row.get(2..).filter(|bytes| !bytes.is_empty()) else { return "NULL".to_owned() };
    let number = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0_u32, |all, b| all << 8 | u32::from(*b))
    };
    let fraction = |at: usize| match bytes.get(at..at + 4) {
        Some(_) => format!(".{:06}", number(at, 4)).trim_end_matches('0').to_owned(),
        None => String::new(),
    };
    let clock = |at: usize, hours: u32| {
        let hours = hours + u32::from(bytes[at]);
        format!("{hours:02}:{:02}:{:02}{}", bytes[at + 1], bytes[at + 2], fraction(at + 3))
    };
    match column.kind {
        8 => i64::from_le_bytes(bytes.try_into().unwrap()).to_string(),
        13 => u16::from_le_bytes(bytes.try_into().unwrap()).to_string(),
        11 if bytes[0] == 0 => "00:00:00".to_owned(),
        11 => format!("{}{}", if bytes[1] == 1 { "-" } else { "" }, clock(6, number(2, 4) * 24)),
        10 if bytes[0] == 0 => "0000-00-00".to_owned(),
        12 if bytes[0] == 0 => "0000-00-00 00:00:00".to_owned(),
        10 | 12 => {
            let date = format!("{:04}-{:02}-{:02}", number(1, 2), bytes[3], bytes[4]);
            match (column.kind, bytes[0]) {
                (10, 4) => date,
                (12, 4) => format!("{date} 00:00:00"),
                _ => format!("{date} {}", clock(5, 0)),
            }
        }
        _ => String::from_utf8_lossy(&bytes[1..]).into_owned(),
    }
}
