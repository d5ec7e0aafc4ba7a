//! The native functions of MySQL 8.4 on the MySQL wire: what a call of each says, and what those that are served come to.

use crate::common::{
    TestServer,
    mysql::{MySql, Reply},
};

/// Rows of a table, without its head.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// A native function, and what MySQL says of it.
struct Native<'a> {
    name: &'a str,
    kind: &'a str,
    /// `NAME()`, `NAME` and, where it differs, `NAME ()`.
    noargs: &'a str,
    bare: &'a str,
    space: &'a str,
    /// How many arguments it takes.
    args: Vec<usize>,
    form: &'a str,
}

fn natives() -> Vec<Native<'static>> {
    let native = |row: Vec<&'static str>| {
        let [name, kind, noargs, bare, space, args, form] = row[..] else { panic!("{row:?}") };
        let args = args.split(',').filter_map(|count| count.trim_end_matches('+').parse().ok()).collect();
        Native { name, kind, noargs, bare, space, args, form }
    };
    rows(include_str!("../data/mysql84_functions.tsv")).map(native).collect()
}

impl Native<'_> {
    fn call(&self, count: usize) -> String {
        format!("{}({})", self.name, vec!["1"; count].join(", "))
    }

    /// With a blank in front of the parenthesis.
    fn spaced(&self) -> String {
        match self.form.split_once('(') {
            Some((head, tail)) if self.space != "-" => format!("{head} ({tail}"),
            _ => format!("{} ()", self.name),
        }
    }

    /// Calls that MySQL takes.
    fn right_calls(&self) -> Vec<String> {
        let over = if self.kind == "window" { " OVER ()" } else { "" };
        let mut calls: Vec<_> = self.args.iter().map(|count| self.call(*count) + over).collect();
        if self.form != "-" {
            calls.push(self.form.to_owned());
        }
        calls
    }
}

/// `1046/1305` is what it is without and with a current database.
fn expected(codes: &str, with_database: bool) -> &str {
    let (without, with) = codes.split_once('/').unwrap_or((codes, codes));
    if with_database { with } else { without }
}

/// The number of the error, or none.
fn code(reply: &Reply) -> String {
    match reply {
        Reply::Error { code, .. } => code.to_string(),
        _ => "ok".to_owned(),
    }
}

fn is_not_served(reply: &Reply, name: &str) -> bool {
    let sentence = format!("getlockd is a lock server and has no function {name}");
    matches!(reply, Reply::Error { code: 1235, text, .. } if *text == sentence)
}

/// Where we differ on purpose: MySQL's answer, ours, and why.
const DIFFERENT: [(&str, &str, &str); 5] = [
    ("ok", "1235", "the function is not served"),
    ("1123", "1235", "a loadable function is not there, and does not look at its arguments"),
    ("3849", "1235", "a loadable function is not there"),
    ("1046", "1305", "nobody should go looking for a database"),
    ("1046", "1630", "nobody should go looking for a database"),
];

