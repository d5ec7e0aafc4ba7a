//! User variables: `@name`. Pure.

use std::collections::HashMap;

use crate::{
    core::budget::{Budget, Charge},
    wires::mysql::{error::SqlError, value::Value},
};

/// The memory of the map's entry besides its strings.
const ENTRY: usize = 128;

/// The user variables of a connection.
#[derive(Debug, Default)]
pub(in crate::wires::mysql) struct UserVariables(HashMap<String, (Value, Charge)>);

impl UserVariables {
    pub(in crate::wires::mysql) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|(value, _)| value)
    }

    /// Sets a variable. If the budget does not allow it, the variable is unchanged.
    pub(in crate::wires::mysql) fn set(
        &mut self,
        name: String,
        value: Value,
        budget: &Budget,
    ) -> Result<(), SqlError> {
        let value = value.kept();
        let bytes = ENTRY + name.len() + value.size();
        if let Some((kept, charge)) = self.0.get_mut(&name) {
            budget.resize(charge, bytes)?;
            *kept = value;
        } else {
            let charge = budget.charge(bytes)?;
            self.0.insert(name, (value, charge));
        }
        Ok(())
    }
}
