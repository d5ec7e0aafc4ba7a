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

/// The names and the timeout of a request for several locks.
fn several(line: &str) -> String {
    match Request::parse(line.as_bytes()) {
        Ok(Request::AcquireSeveral(LocksRequest { names, mode, timeout })) => {
            let names: Vec<_> = names.iter().map(Name::as_str).collect();
            format!("{} {mode} {timeout:?}", names.join("+"))
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn last_argument_of_several_locks_is_the_timeout() {
    for (line, request) in [
        ("GET_LOCKS a b c 5", "a+b+c exclusive Within(5s)"),
        ("get_shared_locks a -1", "a shared Forever"),
        ("GET_LOCKS a, 'two words', 5", "a+two words exclusive Within(5s)"),
        ("SELECT GET_LOCKS('a', 'b', 5);", "a+b exclusive Within(5s)"),
        ("DO GET_SHARED_LOCKS(\"a\", \"a\", 0.5)", "a+a shared Within(500ms)"),
        ("GET_LOCKS a 7 5", "a+7 exclusive Within(5s)"),
        ("GET_LOCKS a 5 min", "a exclusive Within(300s)"),
        ("GET_LOCKS a b 1h 30m", "a+b exclusive Within(5400s)"),
        ("GET_LOCKS a '1h' 30m", "a+1h exclusive Within(1800s)"),
        ("GET_LOCKS a NULL 5", "NULL is not a name; for a lock named null, write 'null'"),
        (
            "GET_LOCKS a b",
            "'b' is not a timeout; use seconds (10, 0.5) or a unit (500ms, 10s, 2m, 1h); -1 waits forever",
        ),
    ] {
        assert_eq!(several(line), request, "{line}");
    }
    let usage = "usage: GET_LOCKS name... timeout, as in: GET_LOCKS nightly weekly 10";
    for line in ["GET_LOCKS", "GET_LOCKS 10", "GET_LOCKS a", "GET_LOCKS 5 min", "GET_LOCKS()"] {
        assert_eq!(several(line), usage, "{line}");
    }
    let usage = "usage: RELEASE_LOCKS name..., as in: RELEASE_LOCKS nightly weekly";
    assert_eq!(several("RELEASE_LOCKS"), usage);
}

#[test]
fn limit_of_permits_is_1_to_65535() {
    let permit = |line: &str| match Request::parse(line.as_bytes()) {
        Ok(Request::Acquire(LockRequest { name, mode: Mode::Permit(limit), timeout })) => {
            format!("{} {limit} {timeout}", name.as_str())
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{} {error}", error.symbol()),
    };
    assert_eq!(permit("GET_PERMIT uploads 3 10"), "uploads 3 10.000000000");
    assert_eq!(permit("SELECT GET_PERMIT('uploads', 65535, -1)"), "uploads 65535 -1");
    assert_eq!(permit("GET_PERMIT uploads 1 5 min"), "uploads 1 300.000000000");
    for limit in ["0", "-1", "65536", "three", "1.5", "99999999999999999999"] {
        let error = format!("SYNTAX '{limit}' is not a limit; use a number of permits from 1 to 65535");
        assert_eq!(permit(&format!("GET_PERMIT uploads {limit} 10")), error);
    }
    let usage = "SYNTAX usage: GET_PERMIT name limit timeout, as in: GET_PERMIT uploads 3 10";
    for line in ["GET_PERMIT", "GET_PERMIT uploads 3", "GET_PERMIT uploads 3 5 10", "GET_PERMIT a 3 5 m 1"] {
        assert_eq!(permit(line), usage, "{line}");
    }
    assert!(permit("GET_PERMIT uploads 3 soon").starts_with("BAD_TIMEOUT 'soon' is not a timeout"));
}

#[test]
fn switch_is_on_or_off() {
    let details = |line: &str| Request::parse(line.as_bytes());
    assert_eq!(details("DETAILS on"), Ok(Request::Details(true)));
    assert_eq!(details("SELECT DETAILS(OFF)"), Ok(Request::Details(false)));
    for line in ["DETAILS", "DETAILS 1", "DETAILS 'ON'", "DETAILS ON OFF"] {
        let error = details(line).unwrap_err();
        assert_eq!(error.to_string(), "usage: DETAILS ON|OFF, as in: DETAILS ON", "{line}");
    }
}
