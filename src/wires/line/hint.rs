//! What somebody may have meant who sent an unknown command.

use getlockd_proto::escape::{Written, is_bare};

use crate::name::Name;

/// A command that there is.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// A line that works.
    pub example: &'static str,
}

/// Words that people try, for a command, and what is to be typed; `NAME` and `OTHER` stand for names of locks.
const SYNONYMS: &[(&[&str], &str)] = &[
    (&["?", "H", "MAN", "COMMANDS", "USAGE"], "for help: HELP"),
    (&["LOCK", "ACQUIRE", "TAKE", "GET"], "to take a lock: GET_LOCK NAME 10"),
    (&["TRYLOCK", "TRY_LOCK", "SETNX"], "to take a lock if it is free: GET_LOCK NAME 0"),
    (&["RLOCK", "SHARED_LOCK", "LOCK_SHARED"], "to take a shared lock: GET_SHARED_LOCK NAME 10"),
    (
        &["MULTILOCK", "MULTI_LOCK", "LOCK_ALL", "GET_ALL_LOCKS", "MGET"],
        "to take several locks, all or none: GET_LOCKS NAME OTHER 10",
    ),
    (
        &["SEMAPHORE", "GET_SEMAPHORE", "PERMIT", "ACQUIRE_PERMIT", "TAKE_PERMIT"],
        "to take a lock that 3 sessions may hold together: GET_PERMIT NAME 3 10",
    ),
    (&["RELEASE_PERMIT", "FREE_PERMIT"], "to release a permit: RELEASE_LOCK NAME"),
    (&["VERBOSE", "DETAIL"], "to be told how long each grant was waited for: DETAILS ON"),
    (&["UNLOCK", "RELEASE", "FREE", "DEL"], "to release a lock: RELEASE_LOCK NAME"),
    (&["LEASE", "PERSIST", "DETACH"], "to pass a lock on to a lease: LEASE_LOCK NAME 3300"),
    (&["EXIT", "BYE", "CLOSE", "Q", "\\Q", "LOGOUT", "END", "STOP"], "to close the connection: QUIT"),
    (&["LS", "LIST", "SHOW", "DUMP", "KEYS"], "to list the locks: LOCKS"),
    (
        &["WHO", "CLIENTS", "PROCESSLIST", "SHOW_PROCESSLIST", "SHOW_FULL", "SHOW_SESSIONS", "LIST_SESSIONS"],
        "to list the sessions: SESSIONS",
    ),
    (&["INFO", "STATUS", "SHOW_STATUS"], "to show the counters: STATS"),
    (&["VERSION"], "to show the version: HELLO"),
    (&["QUEUE"], "to list the sessions that wait for a lock: WAITERS NAME"),
    (&["CANCEL"], "to cancel the wait of a session: KILL QUERY id"),
    (&["LOGIN"], "to log in: AUTH user password"),
];

/// What to type in place of an unknown command and the arguments behind it, as far as they are bare.
pub fn hint(word: &str, args: &[&str], commands: &[Known]) -> String {
    if let Some(c) = word.chars().find(|&c| !is_bare(c)) {
        return format!("replace or remove the character U+{:04X}", u32::from(c));
    }
    let guess = joined(word, args, commands).or_else(|| synonym(word, args));
    guess.or_else(|| nearest(word, commands)).unwrap_or_else(|| "HELP lists the commands".to_owned())
}

/// Two or three words that are a command when they are joined, as in `get lock x`.
fn joined(word: &str, args: &[&str], commands: &[Known]) -> Option<String> {
    (1..=args.len().min(2)).find_map(|more| {
        let words: Vec<_> = [word].into_iter().chain(args[..more].iter().copied()).collect();
        let joined = words.join("_").to_ascii_uppercase();
        let command = commands.iter().find(|command| command.name == joined);
        command.map(|command| to_type(*command, &args[more..])).or_else(|| synonym(&joined, &args[more..]))
    })
}

/// The command, with the name that was given.
fn to_type(command: Known, args: &[&str]) -> String {
    let examples = [("nightly", "NAME"), ("report", "NAME"), ("uploads", "NAME"), ("weekly", "OTHER")];
    let example = examples
        .iter()
        .fold(command.example.to_owned(), |text, (name, placeholder)| text.replacen(name, placeholder, 1));
    format!("did you mean {}?", with_names(&example, args))
}

fn synonym(word: &str, args: &[&str]) -> Option<String> {
    let means = |(words, _): &&(&[&str], _)| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    SYNONYMS.iter().find(means).map(|(_, text)| with_names(text, args))
}

