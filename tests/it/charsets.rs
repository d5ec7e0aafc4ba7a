//! Character sets of the MySQL wire: which are served, and that a name is the same lock in each.

use crate::common::{
    TestServer,
    mysql::{Hello, MySql, Reply},
};

fn told(reply: Reply) -> (u16, String, String) {
    let Reply::Error { code, state, text } = reply else { panic!("{reply:?}") };
    (code, state, text)
}

fn error(code: u16, state: &str, text: &str) -> (u16, String, String) {
    (code, state.to_owned(), text.to_owned())
}

/// A statement of any bytes.
async fn ask(client: &mut MySql, sql: &[u8]) -> Reply {
    client.command(&[b"\x03", sql].concat()).await
}

/// The bytes of a result of one row of one column.
async fn bytes(client: &mut MySql, sql: &[u8]) -> Vec<u8> {
    client.send(0, &[b"\x03", sql].concat()).await;
    assert_eq!(client.packet().await.unwrap(), [1]);
    client.columns(1).await;
    let row = client.packet().await.unwrap();
    assert_eq!(client.packet().await.unwrap()[0], 0xFE);
    row[1..].to_vec()
}

#[tokio::test]
async fn login_charset_is_used_or_refused() {
    let server = TestServer::start();
    for (collation, name) in [
        (28, "gbk"),
        (13, "sjis"),
        (51, "cp1251"),
        (8, "latin1"),
        (45, "utf8mb4"),
        (33, "utf8mb3"),
        (63, "binary"),
    ] {
        let mut client = MySql::log_in(server.mysql, Hello { collation, ..Hello::default() }).await.unwrap();
        let Reply::Rows { columns, rows, .. } = client
            .query("SELECT @@character_set_client, @@character_set_connection, @@character_set_results")
            .await
        else {
            panic!("{name}")
        };
        assert_eq!(rows, [vec![Some(name.to_owned()); 3]]);
        assert_eq!(columns[0].charset, collation);
    }
    for (collation, refused) in [
        (3, error(1115, "42000", "Unknown character set: 'dec8'")),
        (40, error(1115, "42000", "Unknown character set: 'cp852'")),
        (35, error(1231, "42000", "Variable 'character_set_client' can't be set to the value of 'ucs2'")),
    ] {
        let reply = MySql::log_in(server.mysql, Hello { collation, ..Hello::default() }).await.err().unwrap();
        assert_eq!(told(reply), refused);
    }
    // MySQL takes its default for what it does not know.
    let mut client = MySql::log_in(server.mysql, Hello { collation: 17, ..Hello::default() }).await.unwrap();
    assert_eq!(client.value("SELECT @@collation_connection").await.as_deref(), Some("utf8mb4_0900_ai_ci"));

    let becomes = |collation| Hello { collation, ..Hello::default() };
    client.become_again(becomes(87)).await.unwrap();
    assert_eq!(client.value("SELECT @@collation_connection").await.as_deref(), Some("gbk_bin"));
    assert_eq!(client.value("SELECT GET_LOCK('x', 0)").await.as_deref(), Some("1"));
    assert_eq!(client.become_again(becomes(6)).await.map_err(|reply| reply.code()), Err(1115));
    assert_eq!(client.value("SELECT RELEASE_LOCK('x')").await.as_deref(), Some("1"), "nothing has changed");
}

#[tokio::test]
async fn charset_names_and_errors_match_mysql() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (sql, refused) in [
        ("SET NAMES klingon", error(1115, "42000", "Unknown character set: 'klingon'")),
        ("SET NAMES hp8", error(1115, "42000", "Unknown character set: 'hp8'")),
        ("SET CHARACTER SET dec8", error(1115, "42000", "Unknown character set: 'dec8'")),
        ("SET NAMES gbk COLLATE nosuch", error(1273, "HY000", "Unknown collation: 'nosuch'")),
        (
            "SET NAMES gbk COLLATE utf8mb4_bin",
            error(1253, "42000", "COLLATION 'utf8mb4_bin' is not valid for CHARACTER SET 'gbk'"),
        ),
        (
            "SET NAMES utf16",
            error(1231, "42000", "Variable 'character_set_client' can't be set to the value of 'utf16'"),
        ),
        (
            "SET character_set_client = NULL",
            error(1231, "42000", "Variable 'character_set_client' can't be set to the value of 'NULL'"),
        ),
        (
            "SET collation_connection = 'utf8mb4_nosuch_ci'",
            error(1273, "HY000", "Unknown collation: 'utf8mb4_nosuch_ci'"),
        ),
        ("SELECT _dec8'x'", error(1115, "42000", "Unknown character set: 'dec8'")),
        ("SELECT _gbk x'FF'", error(1300, "HY000", "Invalid gbk character string: 'FF'")),
    ] {
        assert_eq!(told(client.query(sql).await), refused, "{sql}");
    }
    assert_eq!(client.value("SELECT _gbk x'D6D0'").await.as_deref(), Some("中"));
    for (sql, variable, value) in [
        ("SET NAMES 'cp1251' COLLATE cp1251_ukrainian_ci", "collation_connection", "cp1251_ukrainian_ci"),
        ("SET character_set_connection = latin1", "collation_connection", "latin1_swedish_ci"),
        ("SET collation_connection = gbk_bin", "character_set_connection", "gbk"),
        ("SET character_set_client = 8", "character_set_client", "latin1"),
        ("SET CHARACTER SET koi8r", "character_set_results", "koi8r"),
        ("SET CHARACTER SET koi8r", "collation_connection", "utf8mb4_0900_ai_ci"),
        ("SET NAMES DEFAULT", "character_set_client", "utf8mb4"),
    ] {
        assert!(matches!(client.query(sql).await, Reply::Ok { .. }), "{sql}");
        assert_eq!(client.value(&format!("SELECT @@{variable}")).await.as_deref(), Some(value), "{sql}");
    }
}

