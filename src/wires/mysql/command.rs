//! Commands by their first byte (MySQL internals, "Command Phase").

/// What a packet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Quit,
    InitDb,
    Query,
    FieldList,
    Statistics,
    ProcessInfo,
    ProcessKill,
    Debug,
    Ping,
    ChangeUser,
    Prepare,
    Execute,
    SendLongData,
    Close,
    Reset,
    SetOption,
    Fetch,
    ResetConnection,
    Unknown,
}

impl Kind {
    pub(super) fn of(byte: u8) -> Self {
        match byte {
            0x01 => Self::Quit,
            0x02 => Self::InitDb,
            0x03 => Self::Query,
            0x04 => Self::FieldList,
            0x09 => Self::Statistics,
            0x0A => Self::ProcessInfo,
            0x0C => Self::ProcessKill,
            0x0D => Self::Debug,
            0x0E => Self::Ping,
            0x11 => Self::ChangeUser,
            0x16 => Self::Prepare,
            0x17 => Self::Execute,
            0x18 => Self::SendLongData,
            0x19 => Self::Close,
            0x1A => Self::Reset,
            0x1B => Self::SetOption,
            0x1C => Self::Fetch,
            0x1F => Self::ResetConnection,
            _ => Self::Unknown,
        }
    }
}
