//! What every driver does, step by step: see steps.py.

use std::io::BufRead;

/// Says a word and waits for a line.
pub fn say(word: &str) {
    println!("{word}");
    std::io::stdin().lock().lines().next();
}

/// The steps, with the first value of the first row of each query.
#[macro_export]
macro_rules! steps {
    ($ask:ident) => {
        $ask!(1, "SELECT GET_LOCK('nightly', 10)",);
        drivers::say("held");
        $ask!(1, "SELECT RELEASE_LOCK('nightly')",);
        drivers::say("released");
        $ask!(0, "SELECT GET_LOCK(?, ?)", "nightly", 0);
        drivers::say("refused");
        $ask!(1, "SELECT GET_LOCK(?, ?)", "nightly", 10.5);
        drivers::say("again");
        std::process::exit(0); // without a goodbye
    };
}
