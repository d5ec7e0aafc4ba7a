//! Checks of session variables that are strings (MySQL manual 7.1.8). As in MySQL, other values are errors, so nobody
//! can store a megabyte as the name of a time zone.

use super::{VariableError, table::Variable};
use crate::wires::mysql::{
    error::SqlError,
    names::{MAX_IDENTIFIER_CHARS, is_longer},
    temporal::Offset,
    value::Value,
};

/// The most bytes in a list of names.
pub(in crate::wires::mysql) const MAX_LIST: usize = 2048;

/// MySQL's storage engines, which tables could name.
const ENGINES: [&str; 7] = ["InnoDB", "MyISAM", "MEMORY", "CSV", "ARCHIVE", "BLACKHOLE", "MRG_MYISAM"];

/// The stored value, if the variable may have it.
pub(super) fn checked(variable: &'static Variable, value: &Value) -> Result<Value, SqlError> {
    let name = variable.name;
    let wrong = |shown: &str| SqlError::from(VariableError::wrong_value(variable, shown));
    if matches!(value, Value::Int(_) | Value::UInt(_) | Value::Decimal(_) | Value::Double(_)) {
        return Err(VariableError::WrongType(name).into());
    }
    let Some(text) = value.to_text() else {
        let may_be_null = variable.initial.is_null() || name == "session_track_system_variables";
        return if may_be_null { Ok(Value::Null) } else { Err(wrong("NULL")) };
    };
    let is_right = match name {
        "time_zone" => {
            let zone = Offset::named(&text).map(|offset| Value::Text(offset.name(&text)));
            return zone.ok_or(SqlError::UnknownTimeZone(text));
        }
        "lc_messages" | "lc_time_names" => return locale(text),
        "default_storage_engine" | "default_tmp_storage_engine" => return engine(text),
        "session_track_system_variables" => {
            text.len() <= MAX_LIST && text.bytes().all(|c| is_of_name(c) || matches!(c, b',' | b' ' | b'*'))
        }
        "default_collation_for_utf8mb4" => {
            ["utf8mb4_0900_ai_ci", "utf8mb4_general_ci"].contains(&text.as_str())
        }
        "gtid_next" => is_one_of(&text, &["AUTOMATIC", "ANONYMOUS"]),
        _ => !is_longer(&text, MAX_IDENTIFIER_CHARS) && text.bytes().all(is_of_name),
    };
    if is_right { Ok(Value::Text(text)) } else { Err(wrong(&text)) }
}

/// The name of a storage engine in MySQL's spelling.
fn engine(name: String) -> Result<Value, SqlError> {
    let known = ENGINES.into_iter().find(|engine| engine.eq_ignore_ascii_case(&name));
    known.map(Value::text).ok_or_else(|| VariableError::UnknownEngine(name).into())
}

fn is_one_of(text: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(text))
}

fn is_of_name(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

/// The name of a locale in MySQL's spelling.
fn locale(name: String) -> Result<Value, SqlError> {
    let known = LOCALES.split_ascii_whitespace().find(|locale| locale.eq_ignore_ascii_case(&name));
    known.map(Value::text).ok_or(SqlError::UnknownLocale(name))
}

/// MySQL manual 12.16.
const LOCALES: &str = "\
    ar_AE ar_BH ar_DZ ar_EG ar_IN ar_IQ ar_JO ar_KW ar_LB ar_LY ar_MA ar_OM ar_QA ar_SA ar_SD ar_SY ar_TN ar_YE be_BY bg_BG \
    ca_ES cs_CZ da_DK de_AT de_BE de_CH de_DE de_LU el_GR en_AU en_CA en_GB en_IN en_NZ en_PH en_US en_ZA en_ZW es_AR es_BO \
    es_CL es_CO es_CR es_DO es_EC es_ES es_GT es_HN es_MX es_NI es_PA es_PE es_PR es_PY es_SV es_US es_UY es_VE et_EE eu_ES \
    fi_FI fo_FO fr_BE fr_CA fr_CH fr_FR fr_LU gl_ES gu_IN he_IL hi_IN hr_HR hu_HU id_ID is_IS it_CH it_IT ja_JP ko_KR lt_LT \
    lv_LV mk_MK mn_MN ms_MY nb_NO nl_BE nl_NL no_NO pl_PL pt_BR pt_PT rm_CH ro_RO ru_RU ru_UA sk_SK sl_SI sq_AL sr_RS sv_FI \
    sv_SE ta_IN te_IN th_TH tr_TR uk_UA ur_PK vi_VN zh_CN zh_HK zh_TW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_accept_only_valid_values() {
        let long = "x".repeat(1_000_000);
        for (variable, value, code) in [
            ("time_zone", "SYSTEM", 0),
            ("time_zone", "+00:00", 0),
            ("time_zone", "-13:59", 0),
            ("time_zone", "Europe/Berlin", 1298),
            ("time_zone", "+14:01", 1298),
            ("time_zone", "+1", 1298),
            ("time_zone", "", 1298),
            ("time_zone", &long, 1298),
            ("lc_messages", "de_DE", 0),
            ("lc_messages", &long, 1649),
            ("lc_messages", "xx_YY", 1649),
            ("session_track_system_variables", "*", 0),
            ("session_track_system_variables", "a,b", 0),
            ("session_track_system_variables", &long, 1231),
            ("default_storage_engine", "InnoDB", 0),
            ("default_storage_engine", &long, 1286),
        ] {
            let code_of = |result: Result<Value, SqlError>| result.map_or_else(|error| error.code().0, |_| 0);
            let variable = Variable::named(variable).unwrap();
            assert_eq!(code_of(checked(variable, &Value::text(value))), code, "{}", variable.name);
        }
        let null = |name| checked(Variable::named(name).unwrap(), &Value::Null);
        assert!(null("time_zone").is_err() && null("session_track_system_variables").is_ok());
    }
}
