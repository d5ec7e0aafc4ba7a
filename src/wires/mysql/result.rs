//! Replies: OK, errors, and results in the text or the binary protocol (MySQL internals, "Command Phase"). Pure.

use bytes::{BufMut, BytesMut};

use smol_str::SmolStr;

use super::{
    catalog::{self, Declared, code},
    charset::Charset,
    error::SqlError,
    login::capability,
    packet::{Packets, PutLengthEncoded},
    sql::{ColumnType, TypeKind},
    temporal::{Components, Temporal},
    value::{Number, Value},
};

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub name: SmolStr,
    pub kind: ColumnType,
    /// The declaration of a table's column, where its type alone is not enough.
    pub declared: Option<Declared>,
}

impl Column {
    /// A column that is what its type says.
    pub(super) fn new(name: impl Into<SmolStr>, kind: ColumnType) -> Self {
        Self { name: name.into(), kind, declared: None }
    }

    /// A column of a table, under this name.
    pub(super) fn of_table(name: impl Into<SmolStr>, column: &catalog::Column) -> Self {
        Self { name: name.into(), kind: column.kind(), declared: Some(column.declared) }
    }
}

/// The result of a statement.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done,
    Rows {
        columns: Vec<Column>,
        rows: Vec<Vec<Value>>,
    },
    /// Rows of a table, of which there may be very many.
    List {
        columns: Vec<Column>,
        lines: Box<Lines>,
    },
}

impl Outcome {
    /// `None` if it has no rows.
    pub(super) fn columns(self) -> Vec<Column> {
        match self {
            Self::Rows { columns, .. } | Self::List { columns, .. } => columns,
            Self::Done => Vec::new(),
        }
    }
}

/// Rows with the columns of a SHOW list.
pub(super) fn fixed(list: &str, named: &str, rows: Vec<Vec<Value>>) -> Outcome {
    Outcome::Rows { columns: columns(table_of(list), named, None), rows }
}

/// The declaration of a SHOW list.
pub(super) fn table_of(list: &str) -> &'static catalog::Table {
    catalog::find(catalog::SHOW, list).expect("the file has all lists")
}

/// The columns of a list, with the endings of their names.
pub(super) fn columns(table: &'static catalog::Table, named: &str, pattern: Option<&str>) -> Vec<Column> {
    let mut columns: Vec<_> = table
        .columns
        .iter()
        .map(|column| match column.prefix() {
            Some(prefix) => Column::of_table(format!("{prefix}{named}"), column),
            None => Column::of_table(column.name, column),
        })
        .collect();
    if let (Some(pattern), Some(first)) = (pattern, columns.first_mut()) {
        first.name = format!("{} ({pattern})", first.name).into();
    }
    columns
}

/// The format of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub binary: bool,
    pub charset: Charset,
}

impl Form {
    /// The cost of writing a row in another character set than UTF-8, in units of work.
    pub(super) fn effort(self, row: &[Value]) -> usize {
        let of = |value: &Value| match value {
            Value::Text(text) => self.charset.effort(text.as_bytes()),
            _ => 0,
        };
        row.iter().map(of).sum()
    }

    fn put(self, output: &mut BytesMut, columns: &[Column], row: &[Value]) {
        let write = if self.binary { put_binary } else { put_text };
        write(output, columns, row, self.charset);
    }
}

/// Encoded rows, one after the other: as values they would need ten times the memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    bytes: BytesMut,
    ends: Vec<usize>,
    left_out: usize,
}

impl Lines {
    /// Appends a row. Returns how many bytes it has added.
    pub(super) fn push(&mut self, columns: &[Column], row: &[Value], form: Form) -> usize {
        let start = self.bytes.len();
        form.put(&mut self.bytes, columns, row);
        self.ends.push(self.bytes.len());
        self.bytes.len() - start + size_of::<usize>()
    }

    /// Counts this many rows as found although they are not sent.
    pub(super) fn leave_out(&mut self, rows: usize) {
        self.left_out += rows;
    }

    /// The number of rows, including those that are not sent.
    pub(super) fn found(&self) -> usize {
        self.ends.len() + self.left_out
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// The status of a connection, which each reply contains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub capabilities: u32,
    pub charset: Charset,
    pub flags: u16,
    pub warnings: u16,
}

/// Flags of [`Status`].
pub(super) mod flag {
    pub(in crate::wires::mysql) const IN_TRANSACTION: u16 = 1;
    pub(in crate::wires::mysql) const AUTOCOMMIT: u16 = 2;
    pub(in crate::wires::mysql) const MORE_RESULTS: u16 = 8;
    pub(in crate::wires::mysql) const NO_BACKSLASH_ESCAPES: u16 = 512;
}

/// Where replies are written.
pub(super) struct Writer<'a> {
    pub packets: &'a mut Packets,
    pub output: &'a mut BytesMut,
    pub status: Status,
}

