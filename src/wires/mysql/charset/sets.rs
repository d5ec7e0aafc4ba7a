//! The character sets of MySQL 8.4 (SHOW CHARACTER SET), and the encoding of each.

use encoding_rs as e;

use super::{codes::Lengths, coding::Coding};

/// A character set.
#[derive(Debug)]
pub(super) struct Set {
    pub name: &'static str,
    pub description: &'static str,
    /// The number of its default collation.
    pub number: u16,
    /// The most bytes of a character.
    pub width: u8,
    pub coding: Coding,
}

const fn set(name: &'static str, description: &'static str, number: u16, width: u8, coding: Coding) -> Set {
    Set { name, description, number, width, coding }
}

/// Whether two names are equal, as a const function.
pub(super) const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

#[rustfmt::skip]
pub(super) static SETS: [Set; 41] = [
    set("armscii8", "ARMSCII-8 Armenian", 32, 1, Coding::None),
    set("ascii", "US ASCII", 11, 1, Coding::Ascii),
    set("big5", "Big5 Traditional Chinese", 1, 2, Coding::Codes(e::BIG5, Lengths::Pairs)),
    set("binary", "Binary pseudo charset", 63, 1, Coding::Binary),
    set("cp1250", "Windows Central European", 26, 1, Coding::Bytes(e::WINDOWS_1250)),
    set("cp1251", "Windows Cyrillic", 51, 1, Coding::Bytes(e::WINDOWS_1251)),
    set("cp1256", "Windows Arabic", 57, 1, Coding::Bytes(e::WINDOWS_1256)),
    set("cp1257", "Windows Baltic", 59, 1, Coding::Bytes(e::WINDOWS_1257)),
    set("cp850", "DOS West European", 4, 1, Coding::None),
    set("cp852", "DOS Central European", 40, 1, Coding::None),
    set("cp866", "DOS Russian", 36, 1, Coding::Bytes(e::IBM866)),
    set("cp932", "SJIS for Windows Japanese", 95, 2, Coding::Codes(e::SHIFT_JIS, Lengths::ShiftJis)),
    set("dec8", "DEC West European", 3, 1, Coding::None),
    set("eucjpms", "UJIS for Windows Japanese", 97, 3, Coding::Codes(e::EUC_JP, Lengths::EucJp)),
    set("euckr", "EUC-KR Korean", 19, 2, Coding::Codes(e::EUC_KR, Lengths::Pairs)),
    set("gb18030", "China National Standard GB18030", 248, 4, Coding::Codes(e::GB18030, Lengths::Chinese)),
    set("gb2312", "GB2312 Simplified Chinese", 24, 2, Coding::Codes(e::GBK, Lengths::Chinese)),
    set("gbk", "GBK Simplified Chinese", 28, 2, Coding::Codes(e::GBK, Lengths::Chinese)),
    set("geostd8", "GEOSTD8 Georgian", 92, 1, Coding::None),
    set("greek", "ISO 8859-7 Greek", 25, 1, Coding::Bytes(e::ISO_8859_7)),
    set("hebrew", "ISO 8859-8 Hebrew", 16, 1, Coding::Bytes(e::ISO_8859_8)),
    set("hp8", "HP West European", 6, 1, Coding::None),
    set("keybcs2", "DOS Kamenicky Czech-Slovak", 37, 1, Coding::None),
    set("koi8r", "KOI8-R Relcom Russian", 7, 1, Coding::Bytes(e::KOI8_R)),
    set("koi8u", "KOI8-U Ukrainian", 22, 1, Coding::Bytes(e::KOI8_U)),
    set("latin1", "cp1252 West European", 8, 1, Coding::Bytes(e::WINDOWS_1252)),
    set("latin2", "ISO 8859-2 Central European", 9, 1, Coding::Bytes(e::ISO_8859_2)),
    set("latin5", "ISO 8859-9 Turkish", 30, 1, Coding::Bytes(e::WINDOWS_1254)),
    set("latin7", "ISO 8859-13 Baltic", 41, 1, Coding::Bytes(e::ISO_8859_13)),
    set("macce", "Mac Central European", 38, 1, Coding::None),
    set("macroman", "Mac West European", 39, 1, Coding::Bytes(e::MACINTOSH)),
    set("sjis", "Shift-JIS Japanese", 13, 2, Coding::Codes(e::SHIFT_JIS, Lengths::ShiftJis)),
    set("swe7", "7bit Swedish", 10, 1, Coding::None),
    set("tis620", "TIS620 Thai", 18, 1, Coding::Bytes(e::WINDOWS_874)),
    set("ucs2", "UCS-2 Unicode", 35, 2, Coding::Wide),
    set("ujis", "EUC-JP Japanese", 12, 3, Coding::Codes(e::EUC_JP, Lengths::EucJp)),
    set("utf16", "UTF-16 Unicode", 54, 4, Coding::Wide),
    set("utf16le", "UTF-16LE Unicode", 56, 4, Coding::Wide),
    set("utf32", "UTF-32 Unicode", 60, 4, Coding::Wide),
    set("utf8mb3", "UTF-8 Unicode", 33, 3, Coding::Utf8),
    set("utf8mb4", "UTF-8 Unicode", 255, 4, Coding::Utf8),
];
