//! A MySQL client that hides nothing: every packet is sent and read by hand.

use std::{collections::VecDeque, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::PATIENCE;

pub const DEPRECATE_EOF: u32 = 1 << 24;
const CONNECT_ATTRS: u32 = 1 << 20;
pub const MULTI_STATEMENTS: u32 = 1 << 16;
/// PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, a database, multiple results.
const BASE: u32 = 1 << 9 | 1 << 15 | 1 << 19 | 1 << 3 | 1 << 17 | 1 << 18;

pub struct MySql {
    pub stream: TcpStream,
    capabilities: u32,
    pub id: u32,
    nonce: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: u8,
    pub length: u32,
    pub flags: u16,
    pub charset: u16,
    pub decimals: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Ok { status: u16, warnings: u16 },
    Error { code: u16, state: String, text: String },
    Rows { columns: Vec<Column>, rows: Vec<Vec<Option<String>>>, status: u16, warnings: u16 },
}

impl Reply {
    /// The one value of a result.
    pub fn value(&self) -> Option<String> {
        match self {
            Self::Rows { rows, .. } => rows[0][0].clone(),
            other => panic!("{other:?}"),
        }
    }

    pub fn code(&self) -> u16 {
        match self {
            Self::Error { code, .. } => *code,
            other => panic!("{other:?}"),
        }
    }
}

/// What a client says of itself when it logs in.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    pub collation: u16,
    pub database: &'a [u8],
    pub attributes: &'a [(&'a str, &'a str)],
}

impl Default for Hello<'_> {
    fn default() -> Self {
        Self { collation: 255, database: b"", attributes: &[] }
    }
}

impl Hello<'_> {
    fn attributes(&self) -> Vec<u8> {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let all: Vec<u8> =
            self.attributes.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect();
        [vec![0xFC], u16::try_from(all.len()).unwrap().to_le_bytes().to_vec(), all].concat()
    }
}

impl MySql {
    /// Without a password; else the error, behind which the connection ends.
    pub async fn log_in(addr: SocketAddr, hello: Hello<'_>) -> Result<Self, Reply> {
        let mut client = Self::greeted(addr).await;
        client.capabilities |= CONNECT_ATTRS;
        let mut login = client.capabilities.to_le_bytes().to_vec();
        login.extend([0, 0, 0, 1, hello.collation.try_into().unwrap()]);
        login.extend([&[0; 23], &b"root\0\0"[..], hello.database, b"\0caching_sha2_password\0"].concat());
        login.extend(hello.attributes());
        client.send(1, &login).await;
        let answer = client.packet().await.unwrap();
        if answer[0] == 0 { Ok(client) } else { Err(Self::error(&answer)) }
    }

    /// COM_CHANGE_USER, as one who has logged in with attributes; else the error.
    pub async fn become_again(&mut self, hello: Hello<'_>) -> Result<(), Reply> {
        let names = [b"\x11root\0\0", hello.database, b"\0"].concat();
        let charset = hello.collation.to_le_bytes();
        let rest = [&charset[..], b"mysql_native_password\0", &hello.attributes()].concat();
        self.send(0, &[names, rest].concat()).await;
        let switch = self.packet().await.unwrap();
        if switch[0] == 0xFF {
            return Err(Self::error(&switch));
        }
        self.send(2, b"").await;
        let answer = self.packet().await.unwrap();
        if answer[0] == 0 { Ok(()) } else { Err(Self::error(&answer)) }
    }

    /// None if there is no server that takes the login.
    pub async fn reach(addr: SocketAddr) -> Option<Self> {
        let mut client = Self::greeted_by(addr).await?;
        let login = client.login("caching_sha2_password", b"", "");
        client.send(1, &login).await;
        (client.packet().await?[0] == 0).then_some(client)
    }