#[tokio::test]
async fn calls_without_arguments_match_mysql() {
    let server = TestServer::start();
    let mut wrong = Vec::new();
    for with_database in [false, true] {
        let mut client = MySql::connect(server.mysql).await;
        if with_database {
            client.query("USE app").await;
        }
        for native in natives() {
            let name = native.name;
            let spaced = if native.space == "-" { native.noargs } else { native.space };
            for (call, says) in [
                (format!("{name}()"), native.noargs),
                (format!("{}()", name.to_lowercase()), native.noargs),
                (name.to_owned(), native.bare),
                (native.spaced(), spaced),
            ] {
                let says = expected(says, with_database);
                let reply = client.query(&format!("SELECT {call}")).await;
                let got = code(&reply);
                let differs = DIFFERENT.iter().any(|(mysql, here, _)| *mysql == says && *here == got);
                let named = got != "1235" || is_not_served(&reply, name);
                if (says != got && !differs) || !named {
                    wrong.push(format!("{call}: MySQL {says}, here {reply:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Those that tell the time: their argument is a number of digits.
const DIGITS: [&str; 9] = [
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURTIME",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOW",
    "SYSDATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
];

#[tokio::test]
async fn argument_count_is_checked_as_by_mysql() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let mut wrong = Vec::new();
    for native in natives() {
        let name = native.name;
        // Those of a table's columns, and those that wait.
        if matches!(name, "SLEEP" | "LAST_INSERT_ID") {
            continue;
        }
        for call in native.right_calls() {
            let reply = client.query(&format!("SELECT {call}")).await;
            // What is wrong with a value is not wrong with the call.
            let is_of_value = matches!(reply, Reply::Error { code: 1411 | 1690 | 3900, .. });
            let is_table = matches!(&reply, Reply::Error { text, .. } if text.ends_with("JSON_TABLE"));
            let is_right = matches!(reply, Reply::Rows { .. }) || is_not_served(&reply, name) || is_of_value;
            if !is_right && !is_table {
                wrong.push(format!("{call}: {reply:?}"));
            }
        }
        let takes = |count: &usize| native.args.contains(count) || native.args.last() == Some(&20);
        let most = native.args.iter().max().copied().unwrap_or(0);
        let wrong_count =
            if native.args.contains(&20) { None } else { (1..=most + 1).find(|count| !takes(count)) };
        // A number of digits is part of the grammar of those that tell the time.
        let takes_digits = DIGITS.contains(&name);
        let code = if native.kind == "native" && !takes_digits { 1582 } else { 1064 };
        if let (Some(count), "native" | "grammar" | "aggregate") = (wrong_count, native.kind)
            && !native.args.is_empty()
        {
            let call = native.call(count).to_lowercase();
            let reply = client.query(&format!("SELECT {call}")).await;
            let named =
                format!("Incorrect parameter count in the call to native function '{}'", name.to_lowercase());
            let is_right = matches!(&reply, Reply::Error { code: got, text, .. } if *got == code && (code != 1582 || *text == named));
            if !is_right {
                wrong.push(format!("{call}: {reply:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn unknown_function_does_not_exist() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let text = |reply: Reply| match reply {
        Reply::Error { code, state, text } => format!("{code} {state} {text}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(client.query("SELECT nosuch(1)").await), "1305 42000 FUNCTION nosuch does not exist");
    client.query("USE app").await;
    assert_eq!(text(client.query("SELECT nosuch(1)").await), "1305 42000 FUNCTION app.nosuch does not exist");
    assert_eq!(text(client.query("SELECT `now`()").await), "1305 42000 FUNCTION app.now does not exist");
    assert_eq!(text(client.query("SELECT db.f(1)").await), "1305 42000 FUNCTION db.f does not exist");
    assert_eq!(
        text(client.query("SELECT can_access_table(1)").await),
        "3566 HY000 Access to native function 'can_access_table' is rejected."
    );
    assert_eq!(
        text(client.query("SELECT NOW ()").await),
        "1630 42000 FUNCTION app.NOW does not exist. Check the 'Function Name Parsing and Resolution' section in the \
         Reference Manual"
    );
    client.query("SET sql_mode = 'IGNORE_SPACE'").await;
    assert_eq!(client.value("SELECT NOW () IS NULL").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn special_grammar_is_parsed() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (sql, name) in [
        ("SELECT MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE)", "MATCH"),
        ("SELECT GROUP_CONCAT(DISTINCT a ORDER BY b DESC SEPARATOR ',')", "GROUP_CONCAT"),
        ("SELECT WEIGHT_STRING('x' AS CHAR(3))", "WEIGHT_STRING"),
        ("SELECT RANK() OVER (PARTITION BY a ORDER BY b)", "RANK"),
        ("SELECT ROW_NUMBER() OVER w FROM t WINDOW w AS (ORDER BY a)", "ROW_NUMBER"),
        ("SELECT NTH_VALUE(a, 2) FROM FIRST RESPECT NULLS OVER ()", "NTH_VALUE"),
        ("SELECT BIT_AND(a) OVER ()", "BIT_AND"),
        ("SELECT JSON_VALUE('{}', '$.a' RETURNING SIGNED DEFAULT 0 ON EMPTY)", "JSON_VALUE"),
        ("SELECT ST_ASTEXT(POINT(1, 2))", "ST_ASTEXT"),
        ("DO JSON_LENGTH('[]')", "JSON_LENGTH"),
        ("SET @a = COMPRESS('a')", "COMPRESS"),
        ("SELECT 1 MEMBER OF ('[1]')", "MEMBER OF"),
        ("SELECT 1 WHERE json_valid('[]')", "JSON_VALID"),
    ] {
        let reply = client.query(sql).await;
        assert!(is_not_served(&reply, name), "{sql}: {reply:?}");
    }
    assert_eq!(client.query("SELECT RANK()").await.code(), 1064);
    assert_eq!(client.query("SELECT JSON_LENGTH('[]'").await.code(), 1064);
}

/// Values, and the numbers of warnings.
#[tokio::test]
async fn values_match_mysql() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows(include_str!("../data/function_values.tsv")) {
        let [expression, value, warnings] = row[..] else { panic!("{row:?}") };
        count += 1;
        let got = match client.query(&format!("SELECT {expression}")).await {
            Reply::Rows { rows, .. } => {
                rows[0][0].clone().map_or("NULL".to_owned(), |text| text.replace('\n', "\\n"))
            }
            Reply::Error { code, text, .. } => format!("error {code} {text}"),
            other @ Reply::Ok { .. } => panic!("{other:?}"),
        };
        let Reply::Rows { rows: told, .. } = client.query("SHOW WARNINGS").await else { panic!() };
        let told: Vec<_> = told.iter().filter(|row| row[0].as_deref() == Some("Warning")).collect();
        let told = told.iter().map(|row| row[1].clone().unwrap()).collect::<Vec<_>>().join(",");
        if got != value || told != warnings {
            wrong.push(format!("{expression}: expected {value} [{warnings}], got {got} [{told}]"));
        }
        let prepared = client.prepared(expression).await.replace('\n', "\\n");
        if !got.starts_with("error") && !is_same(&prepared, &got) {
            wrong.push(format!("{expression}: prepared {prepared}, in text {got}"));
        }
    }
    assert!(count > 250, "{count}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A double has all its digits when it is prepared.
fn is_same(prepared: &str, text: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    prepared == text
        || number(prepared).zip(number(text)).is_some_and(|(a, b)| (a - b).abs() <= 0.000_001 * b.abs())
}

/// Type, flags, character set and decimals of a column.
#[tokio::test]
async fn column_types_match_mysql() {
    const INT: u8 = 8;
    const DECIMAL: u8 = 246;
    const DOUBLE: u8 = 5;
    const TEXT: u8 = 253;
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let (utf8, binary) = (255, 63);
    for (expression, kind, charset, decimals, length) in [
        ("LPAD('a', 3, 'b')", TEXT, utf8, 31, None),
        ("REVERSE('abc')", TEXT, utf8, 31, Some(12)),
        ("REVERSE(x'4142')", TEXT, binary, 31, Some(2)),
        ("UNHEX('41')", TEXT, binary, 31, None),
        ("TO_BASE64('abc')", TEXT, utf8, 31, Some(16)),
        ("MD5('a')", TEXT, utf8, 31, Some(128)),
        ("SHA2('a', 256)", TEXT, utf8, 31, None),
        ("UUID()", TEXT, utf8, 31, Some(144)),
        ("UUID_TO_BIN('6ccd780c-baba-1026-9564-5b8c656024db')", TEXT, binary, 31, Some(16)),
        ("LOCATE('a', 'b')", INT, binary, 0, Some(11)),
        ("FIELD('a', 'b')", INT, binary, 0, Some(3)),
        ("STRCMP('a', 'b')", INT, binary, 0, Some(2)),
        ("CRC32('a')", INT, binary, 0, Some(10)),
        ("1 << 2", INT, binary, 0, Some(21)),
        ("~1", INT, binary, 0, Some(21)),
        ("INET_ATON('1.2.3.4')", INT, binary, 0, Some(21)),
        ("'a' REGEXP 'a'", INT, binary, 0, Some(1)),
        ("5.5 DIV 2", INT, binary, 0, None),
        ("CEILING(1.5)", INT, binary, 0, None),
        ("ROUND(1.298, 1)", DECIMAL, binary, 1, None),
        ("1 / 3", DECIMAL, binary, 4, None),
        ("CAST('1' AS DECIMAL(5, 2))", DECIMAL, binary, 2, Some(7)),
        ("SUM(1.5)", DECIMAL, binary, 1, Some(26)),
        ("AVG(3)", DECIMAL, binary, 4, None),
        ("PI()", DOUBLE, binary, 6, Some(8)),
        ("PI() * 2", DOUBLE, binary, 6, None),
        ("SQRT(2)", DOUBLE, binary, 31, Some(23)),
        ("ROUND('1.5', 2)", DOUBLE, binary, 2, None),
        ("-'5'", DOUBLE, binary, 31, Some(23)),
    ] {
        let Reply::Rows { columns, .. } = client.query(&format!("SELECT {expression}")).await else {
            panic!("{expression}");
        };
        let column = &columns[0];
        assert_eq!((column.kind, column.charset, column.decimals), (kind, charset, decimals), "{expression}");
        assert!(length.is_none_or(|length| length == column.length), "{expression}: {column:?}");
    }
}

#[tokio::test]
async fn random_values_and_identifiers_have_their_form() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (condition, why) in [
        ("RAND() >= 0 AND RAND() < 1", "a fraction"),
        ("RAND() <> RAND()", "each is another"),
        ("UUID() <> UUID()", "each is another"),
        ("IS_UUID(UUID()) AND UUID() LIKE '________-____-1___-____-____________'", "of version 1"),
        ("UUID_SHORT() < UUID_SHORT()", "they grow"),
        ("LENGTH(RANDOM_BYTES(1024)) = 1024", "as many as wanted"),
        ("BIN_TO_UUID(UUID_TO_BIN(@u, 1), 1) = @u", "there and back"),
    ] {
        client.query("SET @u = UUID()").await;
        assert_eq!(
            client.value(&format!("SELECT {condition}")).await.as_deref(),
            Some("1"),
            "{condition}: {why}"
        );
    }
}

#[tokio::test]
async fn aggregates_sum_up_table_rows() {
    let server = TestServer::start();
    let mut a = MySql::connect(server.mysql).await;
    let b = MySql::connect(server.mysql).await;
    let sums = "SELECT CONCAT_WS(',', MIN(id), MAX(id), SUM(id), COUNT(DISTINCT user), AVG(id) * 2) \
                FROM information_schema.processlist";
    let (low, high) = (a.id.min(b.id), a.id.max(b.id));
    let sum = low + high;
    assert_eq!(a.value(sums).await, Some(format!("{low},{high},{sum},1,{sum}.0000")));
    let none =
        "SELECT CONCAT_WS(',', COUNT(*), MAX(id), SUM(id)) FROM information_schema.processlist WHERE id = 0";
    assert_eq!(a.value(none).await.as_deref(), Some("0"));
    // Within other expressions, each for itself, and beside a column of the first row.
    let mixed = "SELECT CASE WHEN COUNT(*) IN (2) THEN MAX(id) - MIN(id) BETWEEN 1 AND 9999 END, user \
                 FROM information_schema.processlist";
    a.query("SET sql_mode = ''").await;
    let Reply::Rows { rows, .. } = a.query(mixed).await else { panic!() };
    assert_eq!(rows, [[Some("1".to_owned()), Some("root".to_owned())]]);
}

/// Together they are more than an expression may do in one stretch.
#[tokio::test]
async fn long_aggregate_yields_to_other_sessions() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    let sum = "SUM(LENGTH(HEX(REPEAT(column_name, 60))))";
    let is_right = format!("SELECT {sum} = SUM(LENGTH(column_name)) * 120 FROM information_schema.columns");
    assert_eq!(client.value(&is_right).await.as_deref(), Some("1"));
    let distinct = "SELECT COUNT(DISTINCT MD5(REPEAT(UPPER(column_name), 40))) = COUNT(DISTINCT column_name) \
                    FROM information_schema.columns";
    assert_eq!(client.value(distinct).await.as_deref(), Some("1"));
}

/// Each of these patterns takes a large part of the work that a statement may do.
#[tokio::test]
async fn pattern_is_compiled_once_for_all_rows() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for condition in [
        r"column_name REGEXP '[\\s\\S]x'",
        r"column_name REGEXP '[\\s\\S]x' OR REGEXP_LIKE(column_name, '[\\s\\S]X', 'c') IS NULL",
    ] {
        let of =
            |condition: &str| format!("SELECT COUNT(*) FROM information_schema.columns WHERE {condition}");
        let like = client.value(&of("column_name LIKE '%_x%'")).await;
        assert_ne!(like.as_deref(), Some("0"));
        assert_eq!(client.value(&of(condition)).await, like, "{condition}");
    }
    // One that is another for each row, each with a result of its own.
    let of_itself = "SELECT COUNT(*) = SUM(table_name REGEXP CONCAT('^', table_name, '$')) \
                     AND COUNT(*) > 4 FROM information_schema.tables WHERE table_schema = 'sys' OR table_name LIKE 'INNODB%'";
    assert_eq!(client.value(of_itself).await.as_deref(), Some("1"));
}

/// Nobody waits for one expression longer than for another.
#[tokio::test]
async fn work_on_long_text_is_charged() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for (call, length) in [
        ("REPLACE(@long, 'a', '')", 900_000),
        ("TRIM('a' FROM @long)", 900_000),
        ("LOCATE('b', @long)", 800_000),
        ("FIND_IN_SET('b', @long)", 800_000),
        ("FIELD(@long, 'b')", 800_000),
        ("LOWER(@long)", 650_000),
    ] {
        client.query(&format!("SET @long = REPEAT('a', {length})")).await;
        assert!(matches!(client.query(&format!("DO {call}, {call}")).await, Reply::Ok { .. }), "{call}");
        assert_eq!(client.query(&format!("DO {call} OR {call}")).await.code(), 1235, "{call}");
    }
}

/// No text is made that nobody has memory for, and no pattern takes longer than a statement may.
#[tokio::test]
async fn results_are_bounded() {
    let server = TestServer::start();
    let mut client = MySql::connect(server.mysql).await;
    for call in
        ["SPACE(2000000)", "LPAD('a', 2000000, 'b')", "RPAD('a', 300000, 'b')", "QUOTE(REPEAT('a', 1048576))"]
    {
        assert_eq!(client.value(&format!("SELECT {call}")).await, None, "{call}");
        let Reply::Rows { rows, .. } = client.query("SHOW WARNINGS").await else { panic!() };
        assert_eq!(rows[0][1].as_deref(), Some("1301"), "{call}");
    }
    for (sql, code) in [
        ("SELECT REPEAT('a', 1000000) REGEXP '(a|b|ab)*c'", 1235),
        ("SELECT 'a' REGEXP '((a{1,100}){1,100}){1,100}'", 3700),
        ("SELECT 'a' REGEXP '(?=a)'", 1235),
        ("SELECT REGEXP_LIKE('a', '(a)\\\\1')", 1235),
        ("SELECT 'a' REGEXP '(a'", 3691),
        ("SELECT 'a' REGEXP '[a'", 3696),
        ("SELECT 'a' REGEXP 'a{2,1}'", 3693),
        ("SELECT 'a' REGEXP ''", 3685),
        ("SELECT REGEXP_LIKE('a', 'a', 'x')", 3900),
        ("SELECT REGEXP_SUBSTR('a', 'a', 5)", 3686),
    ] {
        assert_eq!(client.query(sql).await.code(), code, "{sql}");
    }
}