/// What is only copied is not looked at again.
#[tokio::test]
async fn conversion_counts_as_work() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    client.query("SET @long = REPEAT('\u{20000}', 180000)").await;
    let both = "SELECT @long, @long";
    client.send(0, &[b"\x03", both.as_bytes()].concat()).await;
    assert_eq!(client.packet().await.unwrap(), [2]);
    client.columns(2).await;
    assert_eq!(client.packet().await.unwrap().len(), 2 * (4 + 720_000), "each behind its length");
    assert_eq!(client.packet().await.unwrap()[0], 0xFE);
    for charset in ["big5", "gb18030", "ujis"] {
        client.query(&format!("SET NAMES {charset}")).await;
        assert_eq!(client.query(both).await.code(), 1235, "{charset}");
        let converted = client.query(&format!("DO CONVERT(CONCAT(@long) USING {charset})")).await;
        assert_eq!(converted.code(), 1235, "{charset}");
        assert_eq!(client.value("SELECT LENGTH(@long)").await.as_deref(), Some("720000"));
    }
    client.query("SET NAMES utf8mb4").await;
    assert!(matches!(client.query("DO CONVERT(CONCAT(@long) USING utf8mb4)").await, Reply::Ok { .. }));
}

#[tokio::test]
async fn utf8mb3_names_give_a_warning() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (sql, code) in [("SET NAMES utf8", "3719"), ("SET CHARACTER SET utf8mb3", "1287")] {
        assert!(matches!(client.query(sql).await, Reply::Ok { warnings: 1, .. }), "{sql}");
        let Reply::Rows { rows, .. } = client.query("SHOW WARNINGS").await else { panic!("{sql}") };
        assert_eq!(rows[0][1].as_deref(), Some(code));
        assert_eq!(client.value("SELECT @@character_set_client").await.as_deref(), Some("utf8mb3"));
    }
}

/// A name in a character set, as its bytes and as UTF-8. The second byte of some is a backslash.
const NAMES: [(&str, &[u8], &str); 12] = [
    ("gbk", b"\xD6\xD0\xCE\xC4", "中文"),
    ("gbk", b"\xBF\x5C", "縗"),
    ("gb2312", b"\xD6\xD0\xCE\xC4", "中文"),
    ("gb18030", b"\xD6\xD0\x81\x39\xEE\x39", "中㐀"),
    ("big5", b"\xA5\x5C", "功"),
    ("sjis", b"\x83\x5C\xB1", "ソｱ"),
    ("cp932", b"\x95\x5C", "表"),
    ("ujis", b"\xC6\xFC\xCB\xDC", "日本"),
    ("euckr", b"\xC7\xD1\xB1\xDB", "한글"),
    ("cp1251", b"\xED\xEE\xF7\xFC", "ночь"),
    ("koi8r", b"\xCE\xCF\xDE\xD8", "ночь"),
    ("tis620", b"\xA4\xD7\xB9", "คืน"),
];

#[tokio::test]
async fn lock_name_is_equal_in_every_charset() {
    let server = TestServer::start();
    let mut line = server.client().await;
    let mut client = MySql::connect(server.mysql).await;
    for (charset, name, utf8) in NAMES {
        assert_eq!(line.ask(&format!("GET_LOCK {utf8} 0")).await, "1");
        assert!(matches!(client.query(&format!("SET NAMES {charset}")).await, Reply::Ok { .. }));
        let sql = [b"SELECT CONCAT(GET_LOCK('", name, b"', 0), ' ', '", name, b"')"].concat();
        assert_eq!(bytes(&mut client, &sql).await, [b"0 ", name].concat(), "{charset}");
        assert_eq!(line.ask(&format!("RELEASE_LOCK {utf8}")).await, "1");
        assert_eq!(bytes(&mut client, &sql).await, [b"1 ", name].concat(), "{charset}");
        assert_eq!(line.ask(&format!("IS_USED_LOCK {utf8}")).await, "2", "{charset}");
        assert_eq!(client.value("SELECT RELEASE_ALL_LOCKS()").await.as_deref(), Some("1"));
    }
}

