//! Lines to requests.

use super::{
    grammar::{is_bare, parse, without_end},
    *,
};

/// The word and the arguments, quoted ones in single quotes.
fn shape(line: &str) -> String {
    match parse(without_end(line.as_bytes())) {
        Err(error) => format!("{}: {error}", error.symbol().as_str()),
        Ok(Call { word, args }) => {
            let mut parts = vec![String::from_utf8_lossy(word).into_owned()];
            parts.extend(args.iter().map(|arg| {
                let text = String::from_utf8_lossy(&arg.text);
                if arg.quoted { format!("'{text}'") } else { text.into_owned() }
            }));
            parts.join("|")
        }
    }
}

#[test]
fn words_calls_and_sql_are_equivalent() {
    assert_eq!(shape("GET_LOCK nightly 10"), "GET_LOCK|nightly|10");
    assert_eq!(shape("  GET_LOCK\tnightly ,  10 ; "), "GET_LOCK|nightly|10");
    assert_eq!(shape("GET_LOCK 'two words' 0.5"), "GET_LOCK|'two words'|0.5");
    assert_eq!(shape("GET_LOCK(\"x\", -1)"), "GET_LOCK|'x'|-1");
    assert_eq!(shape("get_lock ( x , 1 )"), "get_lock|x|1");
    assert_eq!(shape("SELECT GET_LOCK('nightly', 10);"), "GET_LOCK|'nightly'|10");
    assert_eq!(shape("do release_lock('x')"), "release_lock|'x'");
    assert_eq!(shape("CONNECTION_ID()"), "CONNECTION_ID");
    assert_eq!(shape("select"), "select");
    assert_eq!(shape("IS_FREE_LOCK a;b"), "IS_FREE_LOCK|a;b");
    assert_eq!(shape("IS_FREE_LOCK schlüssel"), "IS_FREE_LOCK|schlüssel");
}

#[test]
fn end_of_a_statement_means_nothing() {
    for end in ["", ";", " ; ;", "\\G", " \\G", "\\G ;", "; \\G; "] {
        let request = |statement: &str| Request::parse(format!("{statement}{end}").as_bytes()).unwrap();
        assert_eq!(request("SELECT 1"), Request::One, "{end}");
        assert_eq!(request("select version()"), Request::Version, "{end}");
        assert_eq!(shape(&format!("SELECT X('a'){end}")), "X|'a'", "{end}");
        assert_eq!(shape(&format!("SELECT X('a') AS y{end}")), "X|'a'", "{end}");
    }
    assert_eq!(shape(r"IS_FREE_LOCK a\G"), r"IS_FREE_LOCK|a\G", "a name may end so");
}

#[test]
fn quotes_take_escapes_and_doubling() {
    assert_eq!(shape(r"X 'a\'b' "), "X|'a'b'");
    assert_eq!(shape(r#"X "a\"b""#), "X|'a\"b'");
    assert_eq!(shape(r"X 'a\\'"), r"X|'a\'");
    assert_eq!(shape("X 'it''s'"), "X|'it's'");
    assert_eq!(shape(r#"X "say ""hi""""#), "X|'say \"hi\"'");
    assert_eq!(shape(r"X '\ta\u{e9}\x\u{zz}'"), "X|'\taéxu{zz}'");
    assert_eq!(shape("X ''"), "X|''");
    assert_eq!(shape("X ''''"), "X|'''");
}

#[test]
fn errors_name_what_is_wrong() {
    assert_eq!(shape("X 'a"), "SYNTAX: unterminated ' string");
    assert_eq!(shape(r"X 'a\"), "SYNTAX: unterminated ' string");
    assert_eq!(shape("X('a'"), "SYNTAX: missing )");
    assert_eq!(shape("X('a' 1)"), "SYNTAX: expected , or ) before 1)");
    assert_eq!(shape("X('a') AS y"), "SYNTAX: unexpected AS y after the call");
    assert_eq!(shape("SELECT X('a') AS y"), "X|'a'");
    assert!(shape("X 'a'b").starts_with("SYNTAX: unexpected b;"));
    assert!(shape("X a )").starts_with("SYNTAX: unexpected );"));
    assert!(shape("X `a` 1").starts_with("SYNTAX: unexpected `a` 1;"));
    assert!(shape("SELECT X").starts_with("SYNTAX: SELECT and DO take one function call"));
}

#[test]
fn timeout_may_have_a_blank_before_its_unit() {
    let timeout = |line: &str| match Request::parse(line.as_bytes()) {
        Ok(Request::Acquire(LockRequest { timeout, .. })) => timeout.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.symbol().to_string(),
    };
    assert_eq!(timeout("GET_LOCK x 5 min"), "300.000000000");
    assert_eq!(timeout("GET_SHARED_LOCK x 1h 30m"), "5400.000000000");
    for other in ["GET_LOCK x 5 10", "GET_LOCK two words 10", "GET_LOCK x 5 m 3", "GET_LOCK x min 5"] {
        assert_eq!(timeout(other), "SYNTAX", "{other}");
    }
}

#[test]
fn ascii_needs_quotes_where_it_is_written_in_quotes() {
    for c in 0..128 {
        assert_eq!(is_bare(c), escape::is_bare(c.into()), "{c}");
    }
}
