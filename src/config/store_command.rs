//! `getlockd store`: what the store of a server has, whether that runs or is stopped.

mod http;
mod table;

use std::{fs, io, path::PathBuf, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, ValueHint};
use getlockd_proto::escape::VisibleJson;
use serde::Serialize;
use serde_json::Value;

use self::http::HttpClient;
pub use self::http::{HttpError, HttpUrl};
use crate::{
    config::Config,
    core::store::{BootMoment, DurableLease},
    net::TlsError,
    store::{self, OpenError, StoredFile},
    wires::{
        rest::{FloorsJson, StoredLeaseJson},
        web::millis,
    },
};

/// How many leases are asked for at a time.
const PAGE: usize = 500;

/// Which store, and what to do with it.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// The running server: http://HOST:PORT, or https://HOST:PORT for TLS [default: GETLOCKD_HTTP, else
    /// http://127.0.0.1:3308]
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    server: Option<HttpUrl>,

    /// Read the file of a stopped server; the file is not changed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "server")]
    file: Option<PathBuf>,

    /// Make the file as small as what it has, and print its size before and after
    #[arg(long, requires = "file", conflicts_with = "json")]
    compact: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Log in as this user; the password is in GETLOCK_PASSWORD, or in a file
    #[arg(long, env = "GETLOCK_USER", value_name = "NAME", value_hint = ValueHint::Username)]
    user: Option<String>,

    /// Read the user's password from this file
    #[arg(long, env = "GETLOCK_PASSWORD_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    /// With https: trust the authorities in this file (PEM)
    #[arg(long, env = "GETLOCK_TLS_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    tls_ca: Option<PathBuf>,
}

/// Why `getlockd store` failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreCommandError {
    /// A running server has the file.
    #[error("{} is in use by a running getlockd; ask that one: getlockd store http://HOST:PORT", .0.display())]
    InUse(PathBuf),
    /// The file cannot be read as a store.
    #[error(transparent)]
    File(OpenError),
    /// No server is known that could be asked.
    #[error("no address to ask: give http://HOST:PORT, or --file FILE for a stopped server")]
    NoAddress,
    /// The server did not answer what it was asked.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The file of authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It is not known whom to trust.
    #[error(
        "https needs --tls-ca FILE: the certificate of the authority that signed that of the server (PEM)"
    )]
    NoAuthority,
    /// There is a user, and no password.
    #[error("the user's password is missing: GETLOCK_PASSWORD or --password-file")]
    NoPassword,
    /// The file with the password cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        error: io::Error,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<OpenError> for StoreCommandError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse(path) => Self::InUse(path),
            other => Self::File(other),
        }
    }
}

/// Does what is asked, and returns what to print.
///
/// # Errors
/// [`StoreCommandError`]
pub fn run(args: &StoreArgs, config: &Config) -> Result<String, StoreCommandError> {
    let contents = match &args.file {
        Some(file) if args.compact => {
            let (before, after) = store::compact(file)?;
            return Ok(format!("{}: {after} bytes, before {before}\n", file.display()));
        }
        Some(file) => {
            serde_json::to_value(FileContents::of(&StoredFile::read(file)?)).map_err(io::Error::other)?
        }
        None => args.ask(config)?,
    };
    if args.json {
        return Ok(format!("{}\n", VisibleJson(&format!("{contents:#}"))));
    }
    Ok(table::of(&contents))
}

impl StoreArgs {
    /// What the running server has, of all pages.
    fn ask(&self, config: &Config) -> Result<Value, StoreCommandError> {
        let url = self.server.clone().or_else(|| HttpUrl::of(config.http));
        let client = HttpClient {
            url: url.ok_or(StoreCommandError::NoAddress)?,
            authorization: self.authorization()?,
            authority: self.tls_ca.clone(),
        };
        let tls = client.tls_config()?;
        let mut contents = client.get(&format!("/api/store?limit={PAGE}"), tls.as_ref())?;
        while let Some(next) = contents["next"].as_str().map(http::escaped) {
            let page = client.get(&format!("/api/store?limit={PAGE}&after={next}"), tls.as_ref())?;
            let mut leases = std::mem::take(&mut contents["leases"]);
            if let (Some(leases), Some(more)) = (leases.as_array_mut(), page["leases"].as_array()) {
                leases.extend(more.iter().cloned());
            }
            contents = page;
            contents["leases"] = leases;
        }
        Ok(contents)
    }

    /// Never from the command line, which every user of the machine can read.
    fn authorization(&self) -> Result<Option<String>, StoreCommandError> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = match &self.password_file {
            Some(path) => {
                let text = fs::read_to_string(path);
                let text = text.map_err(|error| StoreCommandError::Password { path: path.clone(), error })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            None => std::env::var("GETLOCK_PASSWORD").map_err(|_| StoreCommandError::NoPassword)?,
        };
        Ok(Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))))
    }
}

/// What a file has, in the words of HTTP.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileContents {
    format: u32,
    clean: bool,
    grace_ms: u64,
    bytes: u64,
    #[serde(flatten)]
    floors: FloorsJson,
    leases: Vec<StoredLeaseJson>,
    total: usize,
}

impl FileContents {
    fn of(file: &StoredFile) -> Self {
        let now = BootMoment::now();
        // All others run for their whole time from the next start.
        let expires = |lease: &DurableLease| {
            let is_known = lease.ends.is_some_and(|ends| now.is_some_and(|now| now.boot == ends.boot));
            is_known.then(|| SystemTime::now() + lease.left(now))
        };
        Self {
            format: file.format,
            clean: file.is_clean,
            grace_ms: millis(file.grace),
            bytes: file.bytes,
            floors: file.floors.into(),
            leases: file.leases.iter().map(|lease| StoredLeaseJson::of(lease, expires(lease))).collect(),
            total: file.leases.len(),
        }
    }
}