/// A prepared statement with one parameter: the number that it selects.
async fn execute(client: &mut MySql, sql: &[u8], kind: u8, parameter: &[u8], in_pieces: bool) -> u64 {
    client.send(0, &[b"\x16", sql].concat()).await;
    let prepared = client.packet().await.unwrap();
    assert_eq!(prepared[0], 0, "{}", String::from_utf8_lossy(&prepared));
    client.columns(2).await;
    let id = &prepared[1..5];
    let length = [u8::try_from(parameter.len()).unwrap()];
    if in_pieces {
        for piece in parameter.chunks(1) {
            client.send(0, &[b"\x18", id, &[0, 0], piece].concat()).await;
        }
    }
    let value = if in_pieces { vec![] } else { [&length, parameter].concat() };
    client.send(0, &[b"\x17", id, &[0, 1, 0, 0, 0, 0, 1, kind, 0], &value].concat()).await;
    assert_eq!(client.packet().await.unwrap(), [1]);
    client.columns(1).await;
    let row = client.packet().await.unwrap();
    assert_eq!(client.packet().await.unwrap()[0], 0xFE);
    u64::from_le_bytes(row[2..10].try_into().unwrap())
}

#[tokio::test]
async fn prepared_statement_is_read_in_client_charset() {
    let server = TestServer::start();
    let mut line = server.client().await;
    let mut client = MySql::log_in(server.mysql, Hello { collation: 28, ..Hello::default() }).await.unwrap();
    let wanted = b"SELECT GET_LOCK(CONCAT('\xD6\xD0', ?), 0)";
    for in_pieces in [false, true] {
        assert_eq!(execute(&mut client, wanted, 253, b"\xCE\x5C", in_pieces).await, 1);
        assert_eq!(line.ask("IS_USED_LOCK 中蝄").await, "2");
        assert_eq!(client.value("SELECT RELEASE_ALL_LOCKS()").await.as_deref(), Some("1"));
    }
    // A blob has no character set.
    assert_eq!(execute(&mut client, wanted, 252, "文".as_bytes(), false).await, 1);
    assert_eq!(line.ask("IS_USED_LOCK 中文").await, "2");
}

#[tokio::test]
async fn invalid_text_is_refused_and_takes_no_lock() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (charset, name, shown) in [
        ("gbk", &b"\xFF"[..], "FF2729"),
        ("gbk", b"\x80", "802729"),
        ("sjis", b"\x81\x5F", "815F27"),
        ("greek", b"\xA4", "A42729"),
        ("euckr", b"\xB0", "B02729"),
    ] {
        assert!(matches!(client.query(&format!("SET NAMES {charset}")).await, Reply::Ok { .. }));
        let reply = ask(&mut client, &[b"DO GET_LOCK('x', 0), LENGTH('", name, b"')"].concat()).await;
        assert_eq!(
            told(reply),
            error(1300, "HY000", &format!("Invalid {charset} character string: '{shown}'"))
        );
        let Reply::Rows { rows, .. } = client.query("SHOW ERRORS").await else { panic!("{charset}") };
        assert_eq!(rows[0][1].as_deref(), Some("1300"));
        assert_eq!(client.value("SELECT RELEASE_ALL_LOCKS()").await.as_deref(), Some("0"));
    }
}

#[tokio::test]
async fn output_is_written_in_results_charset() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    client.query("SET NAMES utf8mb4, character_set_results = gbk").await;
    client.start("SELECT '中€' AS `文`").await;
    assert_eq!(client.packet().await.unwrap(), [1]);
    let definition = client.packet().await.unwrap();
    assert!(definition.windows(3).any(|bytes| bytes == b"\x02\xCE\xC4"), "{definition:x?}");
    assert_eq!(client.packet().await.unwrap(), b"\x03\xD6\xD0?");
    client.packet().await.unwrap();
    client.start("SELECT '中ab'").await;
    client.packet().await.unwrap();
    let column = client.columns(1).await.remove(0);
    assert_eq!((column.charset, column.length), (28, 6));
    client.packet().await.unwrap();
    client.packet().await.unwrap();
    // What an error cannot show is a number in it.
    client.query("SET character_set_results = latin1").await;
    let reply = client.query("SELECT `é中` FROM DUAL").await;
    let Reply::Error { text, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(text, "Unknown column '\u{FFFD}\\4E2D' in 'field list'");
    // As they are: in the character set of the connection.
    client.query("SET character_set_results = NULL, collation_connection = sjis_bin").await;
    client.start("SELECT 'ソ', @@character_set_results IS NULL").await;
    client.packet().await.unwrap();
    assert_eq!(client.columns(2).await[0].charset, 88);
    assert_eq!(client.packet().await.unwrap(), b"\x02\x83\x5C\x011");
}