    pub async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, DEPRECATE_EOF, "").await
    }

    pub async fn connect_with(addr: SocketAddr, capabilities: u32, database: &str) -> Self {
        let mut client = Self { capabilities: BASE | capabilities, ..Self::greeted(addr).await };
        let login = client.login("caching_sha2_password", b"", database);
        client.send(1, &login).await;
        assert_eq!(client.packet().await.unwrap()[0], 0);
        client
    }

    /// As a user, by `caching_sha2_password`; else the error.
    pub async fn connect_as(addr: SocketAddr, user: &str, password: &str) -> Result<Self, Reply> {
        let mut client = Self::greeted(addr).await;
        client.capabilities |= CONNECT_ATTRS;
        let proof = sha2_proof(password.as_bytes(), &client.nonce);
        let mut login = client.login_of(user, "caching_sha2_password", &proof, "");
        login.push(0);
        client.send(1, &login).await;
        let mut answer = client.packet().await.unwrap();
        if answer == [1, 3] {
            answer = client.packet().await.unwrap();
        }
        if answer[0] == 0 { Ok(client) } else { Err(Self::error(&answer)) }
    }

    /// As a user, by `mysql_native_password`, to which the server switches; else the error.
    pub async fn connect_natively(addr: SocketAddr, user: &str, password: &str) -> Result<Self, Reply> {
        let mut client = Self::greeted(addr).await;
        let login = client.login_of(user, "mysql_native_password", b"", "");
        client.send(1, &login).await;
        let switch = client.packet().await.unwrap();
        assert!(switch.starts_with(b"\xFEmysql_native_password\0"), "{switch:?}");
        client.send(3, &native_proof(password.as_bytes(), &switch[23..43])).await;
        let answer = client.packet().await.unwrap();
        if answer[0] == 0 { Ok(client) } else { Err(Self::error(&answer)) }
    }

    /// Says a name, and is asked for a proof: by which method.
    pub async fn asked(addr: SocketAddr, user: &str) -> (Self, String) {
        let mut client = Self::greeted(addr).await;
        let login = client.login_of(user, "mysql_native_password", b"", "");
        client.send(1, &login).await;
        let switch = client.packet().await.unwrap();
        let method = switch.split(|byte| *byte == 0).next().unwrap();
        let method = String::from_utf8_lossy(method.strip_prefix(b"\xFE").unwrap()).into_owned();
        (client, method)
    }

    /// Becomes another user; else the error.
    pub async fn change_user(&mut self, user: &str, password: &str) -> Result<(), Reply> {
        let void = b"\0\0\0\0\xFF\0mysql_native_password\0";
        self.send(0, &[b"\x11", user.as_bytes(), void].concat()).await;
        let switch = self.packet().await.unwrap();
        assert!(switch.starts_with(b"\xFEmysql_native_password\0"), "{switch:?}");
        self.send(2, &native_proof(password.as_bytes(), &switch[23..43])).await;
        let answer = self.packet().await.unwrap();
        if answer[0] == 0 { Ok(()) } else { Err(Self::error(&answer)) }
    }

    /// Has not logged in yet.
    pub async fn greeted(addr: SocketAddr) -> Self {
        Self::greeted_by(addr).await.expect("a greeting")
    }

    /// None if no server answers, or it refuses.
    async fn greeted_by(addr: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(addr).await.ok()?;
        let mut client = Self { stream, capabilities: BASE | DEPRECATE_EOF, id: 0, nonce: vec![] };
        let greeting = client.packet().await.filter(|greeting| greeting[0] == 10)?;
        let version = greeting[1..].iter().position(|byte| *byte == 0).unwrap();
        client.id = u32::from_le_bytes(greeting[version + 2..version + 6].try_into().unwrap());
        let (first, second) = (version + 6, version + 33);
        client.nonce = [&greeting[first..first + 8], &greeting[second..second + 12]].concat();
        Some(client)
    }

    pub fn login(&self, plugin: &str, proof: &[u8], database: &str) -> Vec<u8> {
        self.login_of("root", plugin, proof, database)
    }

    fn login_of(&self, user: &str, plugin: &str, proof: &[u8], database: &str) -> Vec<u8> {
        let mut login = self.capabilities.to_le_bytes().to_vec();
        login.extend([0, 0, 0, 1, 255]);
        login.extend([0; 23]);
        login.extend([user.as_bytes(), b"\0"].concat());
        login.push(proof.len().try_into().unwrap());
        login.extend(proof);
        login.extend([database.as_bytes(), b"\0", plugin.as_bytes(), b"\0"].concat());
        login
    }

    /// That the connection has ended shows in what is read.
    pub async fn send(&mut self, sequence: u8, payload: &[u8]) {
        let [a, b, c, ..] = payload.len().to_le_bytes();
        let packet = [&[a, b, c, sequence], payload].concat();
        drop(self.stream.write_all(&packet).await);
    }

    /// The next payload; none at the end of the stream.
    pub async fn packet(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut header)).await.expect("a packet in time");
        read.ok()?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut payload = vec![0; length.try_into().unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(payload)
    }

    pub async fn start(&mut self, sql: &str) {
        self.send(0, &[b"\x03", sql.as_bytes()].concat()).await;
    }

    pub async fn query(&mut self, sql: &str) -> Reply {
        self.start(sql).await;
        self.reply().await
    }

    pub async fn value(&mut self, sql: &str) -> Option<String> {
        self.query(sql).await.value()
    }

    /// The first value of a SELECT of an expression, by a prepared statement: as a text of what the column is.
    pub async fn prepared(&mut self, expression: &str) -> String {
        self.send(0, &[b"\x16SELECT ", expression.as_bytes()].concat()).await;
        let prepared = self.packet().await.unwrap();
        if prepared[0] != 0 {
            return String::from_utf8_lossy(&prepared[9..]).into_owned();
        }
        self.columns(1).await;
        self.send(0, &[b"\x17", &prepared[1..5], &[0, 1, 0, 0, 0]].concat()).await;
        let count = self.packet().await.unwrap();
        if count[0] == 0xFF {
            return String::from_utf8_lossy(&count[9..]).into_owned();
        }
        let column = self.columns(1).await.remove(0);
        let row = self.packet().await.unwrap();
        self.packet().await;
        let unsigned = column.flags & 32 != 0;
        let value = &row[2..];
        match column.kind {
            _ if row[1] & 4 != 0 => "NULL".to_owned(),
            5 => f64::from_le_bytes(value.try_into().unwrap()).to_string(),
            8 if unsigned => u64::from_le_bytes(value.try_into().unwrap()).to_string(),
            8 => i64::from_le_bytes(value.try_into().unwrap()).to_string(),
            _ => text(&mut value.iter().copied().collect()).unwrap(),
        }
    }

    pub async fn command(&mut self, payload: &[u8]) -> Reply {
        self.send(0, payload).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Reply {
        self.heard().await.expect("a reply, not the end of the stream")
    }

    /// None at the end of the stream.
    pub async fn heard(&mut self) -> Option<Reply> {
        let first = self.packet().await?;
        Some(match first[0] {
            0x00 => Self::ok(&first),
            0xFF => Self::error(&first),
            0xFE if self.capabilities & DEPRECATE_EOF != 0 => Self::ok(&first),
            0xFE => Reply::Ok { status: u16::from_le_bytes([first[3], first[4]]), warnings: 0 },
            count => self.rows(count.into()).await?,
        })
    }

    fn ok(packet: &[u8]) -> Reply {
        let number = |at: usize| u16::from_le_bytes([packet[at], packet[at + 1]]);
        Reply::Ok { status: number(3), warnings: number(5) }
    }

    fn error(packet: &[u8]) -> Reply {
        let code = u16::from_le_bytes([packet[1], packet[2]]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Reply::Error { code, state: text(&packet[4..9]), text: text(&packet[9..]) }
    }

    pub async fn columns(&mut self, count: usize) -> Vec<Column> {
        self.columns_heard(count).await.expect("columns, not the end of the stream")
    }

    async fn columns_heard(&mut self, count: usize) -> Option<Vec<Column>> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(column(self.packet().await?));
        }
        if self.capabilities & DEPRECATE_EOF == 0 {
            assert_eq!(self.packet().await?[0], 0xFE);
        }
        Some(columns)
    }

    async fn rows(&mut self, count: usize) -> Option<Reply> {
        let columns = self.columns_heard(count).await?;
        let mut rows = Vec::new();
        loop {
            let packet = self.packet().await?;
            let number = |at: usize| u16::from_le_bytes([packet[at], packet[at + 1]]);
            match packet[0] {
                0xFF => return Some(Self::error(&packet)),
                0xFE if self.capabilities & DEPRECATE_EOF != 0 => {
                    return Some(Reply::Rows { columns, rows, status: number(3), warnings: number(5) });
                }
                0xFE => return Some(Reply::Rows { columns, rows, status: number(3), warnings: number(1) }),
                _ => rows.push(texts(packet)),
            }
        }
    }
}