impl Writer<'_> {
    fn put(&mut self, payload: impl FnOnce(&mut BytesMut)) {
        self.packets.put(self.output, payload);
    }

    pub(super) fn ok(&mut self) {
        let Status { flags, warnings, .. } = self.status;
        self.put(|output| put_ok(output, 0, flags, warnings));
    }

    pub(super) fn error(&mut self, error: &SqlError) {
        let ((code, state), charset) = (error.code(), self.status.charset);
        self.put(|output| {
            output.put_u8(0xFF);
            output.put_u16_le(code);
            output.put_u8(b'#');
            output.put_slice(state.as_bytes());
            output.put_slice(&charset.encode_error(&error.message()));
        });
    }

    /// A plain string: COM_STATISTICS.
    pub(super) fn text(&mut self, text: &str) {
        self.put(|output| output.put_slice(text.as_bytes()));
    }

    /// Writes the result of a statement. A statement that reads warnings, such as SHOW WARNINGS, reports a count of 0:
    /// the warnings are those of the statement before it, and a client that fetches whatever is counted would never
    /// stop.
    pub(super) fn outcome(&mut self, outcome: &Outcome, is_diagnostic: bool, binary: bool) {
        if is_diagnostic {
            self.status.warnings = 0;
        }
        let (Outcome::Rows { columns, .. } | Outcome::List { columns, .. }) = outcome else {
            return self.ok();
        };
        self.put(|output| output.put_length(columns.len() as u64));
        self.columns(columns);
        match outcome {
            Outcome::Rows { rows, .. } => {
                let form = Form { binary, charset: self.status.charset };
                for row in rows {
                    self.put(|output| form.put(output, columns, row));
                }
            }
            Outcome::List { lines, .. } => {
                for line in lines.iter() {
                    self.put(|output| output.put_slice(line));
                }
            }
            Outcome::Done => {}
        }
        self.end();
    }

    /// The definitions of columns, and their end.
    pub(super) fn columns(&mut self, columns: &[Column]) {
        let charset = self.status.charset;
        for column in columns {
            self.put(|output| put_column(output, column, charset));
        }
        if !self.deprecates_eof() {
            self.end();
        }
    }

    /// The reply to COM_STMT_PREPARE.
    pub(super) fn prepared(&mut self, id: u32, parameters: u16, columns: &[Column]) {
        let warnings = self.status.warnings;
        let count = u16::try_from(columns.len()).unwrap_or(u16::MAX);
        self.put(|output| {
            output.put_u8(0);
            output.put_u32_le(id);
            output.put_u16_le(count);
            output.put_u16_le(parameters);
            output.put_u8(0);
            output.put_u16_le(warnings);
        });
        if parameters > 0 {
            let parameter = Column::new("?", ColumnType::text(0));
            self.columns(&vec![parameter; parameters.into()]);
        }
        if !columns.is_empty() {
            self.columns(columns);
        }
    }

    /// The end of a list of columns or rows.
    pub(super) fn end(&mut self) {
        let Status { flags, warnings, .. } = self.status;
        let is_ok = self.deprecates_eof();
        self.put(|output| {
            if is_ok {
                return put_ok(output, 0xFE, flags, warnings);
            }
            output.put_u8(0xFE);
            output.put_u16_le(warnings);
            output.put_u16_le(flags);
        });
    }

    fn deprecates_eof(&self) -> bool {
        self.status.capabilities & capability::DEPRECATE_EOF != 0
    }
}

fn put_ok(output: &mut BytesMut, header: u8, flags: u16, warnings: u16) {
    output.put_u8(header);
    // Affected rows, and the last id that was made up: there are none.
    output.put_slice(&[0, 0]);
    output.put_u16_le(flags);
    output.put_u16_le(warnings);
}

const NOT_NULL: u16 = 1;
const UNSIGNED: u16 = 32;
const BINARY: u16 = 128;
/// The number of decimals that stands for any number of them.
const ANY_DECIMALS: u8 = 31;

