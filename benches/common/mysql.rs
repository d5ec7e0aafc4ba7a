//! The MySQL wire.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use sha1::{Digest, Sha1};

use super::load::Wire;

pub const MYSQL: Wire = Wire {
    log_in,
    take: |name, _| query(&format!("SELECT GET_LOCK('{name}', 60)")),
    free: |name, _| query(&format!("SELECT RELEASE_LOCK('{name}')")),
    reply: |bytes| reply(bytes, b"\x011"),
    pause: Duration::ZERO,
};

/// The same by statements that are prepared once.
pub const PREPARED: Wire = Wire {
    log_in: |stream| {
        log_in(stream);
        prepare(stream, GET_LOCK, "SELECT GET_LOCK(?, ?)", 2);
        prepare(stream, RELEASE_LOCK, "SELECT RELEASE_LOCK(?)", 1);
    },
    take: |name, _| execute(GET_LOCK, &[Parameter::Text(name), Parameter::Int(60)]),
    free: |name, _| execute(RELEASE_LOCK, &[Parameter::Text(name)]),
    reply: |bytes| reply(bytes, &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ..MYSQL
};

/// The numbers of the prepared statements: the server counts from 1 on each connection.
const GET_LOCK: u32 = 1;
const RELEASE_LOCK: u32 = 2;

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = payload.len().to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

fn query(sql: &str) -> Vec<u8> {
    packet(0, &[b"\x03", sql.as_bytes()].concat())
}

enum Parameter<'a> {
    Text(&'a str),
    Int(i64),
}

/// COM_STMT_PREPARE. It must be given this number.
fn prepare(stream: &mut TcpStream, number: u32, sql: &str, parameters: usize) {
    stream.write_all(&packet(0, &[b"\x16", sql.as_bytes()].concat())).unwrap();
    let prepared = read_packet(stream);
    assert_eq!((prepared[0], &prepared[1..5]), (0, &number.to_le_bytes()[..]));
    // The parameters and their end, one column and its end.
    for _ in 0..parameters + 3 {
        read_packet(stream);
    }
}

/// COM_STMT_EXECUTE with the types of its parameters, as most drivers send it. None is NULL.
fn execute(number: u32, parameters: &[Parameter<'_>]) -> Vec<u8> {
    let mut payload = [&b"\x17"[..], &number.to_le_bytes(), &[0, 1, 0, 0, 0], &[0, 1]].concat();
    for parameter in parameters {
        payload.extend(match parameter {
            Parameter::Text(_) => [253, 0],
            Parameter::Int(_) => [8, 0],
        });
    }
    for parameter in parameters {
        match parameter {
            Parameter::Text(text) => {
                payload.push(text.len().try_into().unwrap());
                payload.extend(text.as_bytes());
            }
            Parameter::Int(number) => payload.extend(number.to_le_bytes()),
        }
    }
    packet(0, &payload)
}

fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).unwrap();
    payload
}

/// As root without a password.
pub fn log_in(stream: &mut TcpStream) {
    log_in_with(stream, b"");
}

/// As the root of `tests/data/users.toml`.
pub fn log_in_as_root(stream: &mut TcpStream) {
    log_in_with(stream, b"sesame");
}

fn log_in_with(stream: &mut TcpStream, password: &[u8]) {
    read_packet(stream);
    let capabilities: u32 = 1 << 9 | 1 << 15 | 1 << 19;
    let mut login = capabilities.to_le_bytes().to_vec();
    login.extend([0, 0, 0, 1, 45]);
    login.extend([0; 23]);
    login.extend(b"root\0\0mysql_native_password\0");
    stream.write_all(&packet(1, &login)).unwrap();
    let mut next = read_packet(stream);
    if next[0] == 0xFE {
        // Behind the name of the method stands the nonce.
        let proof = if password.is_empty() { Vec::new() } else { native_proof(password, &next[23..43]) };
        stream.write_all(&packet(3, &proof)).unwrap();
        next = read_packet(stream);
    }
    assert_eq!(next[0], 0, "{}", String::from_utf8_lossy(&next));
}

/// What `mysql_native_password` shows of a password.
fn native_proof(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password);
    let mask = Sha1::new_with_prefix(nonce).chain_update(Sha1::digest(once)).finalize();
    once.iter().zip(mask).map(|(once, mask)| once ^ mask).collect()
}

/// Five packets: count, column, end, row, end. The row is a yes if it is this one.
fn reply(bytes: &[u8], wanted: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut yes) = (0, false);
    for which in 0..5 {
        let [a, b, c, _, rest @ ..] = &bytes[at..] else { return None };
        let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        let payload = rest.get(..length)?;
        assert!(which > 0 || payload == [1], "{}", String::from_utf8_lossy(payload));
        yes |= which == 3 && payload == wanted;
        at += 4 + length;
    }
    Some((at, yes))
}