fn with_names(text: &str, args: &[&str]) -> String {
    let words = text.split(' ').map(|word| match word {
        "NAME" => name(args.first(), "nightly"),
        // The second may be a time or a limit instead.
        "OTHER" => name(args.get(1).filter(|arg| !arg.starts_with(|c: char| c.is_ascii_digit())), "weekly"),
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The name of a lock that was given, if it is a plain word.
fn name<'a>(given: Option<&&'a str>, example: &'a str) -> &'a str {
    let plain = |name: &&str| Name::new(name).is_ok() && Written(name).to_string() == **name;
    given.copied().filter(plain).unwrap_or(example)
}

/// The command that a word was meant to be: no more than a third of it is wrong.
fn nearest(word: &str, commands: &[Known]) -> Option<String> {
    let word = word.to_ascii_uppercase();
    let distance = |command: &&Known| strsim::damerau_levenshtein(&word, command.name);
    let command = commands.iter().min_by_key(distance)?;
    (distance(&command) * 3 <= word.len()).then(|| format!("did you mean {}?", command.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wires::line::request::Verb;

    fn of(line: &str) -> String {
        let mut words = line.split(' ');
        let word = words.next().unwrap();
        hint(word, &words.collect::<Vec<_>>(), &Verb::known())
    }

    #[test]
    fn guesses_get_what_to_type() {
        for (guess, hint) in [
            ("?", "for help: HELP"),
            ("lock x", "to take a lock: GET_LOCK x 10"),
            ("Acquire app1:job/7 5", "to take a lock: GET_LOCK app1:job/7 10"),
            ("lock", "to take a lock: GET_LOCK nightly 10"),
            ("lock (x)", "to take a lock: GET_LOCK nightly 10"),
            ("trylock x", "to take a lock if it is free: GET_LOCK x 0"),
            ("unlock x", "to release a lock: RELEASE_LOCK x"),
            ("get lock x", "did you mean GET_LOCK x 10?"),
            ("release all locks", "did you mean RELEASE_ALL_LOCKS?"),
            ("release lock x", "did you mean RELEASE_LOCK x?"),
            ("get locks x y 10", "did you mean GET_LOCKS x y 10?"),
            ("get locks x 10", "did you mean GET_LOCKS x weekly 10?"),
            ("get shared locks x y 10", "did you mean GET_SHARED_LOCKS x y 10?"),
            ("release locks x y", "did you mean RELEASE_LOCKS x y?"),
            ("get permit x 5 10", "did you mean GET_PERMIT x 3 10?"),
            ("lock all x y", "to take several locks, all or none: GET_LOCKS x y 10"),
            ("semaphore x 5", "to take a lock that 3 sessions may hold together: GET_PERMIT x 3 10"),
            ("release permit x", "to release a permit: RELEASE_LOCK x"),
            ("verbose", "to be told how long each grant was waited for: DETAILS ON"),
            ("get x", "to take a lock: GET_LOCK x 10"),
            ("lease x 60", "to pass a lock on to a lease: LEASE_LOCK x 3300"),
            ("lease lock x", "did you mean LEASE_LOCK x 3300?"),
            ("\\q", "to close the connection: QUIT"),
            ("exit", "to close the connection: QUIT"),
            ("show locks", "to list the locks: LOCKS"),
            ("SHOW PROCESSLIST", "to list the sessions: SESSIONS"),
            ("SHOW FULL PROCESSLIST", "to list the sessions: SESSIONS"),
            ("who", "to list the sessions: SESSIONS"),
            ("info", "to show the counters: STATS"),
            ("version", "to show the version: HELLO"),
            ("queue x", "to list the sessions that wait for a lock: WAITERS x"),
            ("cancel 7", "to cancel the wait of a session: KILL QUERY id"),
            ("login app1 secret", "to log in: AUTH user password"),
        ] {
            assert_eq!(of(guess), hint, "{guess}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(of("GET_LOKC x 1"), "did you mean GET_LOCK?");
        assert_eq!(of("sesions"), "did you mean SESSIONS?");
        assert_eq!(of("RELEASE_LOKC"), "did you mean RELEASE_LOCK?");
        assert_eq!(of("RELEASE_LOKCS"), "did you mean RELEASE_LOCKS?");
        assert_eq!(of("GET_PERMITS x 3 10"), "did you mean GET_PERMIT?");
        for far in ["SET", "SUBSCRIBE", "x", "ping6789", "PUBLISH"] {
            assert_eq!(of(far), "HELP lists the commands", "{far}");
        }
    }

    #[test]
    fn unseen_character_of_a_command_is_named() {
        assert_eq!(of("GET_LOCK\u{a0}x\u{a0}10"), "replace or remove the character U+00A0");
        assert_eq!(of("\u{200b}PING"), "replace or remove the character U+200B");
    }

    #[test]
    fn every_hint_names_a_command_of_this_wire() {
        for (_, text) in SYNONYMS {
            let command = text.split(": ").nth(1).and_then(|line| line.split(' ').next()).unwrap();
            assert!(Verb::ALL.iter().any(|verb| verb.name == command), "{text}");
        }
    }
}
