//! Where the lines of a shell come from: an editor on a terminal, or stdin. Either blocks, so it has a thread of its
//! own, which reads one line each time it is asked to.

use std::{io, sync::mpsc as std_mpsc, thread, time::Duration};

use getlockd_client::{visible, written};
use rustyline::{
    Context, Editor, ExternalPrinter, Helper,
    completion::{Completer, Pair},
    config::{CompletionType, Config},
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::MemHistory,
    validate::Validator,
};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use crate::{args::ServerArgs, exit::Failure};

/// What was typed.
pub(super) enum Typed {
    Line(String),
    /// ^D, or the end of stdin.
    End,
    Failed(io::Error),
}

pub(super) struct Prompt {
    ask: std_mpsc::Sender<()>,
    typed: mpsc::UnboundedReceiver<Typed>,
    is_asked: bool,
    printer: Option<Box<dyn ExternalPrinter + Send>>,
}

impl Prompt {
    pub(super) fn on_terminal(server: &ServerArgs, commands: Vec<String>) -> Result<Self, Failure> {
        let failed = |error| Failure::system(io::Error::other(error));
        let config = Config::builder().completion_type(CompletionType::List).build();
        // In memory alone: a file would keep passwords.
        let mut editor = Editor::with_history(config, MemHistory::new()).map_err(failed)?;
        editor.set_helper(Some(Completion { server: server.clone(), runtime: Handle::current(), commands }));
        let printer = Box::new(editor.create_external_printer().map_err(failed)?);
        Ok(Self { printer: Some(printer), ..Self::reading(move || read(&mut editor)) })
    }

    pub(super) fn on_stdin() -> Self {
        Self::reading(|| {
            let mut line = String::new();
            match io::stdin().read_line(&mut line) {
                Ok(0) => Typed::End,
                Ok(_) => Typed::Line(line.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => Typed::Failed(error),
            }
        })
    }

    fn reading(mut read: impl FnMut() -> Typed + Send + 'static) -> Self {
        let (ask, asked) = std_mpsc::channel();
        let (send, typed) = mpsc::unbounded_channel();
        thread::spawn(move || asked.iter().try_for_each(|()| send.send(read())));
        Self { ask, typed, is_asked: false, printer: None }
    }

    /// The next line. Nothing is read before this is called: the terminal belongs to the reply until then.
    ///
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Typed {
        if !self.is_asked {
            self.is_asked = true;
            let _ = self.ask.send(());
        }
        let typed = self.typed.recv().await;
        self.is_asked = false;
        typed.unwrap_or(Typed::End)
    }

    /// Says something above the line that is being typed.
    pub(super) fn say(&mut self, what: &str) {
        if let Some(printer) = &mut self.printer {
            let _ = printer.print(format!("getlock: {}\n", visible(what)));
        }
    }
}

fn read(editor: &mut Editor<Completion, MemHistory>) -> Typed {
    loop {
        match editor.readline("getlock> ") {
            Ok(line) => {
                if !line.trim_start().to_ascii_uppercase().starts_with("AUTH") {
                    let _ = editor.add_history_entry(&line);
                }
                return Typed::Line(line);
            }
            // The line is given up, not the session.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Io(error)) => return Typed::Failed(error),
            Err(_) => return Typed::End,
        }
    }
}

/// Completes commands, and the names of the locks that are held.
struct Completion {
    server: ServerArgs,
    runtime: Handle,
    commands: Vec<String>,
}

impl Completion {
    fn locks(&self, prefix: &str) -> Vec<String> {
        let list = async { self.server.connect().await.ok()?.locks(prefix).await.ok() };
        let locks = self.runtime.block_on(async { timeout(Duration::from_secs(1), list).await });
        let mut names: Vec<_> = locks
            .ok()
            .flatten()
            .map_or_else(Vec::new, |list| list.rows.into_iter().map(|row| row.name).collect());
        names.dedup();
        names
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..pos];
        let start = before.rfind([' ', '(', ',']).map_or(0, |at| at + 1);
        let (word, first) = (&before[start..], before[..start].trim());
        let words = if first.is_empty() || first.eq_ignore_ascii_case("help") {
            let upper = word.to_ascii_uppercase();
            let fits = self.commands.iter().filter(|command| command.starts_with(&upper));
            fits.map(|command| format!("{command} ")).collect()
        } else {
            let word = word.trim_start_matches('\'');
            self.locks(word).iter().map(|name| written(name)).collect::<Vec<_>>()
        };
        let pair = |word: String| Pair { display: word.trim_end().to_owned(), replacement: word };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}
