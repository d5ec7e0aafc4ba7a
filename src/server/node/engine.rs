//! The engine of a cluster, as the flags describe it.

use std::{fs, io, path::PathBuf, time::Duration};

use getlockd_cluster::etcd::{
    Etcd, EtcdConfig, EtcdLogin, WrongCertificates,
    url::{EtcdUrl, EtcdUrlError},
};

use crate::config::EngineFlags;

/// Why the flags describe no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineFlagsError {
    /// There is no URL.
    #[error("no cluster given; use --cluster etcd://HOST:2379,HOST:2379/PREFIX")]
    NoUrl,
    /// The URL is wrong.
    #[error("--cluster: {0}")]
    Url(#[from] EtcdUrlError),
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        error: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] WrongCertificates),
}

/// How etcd is reached, each try within `time_limit`.
pub(in crate::server) fn engine(flags: &EngineFlags, time_limit: Duration) -> Result<Etcd, EngineFlagsError> {
    let url: EtcdUrl = flags.url.as_deref().ok_or(EngineFlagsError::NoUrl)?.parse()?;
    let read =
        |path: &PathBuf| fs::read(path).map_err(|error| EngineFlagsError::Read { path: path.clone(), error });
    let ca = flags.ca.as_ref().map(read).transpose()?;
    let identity = match (&flags.cert, &flags.key) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        _ => None,
    };
    let login = match (&flags.user, &flags.password_file) {
        (Some(user), Some(file)) => {
            let password = String::from_utf8_lossy(&read(file)?).trim_end_matches(['\r', '\n']).to_owned();
            Some(EtcdLogin { user: user.clone(), password })
        }
        _ => None,
    };
    Ok(Etcd::new(&EtcdConfig { url, ca, identity, login, time_limit, anyway: flags.etcd_anyway })?)
}
