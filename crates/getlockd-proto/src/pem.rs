//! Common mistakes in PEM files, for the server and its clients.

/// What to do about a key that [`is_encrypted`].
pub const ENCRYPTED: &str =
    "the private key is encrypted; decrypt it with: openssl pkey -in KEY -out DECRYPTED_KEY";

/// What to do about a key that the TLS library refuses. The library itself gives no reason.
pub const UNSUPPORTED_KEY: &str = "keys of this kind or size are not supported; \
    use ECDSA (P-256 or P-384), Ed25519, or RSA with 2048 bits or more";

/// A file without the byte order mark that some editors put in front, which would hide the first line.
pub fn without_bom(pem: &[u8]) -> &[u8] {
    pem.strip_prefix("\u{feff}".as_bytes()).unwrap_or(pem)
}

/// Whether a password is needed for the private key: in PKCS#8, or in the older form with its own header.
pub fn is_encrypted(pem: &[u8]) -> bool {
    let is_one_of = |line: &[u8]| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || line.starts_with(b"Proc-Type:") && line.trim_ascii_end().ends_with(b"ENCRYPTED")
    };
    without_bom(pem).split(|&c| c == b'\n').any(is_one_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_keys_are_recognized() {
        assert!(is_encrypted("\u{feff}-----BEGIN ENCRYPTED PRIVATE KEY-----\r\nMII".as_bytes()));
        assert!(is_encrypted(b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\r\n"));
        assert!(!is_encrypted(b"-----BEGIN PRIVATE KEY-----\nMII"));
    }
}