fn text(packet: &mut VecDeque<u8>) -> Option<String> {
    let length = match packet.pop_front()? {
        0xFB => return None,
        0xFC => usize::from(packet.pop_front()?) | usize::from(packet.pop_front()?) << 8,
        short => short.into(),
    };
    Some(String::from_utf8_lossy(&packet.drain(..length).collect::<Vec<_>>()).into_owned())
}

fn texts(packet: Vec<u8>) -> Vec<Option<String>> {
    let mut packet = VecDeque::from(packet);
    let mut texts = Vec::new();
    while !packet.is_empty() {
        texts.push(text(&mut packet));
    }
    texts
}

fn column(packet: Vec<u8>) -> Column {
    let mut packet = VecDeque::from(packet);
    let names: Vec<_> = (0..6).map(|_| text(&mut packet).unwrap()).collect();
    let rest: Vec<u8> = packet.into();
    Column {
        name: names[4].clone(),
        charset: u16::from_le_bytes([rest[1], rest[2]]),
        length: u32::from_le_bytes(rest[3..7].try_into().unwrap()),
        kind: rest[7],
        flags: u16::from_le_bytes([rest[8], rest[9]]),
        decimals: rest[10],
    }
}

/// What `caching_sha2_password` shows of a password.
fn sha2_proof(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let once = Sha256::digest(password);
    let mask = Sha256::new_with_prefix(Sha256::digest(once)).chain_update(nonce).finalize();
    once.iter().zip(mask).map(|(once, mask)| once ^ mask).collect()
}

/// What `mysql_native_password` shows of it.
fn native_proof(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    use sha1::{Digest, Sha1};
    let once = Sha1::digest(password);
    let mask = Sha1::new_with_prefix(nonce).chain_update(Sha1::digest(once)).finalize();
    once.iter().zip(mask).map(|(once, mask)| once ^ mask).collect()
}
