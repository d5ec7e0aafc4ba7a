//! System variables over the MySQL wire: as MySQL 8.4 has them, and those that act.

mod assignment;
mod effects;
mod oracle;