fn put_column(output: &mut BytesMut, column: &Column, results: Charset) {
    let ColumnType { kind, length, not_null } = column.kind;
    let (code, flags, decimals) = match kind {
        TypeKind::Null => (6, BINARY, 0),
        TypeKind::Int { unsigned } => (8, BINARY | if unsigned { UNSIGNED } else { 0 }, 0),
        TypeKind::Decimal { digits } => (246, BINARY, digits),
        TypeKind::Double => (5, BINARY, ANY_DECIMALS),
        TypeKind::Rounded { digits } => (5, BINARY, digits),
        TypeKind::Text => (253, 0, ANY_DECIMALS),
        TypeKind::Bytes => (253, BINARY, ANY_DECIMALS),
        TypeKind::Year => (13, BINARY | UNSIGNED, 0),
        TypeKind::Date => (10, BINARY, 0),
        TypeKind::Time { digits } => (11, BINARY, digits),
        TypeKind::DateTime { digits } => (12, BINARY, digits),
    };
    let (code, flags, decimals) = match column.declared {
        Some(Declared { code, flags, decimals, .. }) => (code, flags, decimals),
        None => (code, flags | if not_null { NOT_NULL } else { 0 }, decimals),
    };
    let (charset, width) =
        if kind == TypeKind::Text { (results, results.width()) } else { (Charset::BINARY, 1) };
    output.put_text(b"def");
    // Schema, table, and the table's own name.
    output.put_slice(&[0, 0, 0]);
    output.put_text(&results.encode(column.name.as_bytes()));
    output.put_text(b"");
    output.put_u8(12);
    output.put_u16_le(charset.number());
    output.put_u32_le(length.saturating_mul(width));
    output.put_u8(code);
    output.put_u16_le(flags);
    output.put_u8(decimals);
    output.put_u16_le(0);
}

fn put_text(output: &mut BytesMut, columns: &[Column], row: &[Value], charset: Charset) {
    for (at, value) in row.iter().enumerate() {
        if let Value::Double(real) = value
            && let Some(Column { kind: ColumnType { kind: TypeKind::Rounded { digits }, .. }, .. }) =
                columns.get(at)
        {
            output.put_text(format!("{real:.*}", usize::from(*digits)).as_bytes());
            continue;
        }
        match value.to_bytes() {
            None => output.put_u8(0xFB),
            Some(bytes) if matches!(value, Value::Text(_)) => output.put_text(&charset.encode(&bytes)),
            Some(bytes) => output.put_text(&bytes),
        }
    }
}

fn put_binary(output: &mut BytesMut, columns: &[Column], row: &[Value], charset: Charset) {
    output.put_u8(0);
    let nulls = output.len();
    // The first two bits are reserved.
    output.put_bytes(0, (row.len() + 2).div_ceil(8));
    for (at, (value, column)) in row.iter().zip(columns).enumerate() {
        if value.is_null() {
            output[nulls + (at + 2) / 8] |= 1 << ((at + 2) % 8);
        } else {
            put_binary_value(output, value, column, charset);
        }
    }
}

/// Writes a value as its column is declared.
fn put_binary_value(output: &mut BytesMut, value: &Value, column: &Column, charset: Charset) {
    let bytes = value.to_bytes().unwrap_or_default();
    let length = column.declared.map_or(size_of::<u64>(), |declared| code::integer_bytes(declared.code));
    match (column.kind.kind, value) {
        (TypeKind::Int { .. }, Value::UInt(number)) => output.put_uint_le(*number, length),
        (TypeKind::Int { .. }, _) => output.put_int_le(value.to_i64().unwrap_or(0), length),
        (TypeKind::Double | TypeKind::Rounded { .. }, _) => {
            output.put_f64_le(value.to_number().map_or(0.0, Number::to_f64));
        }
        (TypeKind::Year, _) => {
            output.put_u16_le(value.to_i64().and_then(|year| year.try_into().ok()).unwrap_or(0));
        }
        (TypeKind::Date | TypeKind::Time { .. } | TypeKind::DateTime { .. }, Value::Temporal(temporal)) => {
            put_temporal(output, *temporal);
        }
        (_, Value::Text(_)) => output.put_text(&charset.encode(&bytes)),
        _ => output.put_text(&bytes),
    }
}

/// A date or a time, cut after its last part that is not 0.
fn put_temporal(output: &mut BytesMut, temporal: Temporal) {
    let Components { is_negative, year, month, day, hour, minute, second, micros } = temporal.fields();
    let byte = |number: i64| u8::try_from(number).unwrap_or(u8::MAX);
    let clock = [byte(hour % 24), byte(minute), byte(second)];
    let micros = u32::try_from(micros).unwrap_or(0);
    let has_clock = hour != 0 || minute != 0 || second != 0 || micros != 0;
    match temporal {
        Temporal::Time { .. } => {
            let length = if micros != 0 { 12 } else { 8 };
            output.put_u8(if has_clock { length } else { 0 });
            if has_clock {
                output.put_u8(is_negative.into());
                output.put_u32_le(u32::try_from(hour / 24).unwrap_or(0));
                output.put_slice(&clock);
            }
        }
        Temporal::Date(_) | Temporal::DateTime { .. } => {
            let has_date = year != 0 || month != 0 || day != 0;
            let length = if has_clock { if micros != 0 { 11 } else { 7 } } else { 4 };
            output.put_u8(if has_date || has_clock { length } else { 0 });
            if has_date || has_clock {
                output.put_u16_le(u16::try_from(year).unwrap_or(0));
                output.put_slice(&[byte(month), byte(day)]);
            }
            if has_clock {
                output.put_slice(&clock);
            }
        }
    }
    if micros != 0 {
        output.put_u32_le(micros);
    }
}
