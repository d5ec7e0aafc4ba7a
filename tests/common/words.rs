//! Plain English: the phrases that nobody should read in this project, and what to write in their place.

/// In lower case.
const MARKED: [(&str, &str); 43] = [
    ("for ever", "forever"),
    ("unless told", "by default"),
    ("unless said", "by default"),
    ("unless it is said", "by default"),
    ("so unless", "by default"),
    ("if nothing is said", "by default"),
    ("anew", "again"),
    ("go home", "exit, give up"),
    ("goes home", "exits, gives up"),
    ("went home", "exited, gave up"),
    ("he", "they, or the user"),
    ("him", "them, or the user"),
    ("his", "their, or the user's"),
    ("himself", "themselves"),
    ("circle", "cycle"),
    ("circles", "cycles"),
    ("by tls", "over TLS, with TLS"),
    ("by http", "over HTTP"),
    ("by http/1", "over HTTP/1"),
    ("by http/1.1", "over HTTP/1.1"),
    ("by http/2", "over HTTP/2"),
    ("by grpc", "over gRPC"),
    ("by mysql", "over MySQL, in MySQL"),
    ("by the mysql protocol", "over the MySQL protocol"),
    ("by line", "over the line protocol"),
    ("whoever", "anyone who, a client that"),
    ("who asks for", "a client that asks for"),
    ("who begins", "a client that begins"),
    ("who comes", "a client that comes"),
    ("be it by", "whether by"),
    ("be it a", "whether a"),
    ("comes about", "is made; for TLS: the handshake failed"),
    ("thereby", "(leave it out)"),
    ("lest", "so that ... not"),
    ("is no timeout", "is not a timeout"),
    ("is no number", "is not a number"),
    ("is no getlockd", "is not a getlockd server"),
    ("may hold no more", "the maximum"),
    ("said goodbye", "disconnected"),
    ("say seconds", "use seconds"),
    ("say what to run", "no command given"),
    ("say a json object", "send a JSON object"),
    ("as often as it was taken", "once for each time it was taken"),
];

/// What begins or ends a comment, a literal or a list, and is no part of a word.
const MARKS: &[char] =
    &['/', '!', '#', '*', '|', '`', '"', '\'', '-', '>', '<', '{', '}', '[', ']', '_', '\\'];

struct Word<'a> {
    line: usize,
    text: String,
    raw: &'a str,
}

impl Word<'_> {
    /// Whether a phrase can go on behind this word.
    fn is_open(&self) -> bool {
        self.raw.ends_with(char::is_alphanumeric)
    }
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    for (line, row) in (1..).zip(text.lines()) {
        for raw in row.split_whitespace().filter(|raw| raw.chars().any(char::is_alphanumeric)) {
            let is_outside = |c: char| !c.is_alphanumeric();
            words.push(Word { line, text: raw.trim_matches(is_outside).to_lowercase(), raw });
        }
    }
    words
}

/// The marked phrases in a text, one line for each: where it is, and what to write.
pub fn findings(place: &str, text: &str) -> Vec<String> {
    let words = words(text);
    let mut found = Vec::new();
    for (phrase, better) in MARKED {
        let phrase: Vec<_> = phrase.split(' ').collect();
        for at in words.windows(phrase.len()) {
            let is_one = at[..at.len() - 1].iter().all(Word::is_open);
            let is_clean = at[1..].iter().all(|word| !word.raw.starts_with(MARKS));
            if is_one && is_clean && at.iter().map(|word| &*word.text).eq(phrase.iter().copied()) {
                found.push(format!("{place}:{}: {:?}; write: {better}", at[0].line, phrase.join(" ")));
            }
        }
    }
    found
}

/// The sentences that begin with a bare "Who" and are no questions: "Who waits is not idle" is "A client that waits is
/// not idle".
pub fn bare_subjects(place: &str, text: &str) -> Vec<String> {
    let rows: Vec<_> = text.lines().map(|row| if row.starts_with('#') { "." } else { row }).collect();
    let text = rows.join("\n");
    let ends = ['.', '?', '!', ':', ';', '|'];
    let mut found = Vec::new();
    for (at, _) in text.match_indices("Who ") {
        let before = text[..at].trim_end_matches([' ', '*', '-', '"']);
        let begins = before.is_empty() || before.ends_with(ends) || before.ends_with("\n\n");
        let sentence = &text[at..];
        let end = sentence.find(ends).map_or("", |end| &sentence[end..=end]);
        if begins && end != "?" {
            let line = text[..at].matches('\n').count() + 1;
            found.push(format!("{place}:{line}: a sentence begins with \"Who\"; name its subject"));
        }
    }
    found
}
