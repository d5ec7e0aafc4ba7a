//! The manual page of a program, from the definition of its command line: one page, its commands included.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

/// What a manual page says beside the flags and commands.
#[derive(Clone, Copy, Debug)]
pub struct ManualPage<'a> {
    /// The section of the manual: 1 for commands of users, 8 for servers.
    pub section: u8,
    /// What the description says, where it is not the long help.
    pub description: &'a str,
    /// Exit codes and their meaning.
    pub exit_status: &'a [(&'a str, &'a str)],
    /// Variables that belong to no flag. Those of flags are added.
    pub environment: &'a [(&'a str, &'a str)],
    /// Command lines, with what they do.
    pub examples: &'a [(&'a str, &'a str)],
    /// Other pages and addresses.
    pub see_also: &'a [&'a str],
}

impl ManualPage<'_> {
    /// The page, in the language of troff.
    pub fn render(&self, command: &Command) -> String {
        let name = command.get_name();
        let version = command.get_version().unwrap_or_default();
        let mut page = Troff::default();
        page.line(&format!(".TH {} {} \"\" \"{name} {version}\"", name.to_uppercase(), self.section));
        page.heading("NAME");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.text(&format!("{name} - {}", about.trim_end_matches('.')));
        page.heading("SYNOPSIS");
        page.usage(command);
        page.heading("DESCRIPTION");
        page.paragraphs(self.description);
        page.options(command);
        page.commands(command);
        page.heading("EXIT STATUS");
        page.definitions(self.exit_status);
        page.heading("ENVIRONMENT");
        page.text("A flag that is given on the command line counts more than its variable. An empty variable counts as unset.");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            if let (Some(variable), Some(flag)) = (arg.get_env(), arg.get_long()) {
                page.definition(&variable.display().to_string(), &format!("as --{flag}"));
            }
        }
        page.definitions(self.environment);
        page.heading("EXAMPLES");
        for (line, what) in self.examples {
            page.paragraphs(what);
            page.verbatim([*line]);
        }
        page.heading("SEE ALSO");
        page.text(&self.see_also.join(", "));
        page.0
    }
}

/// How a command of a program is used: `getlock why [OPTIONS] NAME`.
pub fn usage(program: &str, task: &Command) -> String {
    let mut usage = format!("{program} {}", task.get_name());
    if task.get_arguments().any(|arg| !arg.is_positional() && !arg.is_hide_set()) {
        usage.push_str(" [OPTIONS]");
    }
    for arg in task.get_positionals() {
        let name = value_name(arg);
        // A string grows: the write cannot fail.
        let _ = if arg.is_required_set() { write!(usage, " {name}") } else { write!(usage, " [{name}]") };
    }
    usage
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().and_then(<[_]>::first);
    names.map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string)
}

#[derive(Default)]
struct Troff(String);

impl Troff {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        self.line(&format!(".SH {heading}"));
    }

    /// Text that is filled.
    fn text(&mut self, text: &str) {
        let text = escaped(text.trim());
        if !text.is_empty() {
            self.line(&text);
        }
    }

    /// Paragraphs. Lines that begin with two blanks stand as they are.
    fn paragraphs(&mut self, text: &str) {
        for paragraph in text.split("\n\n") {
            self.line(".PP");
            if paragraph.starts_with("  ") {
                self.verbatim(paragraph.lines());
            } else {
                self.text(paragraph);
            }
        }
    }

    fn verbatim<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.line(".RS 4\n.nf");
        for line in lines {
            self.line(&escaped(line.trim()));
        }
        self.line(".fi\n.RE");
    }

    fn usage(&mut self, command: &Command) {
        let usage = command.clone().render_usage().to_string();
        for line in usage.trim_start_matches("Usage:").lines() {
            self.text(line);
            self.line(".br");
        }
    }

    /// The flags of a program, by their headings.
    fn options(&mut self, command: &Command) {
        self.heading("OPTIONS");
        let mut headings: Vec<_> = command.get_arguments().map(Arg::get_help_heading).collect();
        headings.dedup();
        for heading in headings {
            if let Some(heading) = heading {
                self.line(&format!(".SS {}", escaped(heading)));
            }
            self.arguments(command.get_arguments().filter(|arg| arg.get_help_heading() == heading));
        }
    }

    /// All commands of a program, each with its flags.
    fn commands(&mut self, command: &Command) {
        let mut tasks = command.get_subcommands().filter(|task| !task.is_hide_set()).peekable();
        if tasks.peek().is_some() {
            self.heading("COMMANDS");
        }
        for task in tasks {
            self.line(&format!(".SS {}", escaped(&usage(command.get_name(), task))));
            let about = task.get_long_about().or(task.get_about());
            self.paragraphs(&about.map(ToString::to_string).unwrap_or_default());
            // A command that takes the flags of the program is described there.
            if task
                .get_arguments()
                .any(|arg| !command.get_arguments().any(|known| known.get_id() == arg.get_id()))
            {
                self.arguments(task.get_arguments());
            }
        }
    }

    fn arguments<'a>(&mut self, arguments: impl Iterator<Item = &'a Arg>) {
        for arg in arguments.filter(|arg| !arg.is_hide_set() && !arg.get_id().as_str().starts_with("help")) {
            let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
            let default = arg.get_default_values().first();
            let default = default.filter(|_| !arg.is_hide_default_value_set() && takes_value(arg));
            let default =
                default.map_or_else(String::new, |value| format!(" [default: {}]", value.display()));
            self.definition(&synopsis(arg), &(help + &default));
        }
    }

    fn definitions(&mut self, definitions: &[(&str, &str)]) {
        for (term, text) in definitions {
            self.definition(term, text);
        }
    }

    fn definition(&mut self, term: &str, text: &str) {
        self.line(".TP");
        self.line(&format!("\\fB{}\\fR", escaped(term)));
        for (at, paragraph) in text.split("\n\n").enumerate() {
            if at > 0 {
                self.line(".IP");
            }
            self.text(paragraph);
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// `-w, --wait TIME`.
fn synopsis(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<_> = short.into_iter().chain(long).collect();
    match flags.as_slice() {
        [] => value_name(arg),
        flags if takes_value(arg) => format!("{} {}", flags.join(", "), value_name(arg)),
        flags => flags.join(", "),
    }
}

/// Text in which nothing is a request of troff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let lines =
        text.lines().map(|line| if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}
