use super::super::{Amount, Interval, Parts as Asked, Unit, formatted, scanned};
use super::*;

const RULES: Rules = Rules { zero: false, zero_parts: false, invalid: false };

/// Made of what dates are made of, so that much of it nearly is one.
fn texts() -> impl Iterator<Item = String> {
    const PIECES: [&str; 24] = [
        "0",
        "00",
        "1",
        "12",
        "31",
        "59",
        "2026",
        "9999",
        "838",
        "-",
        ":",
        ".",
        " ",
        "T",
        "/",
        "+02:00",
        "%Y",
        "%j",
        "%V",
        "%X",
        "%f",
        "%",
        "é",
        "99999999999999999999",
    ];
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % 1_000_003).unwrap()
    };
    (0..30_000).map(move |_| (0..next() % 12).map(|_| PIECES[next() % PIECES.len()]).collect())
}

#[test]
fn any_text_is_read_or_refused() {
    let (mut dates, mut times) = (0, 0);
    let mut last = String::new();
    for text in texts() {
        for rules in [RULES, RULES.lenient(), Rules { zero: true, zero_parts: true, invalid: true }] {
            let values = [datetime_of_text(&text, rules), time_of_text(&text, rules)];
            dates += usize::from(values[0].is_some());
            times += usize::from(values[1].is_some());
            for read in values.into_iter().flatten() {
                let _ = (read.value.to_string(), read.value.number(), formatted(read.value, &last));
            }
        }
        if let Some((value, _)) = scanned(&text, &last) {
            let _ = value.to_string();
        }
        let _ = Asked::of(&text);
        for unit in [Unit::DayMicrosecond, Unit::YearMonth, Unit::HourMinute] {
            let interval = Interval::new(Amount::Text(&text), unit);
            let moment = DateTime { date: Date { year: 2026, month: 1, day: 31 }, micros: 1 };
            let _ = interval.and_then(Interval::negated).and_then(|interval| interval.after(moment));
        }
        last = text;
    }
    assert!(dates > 1_000 && times > 5_000, "too few were dates: {dates}, {times}");
}

#[test]
fn nonstandard_delimiters_give_a_warning() {
    let told = |text| {
        let Deprecated { delimiter, position, standard } = datetime_of_text(text, RULES)?.deprecated?;
        Some((delimiter, position, standard))
    };
    assert_eq!(told("2026-11-27 10:11:12.5"), None);
    assert_eq!(told("2026-11-27T10:11:12"), None);
    assert_eq!(told("2012^12^31 11+30+45"), Some(('^', 4, Some('-'))));
    assert_eq!(told("2012-12-31   11-30-45"), Some((' ', 11, None)));
    assert_eq!(told("2012-12-31 11-30-45"), Some(('-', 13, Some(':'))));
    assert_eq!(told(" 2012-12-31"), Some((' ', 0, None)));
    assert_eq!(told("2012-12-31 "), None);
}
