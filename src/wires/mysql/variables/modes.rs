//! `@@sql_mode` (MySQL manual 7.1.11): combinations of modes, and the warnings of some.

use super::error::VariableError;
use crate::wires::mysql::error::Warning;

/// A mode, and the modes that it implies.
const COMBINATIONS: [(&str, &[&str]); 2] = [
    ("ANSI", &["REAL_AS_FLOAT", "PIPES_AS_CONCAT", "ANSI_QUOTES", "IGNORE_SPACE", "ONLY_FULL_GROUP_BY"]),
    (
        "TRADITIONAL",
        &[
            "STRICT_TRANS_TABLES",
            "STRICT_ALL_TABLES",
            "NO_ZERO_IN_DATE",
            "NO_ZERO_DATE",
            "ERROR_FOR_DIVISION_BY_ZERO",
            "NO_ENGINE_SUBSTITUTION",
        ],
    ),
];

const STRICT: [&str; 2] = ["STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"];
const OF_STRICT: [&str; 3] = ["NO_ZERO_IN_DATE", "NO_ZERO_DATE", "ERROR_FOR_DIVISION_BY_ZERO"];

/// The given modes with all that they imply. `names` are all modes, each at the index of its bit.
pub(super) fn checked(
    mut bits: u64,
    names: &[&str],
    warnings: &mut Vec<Warning>,
) -> Result<u64, VariableError> {
    // An empty name is a bit that is not used.
    let place = |mode: &str| names.iter().position(|name| !name.is_empty() && *name == mode);
    let bit = |mode: &str| place(mode).map_or(0, |at| 1_u64 << at);
    let all = |modes: &[&str]| modes.iter().fold(0, |bits, mode| bits | bit(mode));
    for (combination, modes) in COMBINATIONS {
        if bits & bit(combination) != 0 {
            bits |= all(modes);
        }
    }
    if bits & !all(names) != 0 {
        return Err(VariableError::UnsupportedMode(bits & !all(names)));
    }
    let (is_strict, of_strict) = (bits & all(&STRICT) != 0, bits & all(&OF_STRICT));
    if of_strict != if is_strict { all(&OF_STRICT) } else { 0 } {
        warnings.push(Warning::new(3135, MERGED));
    }
    if bits & bit("PAD_CHAR_TO_FULL_LENGTH") != 0 {
        warnings.push(Warning::new(3090, PADDED));
    }
    Ok(bits)
}

const MERGED: &str = "'NO_ZERO_DATE', 'NO_ZERO_IN_DATE' and 'ERROR_FOR_DIVISION_BY_ZERO' sql modes should be used with \
                      strict mode. They will be merged with strict mode in a future release.";
const PADDED: &str =
    "Changing sql mode 'PAD_CHAR_TO_FULL_LENGTH' is deprecated. It will be removed in a future release.";
